"""Embed faces, compare two of them, or search a folder for the same person."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig

from secateur.deploy.face_detector import FaceDetector
from secateur.deploy.face_embedder import FaceEmbedder
from secateur.errors import InputError
from secateur.files import replacing, write_json
from secateur.reports import tables
from secateur.runtime.threads import use_threads
from secateur.workflows.deploy.output_folder import output_folder, writable
from secateur.workflows.deploy.sources import picture_files
from secateur.workflows.load import as_detector, as_embedder
from secateur.workflows.loading import LoadedNetwork, figures_of, load_network, network_of

log = logging.getLogger(__name__)

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Decision:
    """From which score on two faces count as one person.

    Attributes:
        far: False accept rate that was asked for.
        threshold: Cosine similarity at it, on the verification pairs of the run; None without one.
        tar: Share of the pairs of one person that reach it, where the run tells.
    """

    far: str
    threshold: float | None
    tar: float | None

    def same(self, score: float) -> bool | None:
        """Whether two faces of that score are of one person; None if nothing says so."""
        return None if self.threshold is None else score >= self.threshold

    def caption(self) -> str | None:
        """One line below a table."""
        if self.threshold is None:
            return None
        tar = "" if self.tar is None else f", TAR {self.tar:.3f}"
        return f"one person from {self.threshold:.4f}: FAR {self.far}{tar} on the run's pairs"


def embed(config: DictConfig) -> Path:
    """Embed the pictures of the configuration, and compare or search if it says so.

    Args:
        config: Composed ``conf/embed.yaml``.

    Returns:
        The folder that was written.

    Raises:
        InputError: If there is no network, no picture, no face or no threshold.
    """
    if config.compare is not None and config.gallery is not None:
        raise InputError("compare= and gallery= ask for two different things: give one of them")
    names = picture_files(str(config.source))  # refused before anything is loaded
    if config.gallery is not None:
        picture_files(str(config.gallery), "gallery")
    if config.compare is not None and not Path(str(config.compare)).is_file():
        raise InputError(f"compare={config.compare} is no file: give one picture")
    use_threads(config.threads)
    backend = str(config.backend)
    loaded = network_of(config)
    embedder = as_embedder(loaded, backend=backend)
    detector = None
    if config.detector is not None:
        outputs = Path(str(config.paths.outputs))
        detector = as_detector(load_network(str(config.detector), outputs), backend=backend)
    with writable(output_folder(config, f"embed-{embedder.name}")) as folder:
        embeddings, record = _answer(config, loaded, embedder, detector, names)
        with replacing(folder / "embeddings.npy") as temporary, temporary.open("wb") as file:
            np.save(file, embeddings)
        write_json(folder / "embeddings.json", record)
    log.info(
        "%s of %d numbers, run by %s: %s",
        tables.counted(len(embeddings), "embedding"),
        embeddings.shape[1],
        embedder.backend,
        folder,
    )
    return folder


def _answer(
    config: DictConfig,
    loaded: LoadedNetwork,
    embedder: FaceEmbedder,
    detector: FaceDetector | None,
    names: list[Path],
) -> tuple[Floats, dict[str, Any]]:
    """Embeddings of the pictures, and the record with what was asked about them."""
    embeddings, found, faults = _embedded(embedder, names, detector, bool(config.align))
    record: dict[str, Any] = {
        "network": embedder.name,
        "backend": embedder.backend,
        "pictures": [str(path) for path in found],
        "unreadable": faults,
    }
    if config.compare is not None:
        decision = decide(float(config.far), embedder, loaded)
        record["comparison"] = _compare(config, embedder, detector, embeddings, found, decision)
    if config.gallery is not None:
        decision = decide(float(config.far), embedder, loaded)
        record["matches"] = _search(config, embedder, detector, embeddings, found, decision)
    return embeddings, record


def _embedded(
    embedder: FaceEmbedder, paths: list[Path], detector: FaceDetector | None, align: bool
) -> tuple[Floats, list[Path], list[str]]:
    """Embeddings of the pictures that show a face, and what is wrong with the others."""
    rows, found, faults = [], [], []
    for path in paths:
        try:
            rows.append(embedder(path, detector=detector, align=align))
            found.append(path)
        except InputError as error:
            if len(paths) == 1:
                raise
            faults.append(str(error))
            log.warning("%s", error)
    if not rows:
        raise InputError(
            f"none of the {len(paths):,} pictures shows a face that can be embedded: {faults[0]}"
        )
    return np.concatenate(rows), found, faults


def _compare(
    config: DictConfig,
    embedder: FaceEmbedder,
    detector: FaceDetector | None,
    embeddings: Floats,
    found: list[Path],
    decision: Decision,
) -> list[dict[str, Any]]:
    """Score each picture of the source against one other."""
    other = embedder(str(config.compare), detector=detector, align=bool(config.align))[0]
    answers, rows = [], []
    for path, embedding in zip(found, embeddings, strict=True):
        score = float(embedding @ other)
        same = decision.same(score)
        answers.append({"picture": str(path), "score": score, "same": same})
        rows.append([path.name, f"{score:.4f}", _verdict(same)])
    tables.print_table(
        f"{embedder.name} · against {config.compare}",
        ["picture", "cosine", "one person"],
        rows,
        caption=decision.caption(),
    )
    return [{**asdict(decision), "answers": answers}]


def _search(
    config: DictConfig,
    embedder: FaceEmbedder,
    detector: FaceDetector | None,
    embeddings: Floats,
    found: list[Path],
    decision: Decision,
) -> list[dict[str, Any]]:
    """The pictures of a folder that are most like each picture of the source."""
    pictures = picture_files(str(config.gallery), "gallery")
    gallery, names, _ = _embedded(embedder, pictures, detector, bool(config.align))
    answers, rows = [], []
    for path, embedding in zip(found, embeddings, strict=True):
        matches: list[dict[str, Any]] = [
            {
                "picture": str(names[found_one.index]),
                "score": found_one.score,
                "same": decision.same(found_one.score),
            }
            for found_one in embedder.search(embedding, gallery, int(config.count))
        ]
        answers.append({"query": str(path), **asdict(decision), "matches": matches})
        for rank, match in enumerate(matches):
            query, picture = path.name if rank == 0 else "", Path(match["picture"]).name
            rows.append([query, picture, f"{match['score']:.4f}", _verdict(match["same"])])
    tables.print_table(
        f"{embedder.name} · {len(names):,} pictures of {config.gallery}",
        ["query", "found", "cosine", "one person"],
        rows,
        caption=decision.caption(),
    )
    return answers


def decide(rate: float, embedder: FaceEmbedder, loaded: LoadedNetwork) -> Decision:
    """Take the threshold from the run's own verification; without one, say so.

    Args:
        rate: False accept rate, above 0 and at most 1.
        embedder: Knows the thresholds.
        loaded: Knows the other figures of the run, or of the exported file.
    """
    far = f"{rate:.0e}".replace("e-0", "e-")
    try:
        threshold = embedder.threshold(far)
    except InputError as error:
        log.warning("%s; scores are given without a verdict", error)
        return Decision(far, None, None)
    tar = figures_of(loaded).get(f"tar_at_far_{far}")
    return Decision(far, threshold, tar if isinstance(tar, float) else None)


def _verdict(same: bool | None) -> str:
    return {None: "", True: "yes", False: "no"}[same]
