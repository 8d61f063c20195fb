"""What a run shows at its end: the closing table in the terminal, and the plots of its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from secateur.metrics.names import QUALITY, RECONSTRUCTED, STAGES, Stage
from secateur.readers import read_json
from secateur.reports import tables
from secateur.reports.metrics_file import read_curves
from secateur.reports.plots import LayerFilters, Span, plot_curves, plot_kept_filters
from secateur.reports.summary import NOT_EQUAL
from secateur.schema import Fields


def closing_table(summary: Mapping[str, Any], console: Console | None = None) -> None:
    """Print dense, masked and slim network side by side.

    Args:
        summary: The record of the run, see `secateur.reports.summary.KEYS`.
        console: Where to print; standard output when absent.
    """
    parts = [str(summary.get("model", "network")), str(summary.get("criterion", "not pruned"))]
    if "target" in summary:
        parts.append(f"target {summary['target']}")
    elif "rate" in summary and "criterion" in summary:
        parts.append("rates per group" if "rates" in summary else f"rate {summary['rate']:g}")
    parts.append(str(summary.get("data", "")))
    remarks = []
    if "slim_max_abs_diff" in summary:
        remarks.append(f"slim against masked: {summary['slim_max_abs_diff']:.2g} at most")
    if summary.get("slim_equal") is False:
        remarks.append(NOT_EQUAL)
    if str(summary.get("data")).startswith("demo_"):
        remarks.append("drawn faces: these figures say nothing about real pictures")
    rows = closing_rows(summary)
    tables.print_table(
        " · ".join(filter(None, parts)),
        ["", *(stage.label for stage in _measured_stages(summary)), "change"],
        rows,
        caption="; ".join(remarks) or None,
        console=console,
    )


def closing_rows(summary: Mapping[str, Any]) -> list[list[str]]:
    """Build the rows of the closing table.

    Masking makes parameters zero and removes none: what counts zeros stands under "masked", what
    is really smaller under "slim".

    Args:
        summary: The record of the run.

    Returns:
        Rows of five cells: quantity, dense, masked, slim, slim relative to dense; of six where
        layers were refitted, the reconstructed network after the masked one.
    """
    get = summary.get
    dense, slim = get("params_dense"), get("params_slim")
    macs, slim_macs = get("macs_dense"), get("macs_slim")
    latency, slim_latency = get("latency_ms_dense"), get("latency_ms_slim")
    rows = [
        [
            "parameters",
            *map(tables.count, (dense, dense, slim)),
            tables.change(slim, dense),
        ],
        ["non-zero parameters", tables.NOTHING, tables.count(get("params_nonzero")), *_none(2)],
        ["sparsity", tables.NOTHING, tables.percent(get("sparsity")), *_none(2)],
        ["MACs", *map(tables.mega, (macs, macs, slim_macs)), tables.change(slim_macs, macs)],
        [
            "latency on CPU",
            tables.milliseconds(latency),
            tables.NOTHING,
            tables.milliseconds(slim_latency),
            tables.change(slim_latency, latency),
        ],
    ]
    stages = _measured_stages(summary)
    if RECONSTRUCTED in stages:  # it costs what the masked network costs
        for row in rows:
            row.insert(1 + stages.index(RECONSTRUCTED), tables.NOTHING)
    for figure in QUALITY:
        values = [get(f"{figure.name}{stage.suffix}") for stage in stages]
        if all(value is None for value in values):
            continue
        start, end = values[0], values[-1]
        moved = tables.NOTHING if start is None or end is None else f"{end - start:+.4f}"
        rows.append([figure.label, *map(tables.precision, values), moved])
    return rows


def _measured_stages(summary: Mapping[str, Any]) -> list[Stage]:
    """Networks of a run that the closing table shows: a reconstructed one only where it is."""
    refitted = any(f"{figure.name}{RECONSTRUCTED.suffix}" in summary for figure in QUALITY)
    return [stage for stage in STAGES if refitted or stage is not RECONSTRUCTED]


def draw_plots(folder: Path, spans: Sequence[Span] = ()) -> list[Path]:
    """Draw the plots of a run folder into its folder ``plots``.

    Args:
        folder: The run folder; ``metrics.csv`` and ``pruning.json`` are read where they exist.
        spans: Phases of training to mark.

    Returns:
        The files written.
    """
    plots, written = folder / "plots", []
    curves = read_curves(folder / "metrics.csv")
    losses = {"total": "train/loss", "location": "train/location", "confidence": "train/confidence"}
    shown = {label: curves[name] for label, name in losses.items() if name in curves}
    if shown:
        path = plots / "loss.png"
        written.append(
            plot_curves(path, shown, title="Training loss", quantity="loss", spans=spans)
        )
    shown = {q.label: curves[f"val/{q.name}"] for q in QUALITY if f"val/{q.name}" in curves}
    if shown:
        quantity = "average precision" if all(n.startswith("AP") for n in shown) else "value"
        path = plots / "quality.png"
        written.append(
            plot_curves(
                path, shown, title="Validation", quantity=quantity, spans=spans, unit_range=True
            )
        )
    grown = {
        "not zero after the epoch": "pruning/nonzero",
        "kept by the next mask": "pruning/regrown",
    }
    shown = {label: curves[name] for label, name in grown.items() if name in curves}
    if shown:
        path = plots / "regrown.png"
        written.append(
            plot_curves(
                path,
                shown,
                title="Masked filters that grew back",
                quantity="share of the last mask",
                spans=spans,
                unit_range=True,
            )
        )
    if (folder / "pruning.json").exists():
        layers = read_layers(folder / "pruning.json")
        path = plots / "kept_filters.png"
        written.append(plot_kept_filters(path, layers, title="Filters kept in each layer"))
    return written


def read_layers(path: Path) -> list[LayerFilters]:
    """Read the filters of each layer from a ``pruning.json``.

    Raises:
        InputError: If it is missing or something else.
    """
    remedy = "delete it; the run that it belongs to writes it again when it ends"
    report = Fields(read_json(path, remedy), path, remedy)
    layers = []
    for row in report.rows("layers"):
        filters = row.count("filters", 0, 1 << 31)
        slim = row.count("slim", 0, 1 << 31) if "slim" in row.values else filters
        layers.append(LayerFilters(row.text("name"), filters, row.count("kept", 0, filters), slim))
    return layers


def _none(n: int) -> list[str]:
    return [tables.NOTHING] * n
