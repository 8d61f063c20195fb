"""Evaluation: detect or read predictions, score them, write and compare."""

from __future__ import annotations

import functools
import hashlib
import logging
import platform
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from omegaconf import DictConfig, OmegaConf, open_dict

from secateur.errors import InputError
from secateur.files import write_json
from secateur.metrics.predictions import read_predictions, write_predictions
from secateur.reports.evaluation_files import (
    RECORD,
    Record,
    evaluation_record,
    read_record,
    write_evaluation,
    write_pictures,
)
from secateur.reports.evaluation_table import comparison_table, evaluation_table
from secateur.reports.pictures import MatchedPicture
from secateur.runtime.allocator import keep_large_blocks
from secateur.runtime.denormals import denormals_as_zero
from secateur.workflows.build import build_data, check_processes, instantiate
from secateur.workflows.config.saved_config import read_saved_config, saved_data
from secateur.workflows.evaluate.evaluation_set import (
    EvaluationSet,
    PictureFiles,
    set_of_ground_truth,
    set_of_pictures,
)
from secateur.workflows.evaluate.inference import Boxes, detect_set
from secateur.workflows.evaluate.recognition import evaluate_recognizer, names_recognizer
from secateur.workflows.library_messages import silence_libraries
from secateur.workflows.loading import with_latest_run
from secateur.workflows.networks import DetectorSource, source_of_run, source_of_weights
from secateur.workflows.run_folder import plain
from secateur.workflows.tracking.wandb_run import log_evaluation

log = logging.getLogger(__name__)

COMPARISON = "comparison.json"
"""The records of two evaluations that were put beside each other, in ``output_dir``."""


@denormals_as_zero()
def evaluate(config: DictConfig) -> float | None:
    """Evaluate what the configuration names, and what it is compared with.

    Args:
        config: Composed ``conf/evaluate.yaml``.

    Returns:
        Average precision of the hardest setting there is; the equal error rate of a recogniser.

    Raises:
        InputError: If something is missing, malformed or contradictory.
    """
    silence_libraries()
    keep_large_blocks()
    config = with_latest_run(config)
    if names_recognizer(config):
        return evaluate_recognizer(config)
    subjects = _subjects(config)
    records = Evaluator(config).records(subjects)
    if not records:
        return None  # not the first process
    for record in records:
        evaluation_table(record)
    if len(records) == 2:
        comparison_table(records[0], records[1])
        if config.output_dir is not None:
            # what was evaluated before lies in folders of its own: here are both in one file
            path = Path(str(config.output_dir)) / COMPARISON
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, {"A": records[0], "B": records[1]})
            log.info("comparison: %s", path)
    figures = list(records[0]["ap"].values())
    return float(figures[-1]) if figures else None


class Evaluator:
    """Evaluates one subject after the other under one configuration.

    Args:
        config: Composed ``conf/evaluate.yaml``.
    """

    def __init__(self, config: DictConfig) -> None:
        self.config = config
        self.fabric: Fabric | None = None
        self._set: EvaluationSet | None = None
        self._data: dict[str, Any] = {}
        self._done = 0

    def records(self, subjects: list[DetectorSource | Path]) -> list[Record]:
        """Records of all subjects; nothing on every process but the first.

        Args:
            subjects: A detector, or a folder: of an evaluation, which is read as it is, or of
                prediction files.
        """
        records = []
        for self._done, subject in enumerate(subjects):
            if isinstance(subject, DetectorSource):
                record = self.detect(subject)
            elif (subject / RECORD).is_file():
                record = read_record(subject)
                log.info("%s was evaluated before", subject)
            else:
                record = self.read(subject)
            if record is not None:
                records.append(record)
        return records

    def pictures(self, subject: DetectorSource | None) -> EvaluationSet:
        """The pictures of the configuration, or those that a run was validated on."""
        if self._set is None:
            config = self.config
            if subject is None and config.ground_truth is not None:
                folder = Path(str(config.ground_truth))
                if not folder.is_dir():
                    raise InputError(f"ground_truth={folder} does not exist")
                whole = set_of_ground_truth(folder)
                self._data = {"data": "ground truth", "root": str(folder)}
            else:
                config = _with_data_of_run(config, subject)
                data = build_data(config)
                data.prepare_data()
                data.setup("validate")
                log.info("%s", data.describe())
                whole = set_of_pictures(data.validation_pictures())
                self._data = {"data": str(config.data.name), "root": str(config.data.root)}
            self._set = whole.select(str(config.only), config.limit)
        return self._set

    def detect(self, source: DetectorSource) -> Record | None:
        """Evaluate a detector; None on every process but the first."""
        config, pictures = self.config, self.pictures(source)
        if pictures.folder is None:
            raise InputError("a network needs pictures: set data.root in place of ground_truth")
        protocol = config.protocol.copy()
        if OmegaConf.select(protocol, "looks.keep_singles", default=False) is None:
            protocol.looks.keep_singles = source.keeps_singles
        postprocess = OmegaConf.to_container(protocol.postprocess)
        assert isinstance(postprocess, dict)
        fabric = self._launch()
        single_precision = str(config.trainer.precision).startswith("32")
        source = source.on(fabric.device, fused=bool(config.fuse) and single_precision)
        with fabric.autocast():
            found = detect_set(
                functools.partial(source.detect, **{str(k): v for k, v in postprocess.items()}),
                PictureFiles(pictures.folder, pictures.names),
                instantiate(protocol.looks),
                source.detector.preprocessing,
                batch_size=int(config.data.eval_batch_size),
                num_workers=int(config.data.num_workers),
                device=fabric.device,
                progress=bool(config.trainer.enable_progress_bar),
                title=source.name,
            )
        if found is None:
            return None
        about = {
            "name": source.name,
            **source.about,
            "protocol": plain(protocol),
            "seconds_per_picture": found.seconds_per_picture,
            "wall_seconds": found.wall_seconds,
            "device": _device_name(fabric.device),
            "processes": fabric.world_size,
            "threads": torch.get_num_threads(),
        }
        folder = self._folder(source.name, source)
        if config.save_predictions:
            write_predictions(folder / "predictions", found.boxes)
        return self._finish(folder, pictures, found.boxes, about)

    def read(self, folder: Path) -> Record:
        """Evaluate prediction files."""
        started = time.perf_counter()
        pictures = self.pictures(None)
        predictions = read_predictions(folder, pictures.names)
        known = {Path(name).with_suffix("").as_posix() for name in pictures.names}
        files = (path.relative_to(folder).with_suffix("") for path in folder.glob("*/*.txt"))
        unknown = sorted(path.as_posix() for path in files if path.as_posix() not in known)
        about: Record = {
            "name": folder.name or str(folder),
            "kind": "predictions",
            "path": str(folder),
            "wall_seconds": time.perf_counter() - started,
            "unknown": unknown,
        }
        for names, what in (
            (list(predictions.missing), "pictures have no prediction file and count as empty"),
            (unknown, "prediction files belong to no picture of the set and are left out"),
        ):
            if names:
                log.warning("%s %s, e.g. %s", f"{len(names):,}", what, names[0])
        return self._finish(self._folder(about["name"], None), pictures, predictions.boxes, about)

    def _finish(
        self, folder: Path, pictures: EvaluationSet, boxes: dict[str, Boxes], about: Record
    ) -> Record:
        """Score and write."""
        config = self.config
        evaluation = pictures.score(boxes)
        if not evaluation.settings:
            log.warning("none of the %d pictures has a face that counts", len(pictures))
        digest = hashlib.sha256("\n".join(sorted(pictures.names)).encode()).hexdigest()[:12]
        about = {
            **about,
            **self._data,
            "coverage": f"{pictures.n_listed:,} listed pictures, "
            f"{len(pictures) - pictures.n_listed:,} others",
            "n_pictures": len(pictures),
            "pictures": digest,
        }
        record = evaluation_record(evaluation, about)
        drawn: list[MatchedPicture] = []
        if pictures.folder is not None and config.page_pictures:
            drawn = write_pictures(
                folder,
                pictures.folder,
                boxes,
                pictures.faces,
                pictures.evaluated,
                count=int(config.page_pictures),
                min_score=float(config.page_score),
                title=str(about["name"]),
            )
        write_evaluation(folder, evaluation, record)
        log_evaluation(config, folder, record, drawn)
        log.info("evaluation: %s", folder)
        return record

    def _launch(self) -> Fabric:
        """Start the other processes, once; what can be checked was checked before."""
        if self.fabric is None:
            trainer = self.config.trainer
            check_processes(trainer)
            try:
                self.fabric = Fabric(
                    accelerator=trainer.accelerator,
                    devices=trainer.devices,
                    strategy=trainer.strategy,
                    precision=trainer.precision,
                )
            except Exception as error:  # Lightning raises several kinds
                raise InputError(f"trainer: {error}") from error
            self.fabric.launch()
        return self.fabric

    def _folder(self, name: str, source: DetectorSource | None) -> Path:
        """Folder for the files of one subject."""
        config = self.config
        part = f"{config.protocol.name}-{self._data['data']}" if source else "predictions"
        if config.output_dir is not None:
            folder = Path(str(config.output_dir))
            return folder / "AB"[self._done] if config.compare is not None else folder
        if source is not None and source.about["kind"] == "run":
            path = Path(source.about["path"])
            if path.is_dir():  # what was exported from a run says so too, but is a file
                return path / "evaluation" / part
        stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
        return Path(str(config.paths.outputs)) / f"evaluate-{name}-{part}" / stamp


def _subjects(config: DictConfig) -> list[DetectorSource | Path]:
    """What is to be evaluated: one thing, and the one to compare it with."""
    given = [key for key in ("weights", "run", "predictions") if config[key] is not None]
    if len(given) != 1:
        found = f"got {' and '.join(given)}" if given else "got none of them"
        raise InputError(
            "say what to evaluate, as one of weights=FILE, run=FOLDER or predictions=FOLDER; "
            + found
        )
    if config.ground_truth is not None and config.predictions is None:
        raise InputError(
            "ground_truth goes with predictions; a network needs pictures: set data.root instead"
        )
    subjects: list[DetectorSource | Path] = []
    if config.weights is not None:
        subjects.append(source_of_weights(config))
    elif config.run is not None:
        subjects.append(_run_or_record(Path(str(config.run))))
    else:
        folder = Path(str(config.predictions))
        if not folder.is_dir():
            raise InputError(f"predictions={folder} does not exist")
        if config.ground_truth is None and config.data.get("root") is None:
            raise InputError(
                "predictions are scored against ground_truth=FOLDER with the four .mat files, or "
                "against the pictures of data.root=FOLDER"
            )
        subjects.append(folder)
    if config.compare is not None:
        subjects.append(_run_or_record(Path(str(config.compare))))
    return subjects


def _run_or_record(folder: Path) -> DetectorSource | Path:
    """A finished run, or the folder of an evaluation."""
    if (folder / RECORD).is_file() and not (folder / "model.json").is_file():
        return folder
    return source_of_run(folder)


def _with_data_of_run(config: DictConfig, subject: DetectorSource | None) -> DictConfig:
    """The pictures of the configuration; without a root, those that the run used."""
    if config.data.get("root") is not None or subject is None or subject.about["kind"] != "run":
        return config
    saved = Path(subject.about["path"]) / "config.yaml"
    if not saved.is_file():
        return config
    node = saved_data(read_saved_config(saved), saved)
    config = config.copy()
    with open_dict(config):
        config.data = OmegaConf.merge(
            node,
            {key: config.data[key] for key in ("eval_batch_size", "num_workers")},
        )
    return config


def _device_name(device: torch.device) -> str:
    """Name of the device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return platform.machine() if device.type == "cpu" else device.type
