"""The one table of figures: what each is called, which way is better, and how it is written.

A figure has one name everywhere. What tells apart the networks of one run is where it is asked:

=============  =========================  =========================  ================
network        ``summary.json``           logged as                  column heads say
=============  =========================  =========================  ================
dense          ``ap_hard_start``          ``dense/ap_hard``          dense
just pruned    ``ap_hard_masked``         ``pruned/ap_hard``         just pruned
reconstructed  ``ap_hard_reconstructed``  ``reconstructed/ap_hard``  reconstructed
slim           ``ap_hard``                ``final/ap_hard``          fine-tuned, slim
=============  =========================  =========================  ================

Curves over the epochs are logged as ``val/ap_hard``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Goal = Literal["max", "min"]
Unit = Literal["fraction", "ratio", "count", "milliseconds", "seconds", "megabytes", "number"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a network or of a run.

    Attributes:
        name: Key in ``summary.json``, without the suffix of a stage.
        label: What a person reads.
        goal: Which way is better, or None where neither is.
        unit: How its number is written.
    """

    name: str
    label: str
    goal: Goal | None
    unit: Unit


@dataclass(frozen=True, slots=True)
class Stage:
    """One of the networks that a run has.

    Attributes:
        prefix: Before the slash of a logged figure.
        suffix: At the end of a key of ``summary.json``.
        label: What a person reads.
    """

    prefix: str
    suffix: str
    label: str


DENSE = Stage("dense", "_start", "dense")
PRUNED = Stage("pruned", "_masked", "just pruned")
RECONSTRUCTED = Stage("reconstructed", "_reconstructed", "reconstructed")
FINAL = Stage("final", "", "fine-tuned, slim")
STAGES = (DENSE, PRUNED, RECONSTRUCTED, FINAL)

DETECTION = (
    Figure("ap_easy", "AP easy", "max", "fraction"),
    Figure("ap_medium", "AP medium", "max", "fraction"),
    Figure("ap_hard", "AP hard", "max", "fraction"),
    Figure("ap_unlisted", "AP unlisted", "max", "fraction"),
    Figure("landmark_error", "landmark error", "min", "fraction"),
)
RECOGNITION = (
    Figure("accuracy", "accuracy", "max", "fraction"),
    Figure("eer", "equal error rate", "min", "fraction"),
    Figure("tar_at_far_1e-2", "TAR at FAR 1e-2", "max", "fraction"),
    Figure("tar_at_far_1e-3", "TAR at FAR 1e-3", "max", "fraction"),
    Figure("auc", "area under ROC", "max", "fraction"),
)
QUALITY = (*DETECTION, *RECOGNITION)
"""What a network is worth, each measured at every stage."""

SIZE = (
    Figure("params_slim", "parameters, slim", "min", "count"),
    Figure("params_nonzero", "non-zero parameters", "min", "count"),
    Figure("params_dense", "parameters, dense", "min", "count"),
    Figure("macs_slim", "MACs, slim", "min", "count"),
    Figure("macs_dense", "MACs, dense", "min", "count"),
    Figure("latency_ms_slim", "latency, slim", "min", "milliseconds"),
    Figure("latency_ms_dense", "latency, dense", "min", "milliseconds"),
    Figure("sparsity", "sparsity", "max", "fraction"),
)
"""What a network costs. Milliseconds depend on the machine and its load: compare their ratio."""

RATIO = (
    Figure("params_ratio", "parameters, slim to dense", "min", "ratio"),
    Figure("macs_ratio", "MACs, slim to dense", "min", "ratio"),
    Figure("latency_ratio", "latency, slim to dense", "min", "ratio"),
    Figure("ap_drop", "AP hard lost", "min", "fraction"),
    Figure("eer_rise", "equal error rate gained", "min", "fraction"),
)
"""The slim network against the dense one of the same run."""

OTHER = (
    Figure("rate", "rate", None, "fraction"),
    Figure("objective", "objective", None, "fraction"),
    Figure("best_objective", "best objective", "max", "fraction"),
    Figure("loss", "training loss", "min", "number"),
    Figure("slim_max_abs_diff", "slim against masked", "min", "number"),
    Figure("wall_seconds", "time", None, "seconds"),
    Figure("peak_memory_mb", "peak memory", "min", "megabytes"),
)

_TAR = "tar_at_far_"

FIGURES: dict[str, Figure] = {figure.name: figure for figure in (*QUALITY, *SIZE, *RATIO, *OTHER)}


def find_figure(key: str) -> Figure | None:
    """Find the figure that a key of a summary or a logged name belongs to.

    Args:
        key: Such as ``ap_hard``, ``ap_hard_start``, ``val/ap_hard`` or ``rates.g1``.

    Returns:
        The figure, its label naming the stage where the key does; None for what is no figure.

    Example:
        >>> find_figure("ap_hard_start").label
        'AP hard, dense'
        >>> find_figure("val/eer").goal
        'min'
    """
    prefix, slash, name = key.rpartition("/")
    if slash and prefix in ("val", "train", "holdout", *(stage.prefix for stage in STAGES)):
        key = name
    if key in FIGURES:
        return FIGURES[key]
    if key.startswith(_TAR) and "_" not in (rate := key.removeprefix(_TAR)):
        return Figure(key, f"TAR at FAR {rate}", "max", "fraction")
    if key.startswith(("rates.", "rates/")):
        return Figure(key, f"rate of {key[6:]}", None, "fraction")
    for stage in (DENSE, PRUNED, RECONSTRUCTED):
        base = FIGURES.get(key.removesuffix(stage.suffix))
        if key.endswith(stage.suffix) and base is not None:
            return Figure(key, f"{base.label}, {stage.label}", base.goal, base.unit)
    return None


def label_of(key: str) -> str:
    """What a person reads in place of a key; the key itself where it is no figure."""
    figure = find_figure(key)
    return key if figure is None else figure.label


def ratios(summary: Mapping[str, object]) -> dict[str, float]:
    """The slim network against the dense one, from the record of a run.

    Args:
        summary: Values by the keys of ``summary.json``.

    Returns:
        Those of `RATIO` whose two sides are there.

    Example:
        >>> ratios({"params_slim": 60, "params_dense": 80, "ap_hard": 0.7, "ap_hard_start": 0.75})
        {'params_ratio': 0.75, 'ap_drop': 0.05}
    """

    def number(key: str) -> float | None:
        value = summary.get(key)
        return float(value) if isinstance(value, int | float) else None

    found: dict[str, float] = {}
    for name in ("params", "macs", "latency_ms"):
        slim, dense = number(f"{name}_slim"), number(f"{name}_dense")
        if slim is not None and dense:
            found[f"{name.removesuffix('_ms')}_ratio"] = round(slim / dense, 6)
    for key, name, sign in (("ap_hard", "ap_drop", 1), ("eer", "eer_rise", -1)):
        start, end = number(f"{key}{DENSE.suffix}"), number(key)
        if start is not None and end is not None:
            found[name] = round(sign * (start - end), 6)
    return found
