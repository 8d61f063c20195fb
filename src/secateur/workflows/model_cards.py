"""Model cards of runs and of exported files, from what they recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from secateur.deploy.description import Description, PixelFormat
from secateur.deploy.parity import Parity
from secateur.metrics.names import DENSE, FINAL, PRUNED, QUALITY, RECONSTRUCTED
from secateur.reports import tables
from secateur.reports.model_card import ModelCard, write_model_card
from secateur.reports.summary import NOT_EQUAL
from secateur.workflows.run_records import thresholds_of_run, value_at

CARD = "MODEL_CARD.md"

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
_SCOPES = {
    "independent": "layer by layer",
    "coupled": "filters that are tied together as one",
    "global": "all layers in one ranking",
    "global_coupled": "tied filters of all layers in one ranking",
}
_PROTOCOLS = {"single": "each picture looked at once, at its own size (protocol single)"}


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
        title=_title(summary),
        summary=_summary(task, summary, f" This is the run {where}."),
        facts=_facts(summary),
        data=_data(summary, pictures),
        recipe=_recipe(summary, config),
        figures=_figures(summary, thresholds_of_run(run)),
        conditions=_conditions(summary),
        limits=_limits(task, summary),
        license=_license(summary, value_at(config, "weights")),
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
    figures, name = description.figures, path.name
    model = str(description.architecture.get("name"))
    about = {"model": model, **figures}
    thresholds = {} if description.cut is None else description.cut.thresholds
    eight_bits = figures.get("quantization_report")
    rows = _figures(figures, thresholds)
    measured = _conditions(figures)
    if rows:
        measured += " Measured before the export; how to measure the file itself is told below."
    command = "detect" if description.task == "detection" else "embed"
    usage = [
        f"secateur {command} weights={name} source=FOLDER",
        _library(name, description.task),
    ]
    if description.task == "detection":
        drawn = figures.get("data") == "demo_faces"
        pictures = "demo_faces" if drawn else "widerface data.root=ROOT"
        usage.append(f"secateur evaluate weights={name} data={pictures}")
    return ModelCard(
        title=f"{_title(about)}, exported for {description.format}",
        summary=_summary(
            description.task, about, f" This is the file {name}, made of {description.name}."
        ),
        facts={
            **_facts(about),
            "size of the file": f"{path.stat().st_size / 1024:,.0f} KiB",
            "takes": _takes(description.pixels, description.format),
            "gives": ", ".join(description.outputs),
            "numbers": _numbers(description.quantization),
            "against PyTorch": _agreement(parity),
        },
        data=_data(figures),
        recipe={} if config is None else _recipe(figures, config),
        figures=rows,
        conditions=measured,
        remarks=[] if eight_bits is None else [_cost(eight_bits)],
        limits=_limits(description.task, figures),
        license=_license(
            figures,
            None if config is None else value_at(config, "weights"),
            description.provenance,
        ),
        usage=tuple(usage),
        usage_remark=f"With secateur installed, from the folder of the file, where {name}.json "
        "says how pictures go in and answers come out. Without it, as in examples/onnxruntime and "
        "examples/android of the project.",
    )


def _title(summary: Mapping[str, Any]) -> str:
    """Name of the network and how it was made smaller."""
    name = _named(str(summary.get("model")))
    criterion = summary.get("criterion")
    return f"{name} pruned by {_criterion(criterion)}" if criterion else name


def _named(model: str) -> str:
    """Name of a network as its authors write it: ``EXTD 64``, ``ResNet 50``."""
    family = next((key for key in sorted(_MODELS, key=len)[::-1] if model.startswith(key)), None)
    if family is None:
        return model
    rest = model.removeprefix(family).strip("_").replace("_", " ")
    return f"{_MODELS[family]} {rest}".strip()


def _criterion(criterion: object) -> str:
    text = str(criterion)
    return text.upper() if text in ("fpgm", "l1", "l2") else text.replace("_", " of ")


def _summary(task: str, summary: Mapping[str, Any], more: str) -> str:
    name = _named(str(summary.get("model")))
    sizes = ""
    if isinstance(count := summary.get("params_slim", summary.get("parameters")), int):
        sizes = f" with {count:,} parameters"
    kind, gives = _TASKS.get(task, ("a network", ""))
    return f"{name} is {kind}{sizes}, made with secateur. {gives}{more}".strip()


def _shown(run: Path) -> Path:
    """A run as one would name it where the command was given: no path of this machine."""
    for base in (Path.cwd(), Path.cwd().resolve()):
        if run.is_relative_to(base):
            return run.relative_to(base)
    return Path(run.name) if run.is_absolute() else run


def _facts(summary: Mapping[str, Any]) -> dict[str, str]:
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


def _cost(report: Mapping[str, Any]) -> str:
    """What eight bits cost, in a sentence."""
    kept = list(report.get("in_float", []))
    stay = f"; in float: {', '.join(map(str, kept))}" if kept else ""
    return (
        f"The figures above are of the network before its layers got eight bits. That costs "
        f"{report['cost']:.4f} of {report['figure']} ({report['of_float']:.4f} to "
        f"{report['of_int8']:.4f}; {report['about']}){stay}."
    )


def _recipe(summary: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, str]:
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


def _figures(summary: Mapping[str, Any], thresholds: Mapping[str, float]) -> list[tuple[str, ...]]:
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
    rows: list[tuple[str, ...]] = []
    for figure in QUALITY:
        values = [summary.get(f"{figure.name}{stage.suffix}") for stage, _ in stages]
        if values and isinstance(values[0], float):
            cells = [f"{v:.3f}" if isinstance(v, float) else tables.NOTHING for v in values]
            rows.append((figure.label, *cells))
    rows += [
        (
            f"one person from (cosine, FAR {far})",
            f"{value:.3f}",
            *[tables.NOTHING] * len(stages[1:]),
        )
        for far, value in thresholds.items()
        if stages
    ]
    return [("", *(head for _, head in stages)), *rows] if rows else []


def _conditions(summary: Mapping[str, Any]) -> str:
    """Under which conditions."""
    if not any(figure.name in summary for figure in QUALITY):
        return "None were recorded with these weights."
    protocol = summary.get("protocol")
    how = f", {_PROTOCOLS.get(str(protocol), f'protocol {protocol}')}" if protocol else ""
    return f"On the validation pictures of {_pictures_of(summary)}{how}."


def _pictures_of(summary: Mapping[str, Any]) -> str:
    name = str(summary.get("data"))
    return _DATA.get(name, name)


def _data(summary: Mapping[str, Any], pictures: str = "") -> str:
    if not summary.get("data"):
        return ""
    side = summary.get("input_size", "unknown")
    counts = f" {pictures[0].upper()}{pictures[1:]}." if pictures else ""
    return f"Trained on {_pictures_of(summary)}, with inputs of {side} x {side} pixels.{counts}"


def _limits(task: str, summary: Mapping[str, Any]) -> list[str]:
    sentences = [_LIMITS[task]] if task in _LIMITS else []
    if str(summary.get("data", "")).startswith("demo"):
        sentences.insert(0, _DRAWN)
    if summary.get("slim_equal") is False:
        sentences.append(f"{NOT_EQUAL[0].upper()}{NOT_EQUAL[1:]}: {summary['slim_renormalized']}.")
    return sentences


def _license(
    summary: Mapping[str, Any], start: object, provenance: Mapping[str, Any] | None = None
) -> str:
    """Of the starting weights, or that there were none; and the terms of the data."""
    known = dict(provenance or {})
    origin = str(known.get("origin", ""))
    if start is not None or known.get("licence") or origin.startswith("started from"):
        name = origin.removeprefix("started from ") or Path(str(start)).name
        holds = (
            f": {known['licence']}" if known.get("licence") else ", whose license goes on to hold"
        )
        text = f"Starting weights of {name}{holds}."
    elif summary.get("data"):
        text = "Trained from scratch: Apache-2.0, as the project."
    else:
        text = "Nothing is known about the starting weights: ask whoever gave them to you."
    if summary.get("data") in _RESEARCH:
        text += f" The pictures of {_pictures_of(summary)} are for research use."
    return text


def _library(path: str, task: str) -> str:
    name, question = ("detector", "faces") if task == "detection" else ("embedder", "embeddings")
    return f'from secateur import load\n\n{name} = load("{path}")\n{question} = {name}("photo.jpg")'
