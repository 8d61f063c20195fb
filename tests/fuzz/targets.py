"""Every parser of the project, with a good file as the seed of damaged ones."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import optuna
import torch

from secateur.data.annotations import read_annotations
from secateur.data.ground_truth import FILES, GroundTruth, read_ground_truth, write_ground_truth
from secateur.data.identity_folders import read_boxes
from secateur.data.images import read_image, read_size
from secateur.data.insightface_bin import read_bin_set
from secateur.data.insightface_rec import HEADER, MAGIC, WORDS, read_record_set
from secateur.data.landmark_annotations import read_landmark_annotations
from secateur.data.matlab import read_matlab
from secateur.data.pairs import read_pairs
from secateur.data.vggface2_pose import read_pose_list
from secateur.deploy.description import (
    AnchorLayout,
    Description,
    FaceCut,
    PixelFormat,
    Suppression,
    parse,
)
from secateur.detectors.extd import EXTD
from secateur.errors import InputError
from secateur.metrics.embedding_file import Embeddings, read_embeddings, write_embeddings
from secateur.metrics.predictions import read_prediction_file
from secateur.pruning.artifact import load_slim, save_slim
from secateur.reports.comparison.expression import parse_condition
from secateur.reports.comparison.front import read_references
from secateur.reports.comparison.page import page_data
from secateur.reports.comparison.runs import collect_runs
from secateur.reports.comparison.table import (
    default_columns,
    rows_of,
    terminal_columns,
    write_csv,
)
from secateur.reports.evaluation_files import read_record
from secateur.reports.metrics_file import read_metrics
from secateur.reports.run_report import read_layers
from secateur.reports.summary import read_summary
from secateur.search.journal import open_journal
from secateur.weights.architectures import BUILDERS
from secateur.weights.dense import read_architecture, save_dense
from secateur.weights.detector_weights import identify, read_weights
from secateur.workflows.checkpoints import read_resume_point
from secateur.workflows.config.pruning_config import read_rates_file
from secateur.workflows.config.saved_config import read_saved_config, saved_data, saved_model
from secateur.workflows.pipeline.pipeline_step import Step


@dataclass(frozen=True, slots=True)
class Target:
    """A parser.

    Attributes:
        name: Name in the table.
        file: Name of the file that is damaged, in a folder of its own.
        write: Writes good files into a folder.
        read: Reads the folder; may raise `InputError` only.
        is_text: Whether damage of lines and words is worth trying.
    """

    name: str
    file: str
    write: Callable[[Path], None]
    read: Callable[[Path], object]
    is_text: bool = False


def _text(name: str, content: str, read: Callable[[Path], object], label: str = "") -> Target:
    def write(folder: Path) -> None:
        (folder / name).write_text(content, encoding="utf-8")

    return Target(label or name, name, write, lambda folder: read(folder / name), is_text=True)


def _json(name: str, value: object, read: Callable[[Path], object], label: str = "") -> Target:
    return _text(name, json.dumps(value, indent=1), read, label)


def _picture(suffix: str) -> Target:
    name = f"a{suffix}"

    def write(folder: Path) -> None:
        image = np.random.default_rng(0).integers(0, 255, (24, 32, 3)).astype(np.uint8)
        cv2.imwrite(str(folder / name), image)

    def read(folder: Path) -> object:
        return read_size(folder / name), read_image(folder / name).shape

    return Target(f"picture {suffix}", name, write, read)


def _write_truth(folder: Path) -> None:
    boxes = {f"{e}/{p}.jpg": np.array([[1.0, 2, 30, 40], [5, 6, 7, 8]]) for e in "ab" for p in "xy"}
    marks = {name: np.ones((3, 2), dtype=np.bool_) for name in boxes}
    write_ground_truth(folder, GroundTruth(boxes, marks))


def _write_records(folder: Path) -> None:
    jpeg = cv2.imencode(".jpg", np.zeros((20, 20, 3), np.uint8))[1].tobytes()
    records = [(2, 0.0, (5.0, 7.0), b"")]
    records += [(0, float(k // 2), (), jpeg) for k in range(4)]
    records += [(2, 0.0, (1.0, 3.0), b""), (2, 0.0, (3.0, 5.0), b"")]
    data, index = b"", []
    for key, (flag, label, more, content) in enumerate(records):
        body = HEADER.pack(flag, label, key, 0) + struct.pack(f"<{len(more)}f", *more) + content
        index.append(f"{key}\t{len(data)}")
        data += WORDS.pack(MAGIC, len(body)) + body + b"\0" * (-len(body) % 4)
    (folder / "train.rec").write_bytes(data)
    (folder / "train.idx").write_text("\n".join(index))
    (folder / "property").write_text("2,20,20")


def _read_records(folder: Path) -> object:
    found = read_record_set(folder)
    return [found[index].shape for index in range(min(3, len(found)))]


def _write_bin(folder: Path) -> None:
    import pickle

    jpeg = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    (folder / "lfw.bin").write_bytes(pickle.dumps(([jpeg] * 4, [True, False]), protocol=4))


def _write_embeddings(folder: Path) -> None:
    numbers = torch.arange(4)
    found = Embeddings(
        embeddings=torch.randn(4, 8),
        images=numbers,
        first=numbers[:2].clone(),
        second=numbers[2:].clone(),
        same=torch.tensor([True, False]),
        fold=torch.tensor([0, 1]),
        pictures=("a", "b", "c", "d"),
    )
    write_embeddings(folder / "embeddings.safetensors", found)


def _network() -> torch.nn.Module:
    torch.manual_seed(0)
    return EXTD(32).eval()


def _write_slim(folder: Path) -> None:
    save_slim(folder, _network(), {"name": "extd", "arguments": {"width": 32}})


def _small_state() -> dict[str, torch.Tensor]:
    return {"upfeat.0.1.weight": torch.randn(4, 2, 3, 3), "loc.0.bias": torch.randn(4)}


def _write_dense(folder: Path) -> None:
    save_dense(folder / "dense.safetensors", _small_state(), {"name": "a", "arguments": {}})


def _read_dense(folder: Path) -> object:
    path = folder / "dense.safetensors"
    return read_architecture(path), read_weights(path)


def _write_checkpoint(folder: Path) -> None:
    state = {
        "epoch": 1,
        "global_step": 4,
        "state_dict": {f"network.{n}": t for n, t in _small_state().items()},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(4.0)}}, "param_groups": []}],
        "lr_schedulers": [],
        "callbacks": {},
        "loops": {},
    }
    torch.save(state, folder / "last.ckpt")


def _write_journal(folder: Path) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = open_journal(folder / "study.journal")
    study = optuna.create_study(storage=storage, study_name="rates", direction="maximize")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)


def _read_journal(folder: Path) -> object:
    study = optuna.create_study(
        storage=open_journal(folder / "study.journal"),
        study_name="rates",
        direction="maximize",
        load_if_exists=True,
    )
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    return [trial.value for trial in study.get_trials(deepcopy=False)]


CONFIG = """# configuration 01234567
model:
  name: eresfd
  task: detection
  network: {topology: standard, anchor_ratio: 1.0}
  groups: released
data:
  name: demo_faces
  monitor: val/ap_hard
  mode: max
  root: data/demo_faces
  n_train: 8
  n_val: 4
  input_size: 64
optimizer: {lr: 0.001, weight_decay: 0.0005}
scheduler: {factors: {10: 0.1}}
seed: 0
"""


def _read_config(path: Path) -> object:
    values = read_saved_config(path)
    return saved_data(values, path), saved_model(values, path)


def _write_run(folder: Path) -> None:
    (folder / "summary.json").write_text(json.dumps(SUMMARY))
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "metrics.csv").write_text("epoch,step,name,value\n0,1,val/ap_hard,0.5\n")
    (folder / "pruning.json").write_text(json.dumps(LAYERS))


def _compare(folder: Path) -> object:
    found = collect_runs([folder])
    if found.problems:
        raise InputError(found.problems[0])
    columns = terminal_columns(default_columns(found.runs))
    page = json.dumps(page_data(found.runs), allow_nan=False)
    return rows_of(found.runs, columns), write_csv(found.runs), page


def _read_step(path: Path) -> object:
    step = Step("search", path.parent, ("summary.json",))
    return step.is_done({"weights": "01"}), step.record


def _read_conditions(path: Path) -> object:
    names = ("params_slim", "criterion", "rate")
    return [parse_condition(line, names) for line in path.read_text(errors="replace").splitlines()]


def _write_evaluation(folder: Path) -> None:
    (folder / "evaluation.json").write_text(json.dumps(EVALUATION))
    (folder / "precision_recall.csv").write_text(CURVE)


CURVE = "setting,score,precision,recall\neasy,0.9,1.0,0.25\neasy,0.5,0.75,0.5\n"
REFERENCES = "name,params_slim,ap_hard,source\nYuNet,75856,0.75,paper\nother,5e4,0.5,\n"
CONDITIONS = "params_slim<60k and (criterion=fpgm or rate<=30%)\nrate!=0.5\ncriterion~fp\n"
LANDMARKS = (
    "# 0--Parade/a.jpg 100 80\n1 2 30 40 5 6 0 15 6 0 10 12 1 6 20 0 14 20 1 0.5\n"
    "5 6 7 8 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1\n# 1--B/b.jpg 50 60\n"
)
ANNOTATION = "0--Parade/a.jpg\n2\n3 4 10 12 0 0\n5.5 6 7 8 0 0\n1--B/b.png\n0\n0 0 0 0 0 0\n"
PAIRS = "2\t1\nA_B\t1\t2\nA_B\t1\tC_D\t2\nE\t1\t2\nE\t1\tC_D\t2\n"
POSES = "".join(f"n{p:06d}/{i:04d}_01.jpg\n" for p in range(2) for i in range(30))
EVALUATION = {
    "name": "a", "data": "widerface", "parameters": 10, "protocol": {"name": "single"},
    "ap": {"easy": 0.5}, "settings": {"easy": {"ap": 0.5, "faces": 3, "pictures": 2}},
    "missing": ["a/b.jpg"],
}  # fmt: skip
LAYERS = {"layers": [{"name": "a.b", "filters": 8, "kept": 6, "slim": 6}]}
SUMMARY = {
    "task": "detection", "rate": 0.3, "rates": {"g1": 0.2}, "ap_hard": 0.5, "seed": 0,
    "model": "eresfd", "criterion": "fpgm", "data": "widerface", "input_size": 640,
    "params_dense": 100, "params_slim": 60, "macs_dense": 500, "macs_slim": 300,
    "latency_ms_dense": 8.5, "latency_ms_slim": 7.5, "ap_hard_start": 0.6, "wall_seconds": 3.5,
}  # fmt: skip
EXPORTED = Description(
    task="detection",
    name="eresfd",
    format="onnx",
    outputs=("locations", "logits"),
    pixels=PixelFormat(mean=(123.0, 117.0, 104.0), multiple=32, size=(64, 64)),
    anchors=AnchorLayout((4, 8), (4, 8), (16, 32), 1.25),
    suppression=Suppression(),
    cut=FaceCut(129, 113, thresholds={"1e-3": 0.5}),
    architecture={"name": "eresfd", "arguments": {}},
)
STEP = {"inputs": {"weights": "01"}, "result": "ab", "seconds": 1.5}

TARGETS = [
    _text("faces.txt", ANNOTATION, read_annotations, "annotation"),
    _text("pairs.txt", PAIRS, read_pairs, "pairs"),
    _text("list.txt", POSES, read_pose_list, "VGGFace2-Pose"),
    _text("labelv2.txt", LANDMARKS, read_landmark_annotations, "landmarks"),
    _text("points.csv", REFERENCES, read_references, "references CSV"),
    _text("points.yaml", "- {name: YuNet, ap_hard: 0.5}\n", read_references, "references YAML"),
    _text("where.txt", CONDITIONS, _read_conditions, "conditions"),
    Target("precision_recall.csv", "precision_recall.csv", _write_evaluation, _compare, True),
    _text("boxes.csv", "NAME_ID,X,Y,W,H\nn1/1,1,2,3,4\nn1/2,5,6,7,8\n", read_boxes, "boxes CSV"),
    _text("a.txt", "a\n2\n1 2 3 4 0.5\n5 6 7 8 0.25\n", read_prediction_file, "predictions"),
    _text("metrics.csv", "epoch,step,name,value\n0,1,a,0.5\n,2,b,nan\n", read_metrics),
    _text("rates.yaml", "rates:\n  g1: 0.25\n  g2: 0.5\n", read_rates_file),
    _text("config.yaml", CONFIG, _read_config, "run configuration"),
    _json("summary.json", SUMMARY, read_summary),
    _json("pruning.json", LAYERS, read_layers),
    *(
        Target(f"compared {name}", name, _write_run, _compare, is_text=True)
        for name in ("summary.json", "pruning.json", "config.yaml", "metrics.csv")
    ),
    _json("evaluation.json", EVALUATION, lambda path: read_record(path.parent)),
    _json("step.json", STEP, _read_step),
    _text("model.onnx.json", EXPORTED.text(), lambda p: parse(p.read_text(errors="replace"), "it")),
    *(_picture(suffix) for suffix in (".jpg", ".png", ".bmp", ".webp", ".tiff")),
    *(Target(f"ground truth {n}", n, _write_truth, read_ground_truth) for n in FILES[:2]),
    Target("MATLAB", FILES[1], _write_truth, lambda f: read_matlab(f / FILES[1], "get it again")),
    Target("train.rec", "train.rec", _write_records, _read_records),
    Target("train.idx", "train.idx", _write_records, _read_records, is_text=True),
    Target("property", "property", _write_records, _read_records, is_text=True),
    Target(".bin", "lfw.bin", _write_bin, lambda folder: read_bin_set(folder / "lfw.bin")),
    Target(
        "embeddings",
        "embeddings.safetensors",
        _write_embeddings,
        lambda folder: read_embeddings(folder / "embeddings.safetensors"),
    ),
    Target(
        "weights .safetensors",
        "dense.safetensors",
        lambda f: save_dense(
            f / "dense.safetensors", _small_state(), {"name": "a", "arguments": {}}
        ),
        lambda f: (
            read_architecture(f / "dense.safetensors"),
            read_weights(f / "dense.safetensors"),
        ),
    ),
    Target(
        "weights .pth",
        "a.pth",
        lambda folder: torch.save(_small_state(), folder / "a.pth"),
        lambda folder: identify(read_weights(folder / "a.pth")),
    ),
    Target(
        "checkpoint",
        "last.ckpt",
        _write_checkpoint,
        lambda folder: read_resume_point(folder / "last.ckpt"),
    ),
    Target("model.json", "model.json", _write_slim, lambda f: load_slim(f, BUILDERS), is_text=True),
    Target("study.journal", "study.journal", _write_journal, _read_journal, is_text=True),
]
