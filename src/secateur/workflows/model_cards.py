"""Model cards of runs and of exported files, from what they recorded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from secateur.deploy.description import Description
from secateur.reports.model_card import ModelCard, write_model_card
from secateur.reports.summary import NOT_EQUAL
from secateur.workflows.run_records import value_at

CARD = "MODEL_CARD.md"

_QUALITY = (
    *("ap_easy", "ap_medium", "ap_hard", "ap_unlisted"),
    *("accuracy", "eer", "auc", "tar_at_far_1e-2", "tar_at_far_1e-3", "tar_at_far_1e-4"),
)
_COSTS = ("params_dense", "params_slim", "macs_dense", "macs_slim", "parameters")
_RECIPE = ("criterion", "scope", "schedule", "rate", "target", "seed")
_TASKS = {
    "detection": "a face detector",
    "recognition": "a network that embeds faces, to compare them",
}
_LIMITS = {
    "detection": "Faces smaller than about 8 pixels, covered ones and profiles are found less "
    "often than the average says; the score is no probability outside of the data it was "
    "measured on.",
    "recognition": "How alike two faces are says nothing about who a person is without a threshold "
    "measured on pictures like those it is used on; error rates differ between groups of people, "
    "and were not measured by group.",
}


def write_run_card(run: Path, summary: Mapping[str, Any], config: Mapping[str, Any]) -> Path:
    """Write the card of a run into its folder; returns the file.

    Args:
        run: The folder.
        summary: Its flat record.
        config: Its configuration as plain values.
    """
    task, model = str(summary.get("task")), str(summary.get("model"))
    start = value_at(config, "weights")
    epochs = value_at(config, "phases", {})
    recipe = {key: str(summary[key]) for key in _RECIPE if key in summary}
    recipe |= {str(key): str(value) for key, value in dict(epochs).items() if "epochs" in str(key)}
    card = ModelCard(
        title=f"{model} of the run {run.resolve().name}",
        summary=_summary(task, model),
        facts=_facts(summary),
        data=_data(summary),
        recipe=recipe,
        figures=_figures(summary),
        conditions=_conditions(summary),
        limits=_limits(task, summary),
        license=(
            "Trained from scratch: Apache-2.0 as the project, and the terms of the data."
            if start is None
            else f"Started from {Path(str(start)).name}, whose license goes on to hold."
        ),
        usage=(
            f"python {'detect.py' if task == 'detection' else 'embed.py'} run={run} source=FOLDER",
            _library(str(run), task),
            f"python export.py run={run} format=onnx",
        ),
    )
    return write_model_card(run / CARD, card)


def card_of_export(description: Description, path: Path) -> ModelCard:
    """The card of an exported file."""
    figures, pixels = description.figures, description.pixels
    takes = (
        "RGB bytes (B, H, W, 3)"
        if pixels.type == "uint8"
        else f"float32 (B, 3, H, W), {pixels.order.upper()}, (x - {pixels.mean}) / {pixels.scale}"
    )
    license_ = description.provenance.get("licence")
    return ModelCard(
        title=f"{description.name}, exported for {description.format}",
        summary=_summary(description.task, str(description.architecture.get("name"))),
        facts={
            "takes": takes,
            "gives": ", ".join(description.outputs),
            "quantization": description.quantization,
            "size": f"{path.stat().st_size / 1024:,.0f} KiB",
            "weights": str(description.provenance.get("origin", "of unknown origin")),
            **_facts(figures),
        },
        data=_data(figures),
        figures=_figures(figures),
        conditions=_conditions(figures)
        and f"{_conditions(figures)} Measured before the export; "
        "`python evaluate.py weights=FILE` measures the file itself.",
        limits=_limits(description.task, figures),
        license=f"Of the starting weights: {license_}." if license_ else "",
        usage=(_library(path.name, description.task),),
    )


def _summary(task: str, model: str) -> str:
    return f"{model}: {_TASKS.get(task, 'a network')}, made with secateur."


def _facts(figures: Mapping[str, Any]) -> dict[str, str]:
    """Sizes."""
    return {key: f"{figures[key]:,}" for key in _COSTS if isinstance(figures.get(key), int)}


def _figures(figures: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was measured, and of the dense network before pruning beside it."""
    rows = []
    for key in _QUALITY:
        if isinstance(figures.get(key), float):
            start = figures.get(f"{key}_start")
            before = f" (before pruning {start:.4f})" if isinstance(start, float) else ""
            rows.append((key, f"{figures[key]:.4f}{before}"))
    return rows


def _conditions(figures: Mapping[str, Any]) -> str:
    """Under which conditions."""
    if not any(key in figures for key in _QUALITY):
        return ""
    protocol = f", protocol {figures['protocol']}" if figures.get("protocol") else ""
    return f"On the validation pictures of {figures.get('data', 'its data')}{protocol}."


def _data(figures: Mapping[str, Any]) -> str:
    name = figures.get("data")
    if not name:
        return ""
    return f"Trained on {name}, with inputs of {figures.get('input_size', 'unknown')} pixels."


def _limits(task: str, figures: Mapping[str, Any]) -> list[str]:
    sentences = [_LIMITS[task]] if task in _LIMITS else []
    if str(figures.get("data", "")).startswith("demo"):
        sentences.insert(
            0,
            "**Trained on drawn faces: it shows that the program works and is of no use on "
            "photographs.**",
        )
    if figures.get("slim_equal") is False:
        sentences.append(f"{NOT_EQUAL[0].upper()}{NOT_EQUAL[1:]}: {figures['slim_renormalized']}.")
    return sentences


def _library(path: str, task: str) -> str:
    name, question = ("detector", "faces") if task == "detection" else ("embedder", "embeddings")
    return f'from secateur import load\n\n{name} = load("{path}")\n{question} = {name}("photo.jpg")'
