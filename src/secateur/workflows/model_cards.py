"""Model cards of runs and of exported files, from what they recorded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from secateur.deploy.description import Description, PixelFormat
from secateur.deploy.parity import Parity
from secateur.reports import tables
from secateur.reports.model_card import ModelCard, write_model_card
from secateur.workflows.card_words import (
    conditions,
    figures,
    introduction,
    license_terms,
    limits,
    recipe,
    sizes,
    title,
    training_data,
)
from secateur.workflows.loading import origin_of_start
from secateur.workflows.run_records import thresholds_of_run, value_at

CARD = "MODEL_CARD.md"

FORMATS = {
    "onnx": "ONNX",
    "executorch": "ExecuTorch",
    "torchscript": "TorchScript",
    "lite": "TorchScript's lite interpreter",
}
"""What formats are called, by how a command names them."""


def write_run_card(
    run: Path, summary: Mapping[str, Any], config: Mapping[str, Any], pictures: str = ""
) -> Path:
    """Write the card of a run into its folder; returns the file.

    Args:
        run: The folder.
        summary: Its flat record.
        config: Its configuration as plain values.
        pictures: How many pictures there were, in words.
    """
    task, where = str(summary.get("task")), _shown(run)
    command = "detect" if task == "detection" else "embed"
    card = ModelCard(
        title=title(summary),
        summary=introduction(task, summary, f" This is the run {where}."),
        facts=sizes(summary),
        data=training_data(summary, pictures),
        recipe=recipe(summary, config),
        figures=figures(summary, thresholds_of_run(run)),
        conditions=conditions(summary),
        limits=limits(task, summary, config),
        license=license_terms(summary, value_at(config, "weights"), origin_of_start(config)),
        usage=(
            f"python {command}.py run={where} source=FOLDER",
            _library(str(where), task),
            f"python export.py run={where} format=onnx",
        ),
    )
    return write_model_card(run / CARD, card)


def card_of_export(
    description: Description, path: Path, config: Mapping[str, Any] | None, parity: Parity
) -> ModelCard:
    """The card of an exported file.

    Args:
        description: Of the file.
        path: The file.
        config: Configuration of the run that it comes from.
        parity: How far the file, before layers got eight bits, is from PyTorch.
    """
    record, name = description.figures, path.name
    model = str(description.architecture.get("name"))
    about = {"model": model, **record}
    thresholds = {} if description.cut is None else description.cut.thresholds
    eight_bits = record.get("quantization_report")
    rows = figures(record, thresholds)
    measured = conditions(record)
    if rows:
        measured += " Measured before the export; how to measure the file itself is told below."
    command = "detect" if description.task == "detection" else "embed"
    usage = [
        f"secateur {command} weights={name} source=FOLDER",
        _library(name, description.task),
    ]
    drawn = str(record.get("data", "")).startswith("demo")
    known = "widerface" if description.task == "detection" else "lfw"
    pictures = str(record["data"]) if drawn else f"{known} data.root=ROOT"
    usage.append(f"secateur evaluate weights={name} data={pictures}")
    return ModelCard(
        title=f"{title(about)}, exported for {FORMATS[description.format]}",
        summary=introduction(
            description.task, about, f" This is the file {name}, made of {description.name}."
        ),
        facts={
            **sizes(about),
            "size of the file": f"{path.stat().st_size / 1024:,.0f} KiB",
            "takes": _takes(description.pixels, description.format),
            "gives": ", ".join(description.outputs),
            "numbers": _numbers(description.quantization),
            f"against PyTorch{'' if eight_bits is None else ', before eight bits'}": _agreement(
                parity
            ),
        },
        data=training_data(record),
        recipe={} if config is None else recipe(record, config),
        figures=rows,
        conditions=measured,
        remarks=[] if eight_bits is None else [_cost(eight_bits, of_float=bool(rows))],
        limits=limits(description.task, record, config),
        license=license_terms(
            record,
            None if config is None else value_at(config, "weights"),
            description.provenance,
        ),
        usage=tuple(usage),
        usage_remark=f"With secateur installed, from the folder of the file, where {name}.json "
        "says how pictures go in and answers come out. Without it, as in examples/onnxruntime and "
        "examples/android of the project.",
    )


def _shown(run: Path) -> Path:
    """A run as one would name it where the command was given: no path of this machine."""
    for base in (Path.cwd(), Path.cwd().resolve()):
        if run.is_relative_to(base):
            return run.relative_to(base)
    return Path(run.name) if run.is_absolute() else run


def _takes(pixels: PixelFormat, backend: str) -> str:
    """What a file is fed with, as a person would write it down."""
    batch = "1" if backend == "executorch" else "B"
    height, width = pixels.size or ("H", "W")
    if pixels.type == "uint8":
        return f"bytes ({batch}, {height}, {width}, 3), RGB as decoded"
    order = "red, green, blue" if pixels.order == "rgb" else "blue, green, red"
    steps = [f"float32 ({batch}, 3, {height}, {width}), {order} in 0..255"]
    names = ("red", "green", "blue")
    if any(pixels.mean):
        parts = (f"{value:g} from {name}" for value, name in zip(pixels.mean, names, strict=True))
        steps.append(f"less {', '.join(parts)}")
    if set(pixels.scale) != {1.0}:
        equal = len(set(pixels.scale)) == 1
        values = f"{pixels.scale[0]:g}" if equal else ", ".join(f"{v:g}" for v in pixels.scale)
        steps.append(f"divided by {values}")
    if pixels.multiple > 1:
        steps.append(
            f"sides filled up to multiples of {pixels.multiple} with black, right and below"
        )
    return "; ".join(steps)


def _numbers(quantization: str) -> str:
    return {"none": "float32", "int8": "eight-bit integers where that costs little"}.get(
        quantization, quantization
    )


def _agreement(parity: Parity) -> str:
    """How far the file is from the network that it was made of."""
    pictures = tables.counted(parity.pictures, "picture")
    parts = []
    if parity.outputs:
        parts.append(f"outputs differ by at most {max(parity.outputs):.1g}")
    if parity.faces is not None:
        parts.append(
            f"the same {tables.counted(parity.faces[0], 'face')} within "
            f"{parity.box_difference:.1g} pixels"
        )
    return f"{', '.join(parts)} on {pictures}"


def _cost(report: Mapping[str, Any], *, of_float: bool) -> str:
    """What eight bits cost, and whether there are figures of the network before it got them."""
    kept = list(report.get("in_float", []))
    stay = f"; in float: {', '.join(map(str, kept))}" if kept else ""
    cost = f"{report['cost']:.4f}" if report["cost"] > 0 else "nothing"
    above = "The figures above are of the network before its layers got eight bits. "
    return (
        f"{above if of_float else ''}{'That costs' if of_float else 'Eight bits cost'} {cost} "
        f"of {report['figure']} ({report['of_float']:.4f} to {report['of_int8']:.4f}; "
        f"{report['about']}){stay}."
    )


def _library(path: str, task: str) -> str:
    name, question = ("detector", "faces") if task == "detection" else ("embedder", "embeddings")
    return f'from secateur import load\n\n{name} = load("{path}")\n{question} = {name}("photo.jpg")'
