"""Exported files of every network, dense and coupled 50 %: size, agreement, time, eight bits.

``python -m benchmarks exports``: both official detectors with anchors, YuNet n and three
recognizers in every format that is installed, each held against PyTorch in a fresh process (of
ONNX without torch and without this project); then all ONNX and ExecuTorch files of a network timed
in turn on one thread. Names of networks may follow ``python -m benchmarks.exports``. Weights and
pictures are found through SECATEUR_REFERENCE; files are kept in ``outputs/benchmark-exports``.

Recognizers have drawn weights. Coupled 50 % is what FPGM leaves, without training, so its int8
form is judged by how far outputs move; the trained slim EResFD is that of ``experiments/networks``.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.results import add_rows, read_rows, table, write_section
from benchmarks.side_by_side import least_times
from secateur.cost.latency import machine_name
from secateur.data.images import read_image
from secateur.datamodules.widerface import WiderFaceData
from secateur.deploy.description import Description, FaceCut, write_beside
from secateur.deploy.executorch import LARGEST_SIDE, export_executorch
from secateur.deploy.exported import ExportedDetector
from secateur.deploy.onnx import describe_onnx
from secateur.deploy.parity import check_fresh_process, check_parity, opened
from secateur.deploy.pixels import preprocess
from secateur.deploy.quantization import quantize, relative_error
from secateur.detectors.detection import detect
from secateur.detectors.protocols import SingleScale
from secateur.pruning.prune import prune
from secateur.search.objective import recalibrate
from secateur.weights.architectures import BUILDERS
from secateur.workflows.deploy.calibration import cover
from secateur.workflows.deploy.describing import describe, exportable, torch_network
from secateur.workflows.deploy.export import SUFFIXES, write_file
from secateur.workflows.deploy.sample_pictures import fit
from secateur.workflows.evaluate.evaluation_set import EvaluationSet, PictureFiles, set_of_pictures
from secateur.workflows.evaluate.inference import detect_set
from secateur.workflows.loading import LoadedNetwork, load_network

RESULTS = Path(__file__).with_suffix(".jsonl")
SLIM = Path(__file__).parents[1] / "experiments" / "networks" / "eresfd_coupled_50"
FILES = Path("outputs") / "benchmark-exports"
DETECTORS = {
    "eresfd": "clovaai_eresfd_16.safetensors",
    "yunet_n": "yunet/libfacedetection_yunet_n.safetensors",
    "extd_64": "clovaai_extd_64.safetensors",
}
RECOGNIZERS = {"squeezenet": "squeezenet", "mobilenet_v2": "mobilenetv2", "resnet50": "resnet50"}
HEADS = {"eresfd": ("loc.*", "conf.*"), "extd_64": ("loc.*", "conf.*")}
DENSE, COUPLED, TRAINED = "dense", "coupled 50 %", "trained slim"
FORMATS = ("onnx", "onnx int8", "torchscript", "executorch", "executorch int8")
SHARES = ((COUPLED, ""), (DENSE, "int8"), (COUPLED, "int8"), (TRAINED, ""), (TRAINED, "int8"))
SIDE, TRACE_SIDE, RANGES, JUDGED, RUNS = 113, 128, 8, 12, 40

Pixels = NDArray[np.uint8]
Row = dict[str, Any]


def main() -> None:
    """Measure what is missing and write the table."""
    if not os.environ.get("SECATEUR_REFERENCE"):
        print("exports: left out, SECATEUR_REFERENCE is not set")
        return
    torch.set_num_threads(1)
    known = [*DETECTORS, *RECOGNIZERS]
    formats = FORMATS if importlib.util.find_spec("executorch") else FORMATS[:3]
    for name in [name for name in known if name in sys.argv[1:]] or known:
        done = {(row["network"], row["form"], row["format"]) for row in read_rows(RESULTS)}
        for form in forms_of(name):
            missing = [kind for kind in formats if (name, form, kind) not in done]
            if missing:
                loaded = subject(name, form)
                for kind in missing:
                    row = measure(loaded, name, form, kind)
                    print(row, flush=True)
                    add_rows(RESULTS, [row])
        if (name, "all", "latency") not in done:
            add_rows(RESULTS, [latency(name)])
    write_section("Exported files", report(read_rows(RESULTS)))


def forms_of(name: str) -> tuple[str, ...]:
    """What is exported of a network."""
    return (DENSE, COUPLED, TRAINED) if name == "eresfd" else (DENSE, COUPLED)


def subject(name: str, form: str) -> LoadedNetwork:
    """A network, dense, with half the filters of every layer, or slim and trained."""
    if form == TRAINED:
        return load_network(SLIM)
    if name in RECOGNIZERS:
        dense = _drawn(name)
    else:
        dense = load_network(_root() / "weights" / DETECTORS[name])
    if form == DENSE:
        return dense
    example = torch.randn(1, 3, TRACE_SIDE, TRACE_SIDE)
    exclude = HEADS.get(name, ())
    slim = prune(
        torch_network(dense), example, "fpgm", 0.5, scope="coupled", exclude=exclude
    ).model.eval()
    return dataclasses.replace(dense, network=slim)


def _drawn(name: str) -> LoadedNetwork:
    """A recognizer with drawn weights, and batch norms that fit them."""
    torch.manual_seed(0)
    network = BUILDERS[RECOGNIZERS[name]]().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias, std=0.1)
    recalibrate(network, [torch.randn(8, 3, SIDE, SIDE)])
    architecture = {"name": RECOGNIZERS[name], "arguments": {}}
    about = {"kind": "weights"}
    cut = FaceCut(SIDE, SIDE)
    return LoadedNetwork(name, "recognition", network, architecture, about, cut=cut)


def _root() -> Path:
    return Path(os.environ["SECATEUR_REFERENCE"])


@functools.cache
def _pictures(part: str) -> list[Pixels]:
    """Pictures of WIDER FACE, as many as both uses take together, or faces of LFW."""
    if part == "lfw":
        people = sorted((_root() / "data" / "lfw" / "train").glob("*/*.jpg"))
        faces = [read_image(path)[60:190, 60:190] for path in people[:: len(people) // 50]]
        return [fit(face, SIDE, SIDE) for face in faces]
    folder = _root() / "data" / "widerface_plus" / f"WIDER_{part}" / "images"
    files = sorted(folder.glob("*/*.jpg"))
    return [cover(read_image(path), 480, 640) for path in files[:: len(files) // (RANGES + JUDGED)]]


def file_of(name: str, form: str, kind: str) -> Path:
    """Where an exported file lies."""
    backend, _, quantized = kind.partition(" ")
    stem = f"{name}-{form.partition(' ')[0]}{'-int8' if quantized else ''}"
    return FILES / f"{stem}{SUFFIXES[backend]}"


def measure(loaded: LoadedNetwork, name: str, form: str, kind: str) -> Row:
    """Write one file and hold it against PyTorch, or one of eight bits against its float file."""
    backend, _, quantized = kind.partition(" ")
    description = describe(loaded, backend, quantization=quantized or "none")
    path = file_of(name, form, kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    row: Row = {"network": name, "form": form, "format": kind}
    began = time.process_time()
    try:
        if quantized:
            trained = form != COUPLED
            single = file_of(name, form, backend)
            row |= _write_int8(loaded, description, single, path, trained)
        else:
            write_file(exportable(loaded, description), path, description)
        row["seconds"] = time.process_time() - began
        write_beside(path, description)
        if not quantized:
            row |= _parity(loaded, description, path)
    except Exception as error:  # one that fails is a row too
        row["failed"] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        return row
    row["kib"] = path.stat().st_size / 1024
    return row


def _parity(loaded: LoadedNetwork, description: Description, path: Path) -> Row:
    """Agreement with PyTorch on real pictures, for a detector at two sizes of which one is odd."""
    if loaded.task == "recognition":
        shown = _pictures("lfw")[:4]
    else:
        shown = _pictures("val")[:4]
        shown = [*shown[:2], *(fit(picture, 321, 437) for picture in shown[2:])]
    parity = check_parity(torch_network(loaded), description, path, shown)
    return {
        "agrees": parity.agrees,
        "output": max(parity.outputs),
        "faces": parity.faces,
        "box": parity.box_difference,
        "score": parity.score_difference,
    }


def _write_int8(
    loaded: LoadedNetwork, description: Description, single: Path, path: Path, trained: bool
) -> Row:
    """Write the int8 form of a file, all layers quantized, and tell what that costs."""
    part = "lfw" if loaded.task == "recognition" else "train"
    ranges = [preprocess(p, description.pixels).numpy() for p in _pictures(part)[:RANGES]]
    if description.format == "executorch":
        export_executorch(exportable(loaded, description), path, description, ranges)
    else:
        quantize(
            single, path, ranges, lambda _: 0.0, figure="", tolerance=1.0, methods=["minmax"]
        )  # fmt: skip
        describe_onnx(path, description)
    part = "lfw" if loaded.task == "recognition" else "val"
    pictures = _pictures(part)[-JUDGED:]
    check_fresh_process(description, path, pictures[:2])
    inputs = [preprocess(picture, description.pixels).numpy() for picture in pictures]
    ours, theirs = (
        [[np.array(o) for o in opened(file)(array)] for array in inputs] for file in (single, path)
    )
    cost: Row = {"moved": relative_error(ours, theirs)}
    if loaded.task == "recognition":
        pairs = zip((a[0][0] for a in ours), (b[0][0] for b in theirs), strict=True)
        cosines = [float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) for a, b in pairs]
        cost |= {"cosine": min(cosines)}
    elif trained:
        cost |= {
            "ap": _average_precision(description, single),
            "ap_int8": _average_precision(description, path),
        }
    return cost


def _average_precision(description: Description, path: Path) -> float:
    """AP over all boxes of some validation pictures of WIDER FACE."""
    data = WiderFaceData(
        str(_root() / "data" / "widerface_plus"), official_lists=False, num_workers=0
    )
    data.setup("validate")
    whole = set_of_pictures(data.validation_pictures())
    names = whole.names[:: len(whole) // JUDGED][:JUDGED]
    held = EvaluationSet(
        whole.folder,
        {name: whole.faces[name] for name in names},
        {name: whole.evaluated[name] for name in names},
    )
    assert held.folder is not None
    detector = ExportedDetector(path, description, opened(path))
    find = functools.partial(detect, detector)
    files = PictureFiles(held.folder, held.names)
    # files for ExecuTorch take no larger side, which up to 2 : 1 this many pixels keep to
    limits = {"max_pixels": LARGEST_SIDE**2 / 2} if description.format == "executorch" else {}
    found = detect_set(find, files, SingleScale(**limits), detector.preprocessing, progress=False)
    assert found is not None
    (setting,) = held.score(found.boxes).settings.values()
    return setting.ap


def latency(name: str) -> Row:
    """Milliseconds of all files of a network in turn: tenth percentile of processor time."""
    pixels = _pictures("lfw" if name in RECOGNIZERS else "val")[0]
    calls: dict[str, Callable[[], object]] = {}
    for form in forms_of(name):
        description = describe(subject(name, form), "onnx")
        array = preprocess(pixels, description.pixels).numpy()
        for kind in FORMATS:
            path = file_of(name, form, kind)
            can_run = path.suffix == ".onnx" or importlib.util.find_spec("executorch")
            if kind != "torchscript" and can_run and path.is_file():
                calls[f"{form} {kind}"] = functools.partial(opened(path), array)
    row = {"network": name, "form": "all", "format": "latency", "ms": least_times(calls, RUNS)}
    print(row, flush=True)
    return row


def report(rows: Sequence[Row]) -> str:
    """Both tables and what to know about them."""
    rows = sorted(rows, key=_place)
    files = table(
        ["network", "format", "KiB", "output", "faces", "box, px", "int8 moves", "AP or cosine"],
        [_cells(row) for row in rows if row["format"] != "latency" and "failed" not in row],
    )
    times = "\n\n".join(
        table(
            [f"{runtime}, one thread", "dense, ms", *(f"{f} {k}".strip() for f, k in SHARES)],
            [_times(row, backend) for row in rows if f"{DENSE} {backend}" in row.get("ms", ())],
        )
        for runtime, backend in (("ONNX Runtime", "onnx"), ("ExecuTorch", "executorch"))
    )
    failed = "".join(
        f"\n\nFailed: {row['network']} {row['form']} {row['format']}: {row['failed']}"
        for row in rows
        if "failed" in row
    )
    about = (
        f"`python -m benchmarks exports` on {machine_name()}: what `export.py` writes, held "
        "against PyTorch in a fresh process (of ONNX one that imports neither torch nor this "
        "project) on four pictures, of detectors at 640 x 480 and 437 x 321. *Output* is the "
        "largest difference of a raw output as a share of its largest value; *faces* are those "
        "of the file and of PyTorch above 0.05. Detectors have their official weights and "
        "recognizers drawn ones; coupled 50 % is what FPGM leaves of them, without training; "
        "trained slim is `experiments/networks/eresfd_coupled_50`, 46 % of the MACs. "
        f"int8: all layers, ranges by minimum and maximum of {RANGES} training pictures (of LFW "
        f"for recognizers); *moves* is the norm of the difference over that of the outputs on "
        f"{JUDGED} other pictures, beside AP over all boxes of {JUDGED} validation pictures of "
        f"WIDER FACE, float to int8, or the least cosine to the float embedding of {JUDGED} faces."
    )
    latencies = (
        "All files of a network in turn, bare forward of one picture (640 x 480, recognizers "
        f"{SIDE} x {SIDE}): tenth percentile of {RUNS} rounds in processor time of the one "
        "thread; the other columns are shares of the first."
    )
    return f"{about}\n\n{files}{failed}\n\n{latencies}\n\n{times}"


def _place(row: Row) -> tuple[int, ...]:
    """Where a row stands in the table, whenever it was measured."""
    orders = ([*DETECTORS, *RECOGNIZERS], [DENSE, COUPLED, TRAINED, "all"], [*FORMATS, "latency"])
    keys = ("network", "form", "format")
    return tuple(order.index(row[key]) for order, key in zip(orders, keys, strict=True))


def _cells(row: Row) -> list[str]:
    """One file."""
    disagrees = "" if row.get("agrees", True) else " (differs)"
    faces = row.get("faces")
    if "ap" in row:
        figure = f"AP {row['ap']:.4f} to {row['ap_int8']:.4f}"
    else:
        figure = f"{row['cosine']:.4f}" if "cosine" in row else ""
    return [
        f"{row['network']} {row['form']}",
        row["format"],
        f"{row['kib']:,.0f}",
        f"{row['output']:.0e}{disagrees}" if "output" in row else "",
        f"{faces[1]} of {faces[0]}" if faces else "",
        f"{row['box']:.0e}" if faces else "",
        f"{row['moved']:.1%}" if "moved" in row else "",
        figure,
    ]


def _times(row: Row, backend: str) -> list[str]:
    """All files of one network for one runtime."""
    times = row["ms"]
    dense = times[f"{DENSE} {backend}"]
    keys = [f"{form} {backend} {kind}".strip() for form, kind in SHARES]
    shares = [f"{times[key] / dense:.0%}" if key in times else "" for key in keys]
    return [row["network"], f"{dense:.2f}", *shares]


if __name__ == "__main__":
    main()
