"""What a run recorded, in the words of a model card."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from secateur.metrics.names import DENSE, FINAL, PRUNED, QUALITY, RECONSTRUCTED, label_of
from secateur.reports import tables
from secateur.reports.summary import NOT_EQUAL
from secateur.workflows.run_records import value_at

_MODELS = {
    "eresfd": "EResFD",
    "extd": "EXTD",
    "yunet": "YuNet",
    "squeezenet": "SqueezeNet",
    "mobilenet": "MobileNet",
    "resnet": "ResNet",
    "mobilefacenet": "MobileFaceNet",
    "iresnet": "IResNet",
}
_DATA = {
    "demo_faces": "drawn faces (demo_faces)",
    "demo_identities": "drawn people (demo_identities)",
    "widerface": "WIDER FACE",
    "lfw": "LFW",
    "ms1m": "MS1M",
    "vggface2_pose": "VGGFace2",
}
_RESEARCH = ("widerface", "lfw", "ms1m", "vggface2_pose")
_TASKS = {
    "detection": ("a face detector", "It gives boxes with scores."),
    "recognition": (
        "a face recognizer",
        "It gives embeddings, whose cosine tells how alike two faces are.",
    ),
}
_LIMITS = {
    "detection": "Faces smaller than about 8 pixels, covered ones and profiles are found less "
    "often than the average says; the score is no probability outside of the data it was "
    "measured on.",
    "recognition": "How alike two faces are says nothing about who a person is without a threshold "
    "measured on pictures like those it is used on; error rates differ between groups of people, "
    "and were not measured by group.",
}
_DRAWN = (
    "**Trained on drawn faces: it shows that the program works and is of no use on photographs.**"
)
_CRITERIA = {
    "fpgm": "FPGM",
    "l1": "L1 norm",
    "l2": "L2 norm",
    "taylor": "Taylor expansion of filters",
    "taylor_weight": "Taylor expansion of weights",
    "batchnorm": "scales of batch norms",
    "random": "chance",
}
_SCOPES = {
    "independent": "layer by layer",
    "coupled": "filters that are tied together as one",
    "global": "all layers in one ranking",
    "global_coupled": "tied filters of all layers in one ranking",
}
_STARTED = "started from "
_RATE = "tar_at_far_"
_PROTOCOLS = {"single": "each picture looked at once, at its own size (protocol single)"}


def title(summary: Mapping[str, Any]) -> str:
    """Name of the network and how it was made smaller."""
    name = named(str(summary.get("model")))
    criterion = summary.get("criterion")
    return f"{name} pruned by {_criterion(criterion)}" if criterion else name


def named(model: str) -> str:
    """Name of a network as its authors write it: ``EXTD 64``, ``ResNet 50``."""
    family = next((key for key in sorted(_MODELS, key=len)[::-1] if model.startswith(key)), None)
    if family is None:
        return model
    rest = model.removeprefix(family).strip("_").replace("_", " ")
    return f"{_MODELS[family]} {rest}".strip()


def _criterion(criterion: object) -> str:
    text = str(criterion)
    return _CRITERIA.get(text, text)


def introduction(task: str, summary: Mapping[str, Any], more: str) -> str:
    """What the network is, in a paragraph that ends in ``more``."""
    name = named(str(summary.get("model")))
    count_of = ""
    if isinstance(count := summary.get("params_slim", summary.get("parameters")), int):
        count_of = f" with {count:,} parameters"
    kind, gives = _TASKS.get(task, ("a network", ""))
    return f"{name} is {kind}{count_of}, made with secateur. {gives}{more}".strip()


def sizes(summary: Mapping[str, Any]) -> dict[str, str]:
    """Sizes, beside those before pruning."""

    def beside(name: str, write: Callable[[float | None], str]) -> str | None:
        slim, dense = summary.get(f"{name}_slim"), summary.get(f"{name}_dense")
        if slim is None:
            return None
        if dense is None or dense == slim:
            return write(slim)
        return f"{write(slim)} ({write(dense)} before pruning, {tables.change(slim, dense)})"

    side = summary.get("input_size")
    facts = {"parameters": beside("params", tables.count)}
    if facts["parameters"] is None and isinstance(summary.get("parameters"), int):
        facts["parameters"] = tables.count(summary["parameters"])
    at = f" for {side} x {side} pixels" if side else ""
    facts[f"multiply-accumulates{at}"] = beside("macs", tables.mega)
    machine = summary.get("machine")
    on = f", PyTorch on {machine}" if machine else ""
    facts[f"time{at}{on}"] = beside("latency_ms", tables.milliseconds)
    return {key: value for key, value in facts.items() if value is not None}


def recipe(summary: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, str]:
    """How the network was made, in the order in which it was."""
    start, phases = value_at(config, "weights"), value_at(config, "phases", {})

    def epochs(phase: str) -> int:
        found = phases.get(f"{phase}_epochs")
        return found if isinstance(found, int) else 0

    steps = {"start": "from scratch" if start is None else Path(str(start)).name}
    if epochs("dense"):
        steps["dense training"] = tables.counted(epochs("dense"), "epoch")
    if summary.get("criterion"):
        target, rate = summary.get("target"), summary.get("rate", 0.0)
        amount = f"to {target}" if target else f"{tables.percent(float(rate))} of the filters"
        if summary.get("rates"):
            amount = "at rates of single groups (see config.yaml)"
        scope = _SCOPES.get(str(summary.get("scope")), str(summary.get("scope")))
        length = tables.counted(epochs("prune"), "epoch")
        steps["pruning"] = (
            f"{_criterion(summary['criterion'])}, {scope}, {amount}; "
            f"{summary.get('schedule')} schedule of {length}"
        )
        if value_at(config, "recover.reconstruct"):
            steps["after masking"] = "layers refitted to the dense network in closed form"
        steps["fine-tuning"] = f"{tables.counted(epochs('finetune'), 'epoch')} with the mask held"
    if start is not None and value_at(config, "recover.distill"):
        teacher = value_at(config, "recover.teacher")
        steps["taught by"] = Path(str(teacher)).name if teacher else "the network it started from"
    if (rate := value_at(config, "optimizer.lr")) is not None:
        steps["learning rate"] = f"{float(rate):g}"
    if (size := value_at(config, "data.batch_size")) is not None:
        steps["pictures of a step"] = str(size)
    if (seed := summary.get("seed")) is not None:
        steps["seed"] = str(seed)
    return steps


def figures(summary: Mapping[str, Any], thresholds: Mapping[str, float]) -> list[tuple[str, ...]]:
    """What was measured, beside the network before and right after pruning; heads first."""
    stages = [
        (stage, head)
        for stage, head in (
            (FINAL, "this network"),
            (DENSE, "before pruning"),
            (PRUNED, "just pruned"),
            (RECONSTRUCTED, "reconstructed"),
        )
        if any(f"{figure.name}{stage.suffix}" in summary for figure in QUALITY)
    ]
    labels = {figure.name: figure.label for figure in QUALITY}
    rates = (key.removeprefix(_RATE) for key in summary if key.startswith(_RATE))
    labels |= {
        f"{_RATE}{far}": label_of(f"{_RATE}{far}") for far in sorted(rates) if "_" not in far
    }
    rows: list[tuple[str, ...]] = []
    for name, label in labels.items():
        values = [summary.get(f"{name}{stage.suffix}") for stage, _ in stages]
        if values and isinstance(values[0], float):
            cells = [f"{v:.3f}" if isinstance(v, float) else tables.NOTHING for v in values]
            rows.append((label, *cells))
    rows += [
        (
            f"one person from (cosine, FAR {far})",
            f"{value:.4f}",
            *[tables.NOTHING] * len(stages[1:]),
        )
        for far, value in thresholds.items()
        if stages
    ]
    return [("", *(head for _, head in stages)), *rows] if rows else []


def conditions(summary: Mapping[str, Any]) -> str:
    """Under which conditions."""
    if not any(figure.name in summary for figure in QUALITY):
        return "None were recorded with these weights."
    protocol = summary.get("protocol")
    how = f", {_PROTOCOLS.get(str(protocol), f'protocol {protocol}')}" if protocol else ""
    what = "verification pairs" if summary.get("task") == "recognition" else "validation pictures"
    count = summary.get("pictures_evaluated")
    number = f"{count:,}" if isinstance(count, int) else "the"
    return f"On {number} {what} of {_pictures_of(summary)}{how}."


def _pictures_of(summary: Mapping[str, Any]) -> str:
    name = str(summary.get("data"))
    return _DATA.get(name, name)


def training_data(summary: Mapping[str, Any], pictures: str = "") -> str:
    """What it was trained on, with ``pictures`` that say how many; empty if nothing tells."""
    if not summary.get("data"):
        return ""
    side = summary.get("input_size", "unknown")
    counts = f" {pictures[0].upper()}{pictures[1:]}." if pictures else ""
    return f"Trained on {_pictures_of(summary)}, with inputs of {side} x {side} pixels.{counts}"


def limits(
    task: str, summary: Mapping[str, Any], config: Mapping[str, Any] | None = None
) -> list[str]:
    """What it is not good for, one sentence each."""
    sentences = [_LIMITS[task]] if task in _LIMITS else []
    if str(summary.get("data", "")).startswith("demo"):
        sentences.insert(0, _DRAWN)
    if summary.get("slim_equal") is False:
        sentences.append(f"{NOT_EQUAL[0].upper()}{NOT_EQUAL[1:]}: {summary['slim_renormalized']}.")
    parts = {
        what: share
        for what in ("train", "val")
        if (share := value_at(config or {}, f"trainer.limit_{what}_batches", 1.0)) != 1.0
    }
    if parts:
        did = {"train": "trained", "val": "measured"}
        settings = ", ".join(f"trainer.limit_{what}_batches={n}" for what, n in parts.items())
        sentences.append(
            f"A trial of the program: it was {' and '.join(did[what] for what in parts)} on a part "
            f"of the pictures alone ({settings})."
        )
    return sentences


def license_terms(
    summary: Mapping[str, Any], start: object, provenance: Mapping[str, Any] | None = None
) -> str:
    """Of the starting weights, or that there were none; and the terms of the data."""
    known = dict(provenance or {})
    origin = str(known.get("origin", ""))
    if start is not None or known.get("licence") or origin.startswith(_STARTED):
        name = origin.removeprefix(_STARTED) or Path(str(start)).name
        holds = (
            f": {known['licence']}" if known.get("licence") else ", whose license goes on to hold"
        )
        kind = (
            "weights" if start is None and not origin.startswith(_STARTED) else "starting weights"
        )
        text = f"The {kind} are {name}{holds}."
    elif summary.get("data"):
        text = "Trained from scratch: Apache-2.0, as the project."
    else:
        text = "Nothing is known about the starting weights: ask whoever gave them to you."
    if summary.get("data") in _RESEARCH:
        text += f" The pictures of {_pictures_of(summary)} are for research use."
    return text
