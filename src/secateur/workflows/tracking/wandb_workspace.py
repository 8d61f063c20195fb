"""A saved workspace and a report for a project of Weights & Biases.

    python -m secateur.wandb_workspace ENTITY/PROJECT           # saves both, prints addresses
    python -m secateur.wandb_workspace ENTITY/PROJECT --print   # prints what it would save

Both show the same: quality against size, parallel coordinates over rates and figures, the curves of
training, filters and pictures, and a table of the slim networks grouped by criterion. They read the
names that every run logs (`secateur.metrics.names`).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Sequence
from typing import Any

from secateur.errors import InputError
from secateur.metrics.names import FIGURES, Figure

_SIZES = ("params_slim", "macs_slim", "latency_ratio")
_CURVES = ("val/ap_hard", "train/loss", "train/lr", "pruning/sparsity", "pruning/mask_changes")


def build_workspace(project: str, quality: str = "ap_hard") -> Any:
    """Describe a workspace: how the runs of a project are shown and in which order.

    Args:
        project: ``ENTITY/PROJECT``.
        quality: The figure that decides, ``ap_hard`` or ``eer``.

    Returns:
        A ``wandb_workspaces.workspaces.Workspace`` that was not saved.

    Raises:
        InputError: If the package is missing, or the project or the figure is none.
    """
    entity, name = _names(project)
    figure = _figure(quality)
    import wandb_workspaces.workspaces as ws
    from wandb_workspaces import expr

    return ws.Workspace(
        entity=entity,
        project=name,
        name=f"secateur: {figure.label} against size",
        sections=[
            ws.Section(name=title, panels=panels, is_open=True)
            for title, panels in _panels(quality).items()
        ],
        settings=ws.WorkspaceSettings(max_runs=100),
        runset_settings=ws.RunsetSettings(
            filters=expr.And(expr.Metric("jobType") == "train"),
            groupby=[expr.Config("pruning.criterion")],
            order=[expr.Ordering(expr.Summary(f"final/{quality}"), figure.goal == "min")],
            pinned_columns=[
                "run:displayName",
                "config:model.name",
                "config:rate",
                *(f"summary:{key}" for key in _columns(quality)),
            ],
        ),
    )


def build_report(project: str, quality: str = "ap_hard") -> Any:
    """Describe a report: the same panels with a sentence above each part.

    Args:
        project: ``ENTITY/PROJECT``.
        quality: The figure that decides.

    Returns:
        A ``wandb_workspaces.reports.v2.Report`` that was not saved.

    Raises:
        InputError: As of `build_workspace`.
    """
    entity, name = _names(project)
    figure = _figure(quality)
    import wandb_workspaces.reports.v2 as wr

    runs = wr.Runset(  # without a project it takes the report's own, and asks no server for it
        filters="jobType = 'train'",
        groupby=["config.pruning.criterion", "config.model.name"],
        order=[wr.OrderBy(wr.SummaryMetric(f"final/{quality}"), figure.goal == "min")],
    )
    blocks: list[Any] = [wr.P(_ABOUT)]
    for title, panels in _panels(quality).items():
        blocks += [wr.H2(title), wr.PanelGrid(runsets=[runs], panels=panels)]
    return wr.Report(
        entity=entity,
        project=name,
        title=f"secateur: {figure.label} against size",
        description="Slim networks beside their dense ones.",
        blocks=blocks,
        width="fluid",
    )


_ABOUT = (
    "final/ is the fine-tuned, slim network: what you keep. dense/ is the network before pruning, "
    "pruned/ the one right after the final mask was set. Curves under val/ begin with the dense "
    "network. Latency is compared as a ratio, because milliseconds depend on machine and load."
)


def _panels(quality: str) -> dict[str, list[Any]]:
    """The panels by the head that they stand under."""
    import wandb_workspaces.reports.v2 as wr

    final = wr.SummaryMetric(f"final/{quality}")
    columns = [
        wr.ParallelCoordinatesPlotColumn(metric=wr.Config("model.name"), display_name="model"),
        wr.ParallelCoordinatesPlotColumn(
            metric=wr.Config("pruning.criterion"), display_name="criterion"
        ),
        wr.ParallelCoordinatesPlotColumn(metric=wr.Config("rate"), display_name="rate"),
    ]
    columns += [
        wr.ParallelCoordinatesPlotColumn(metric=wr.SummaryMetric(key), display_name=_label(key))
        for key in ("params_ratio", "macs_ratio", "latency_ratio", f"final/{quality}")
    ]
    return {
        "Quality against size": [
            wr.ScatterPlot(
                title=f"{_label(f'final/{quality}')} against {_label(size)}",
                x=wr.SummaryMetric(size),
                y=final,
                legend_template="${run:displayName}",
            )
            for size in _SIZES
        ],
        "Rates and figures": [wr.ParallelCoordinatesPlot(title="one line a run", columns=columns)],
        "Criteria": [
            wr.BarPlot(
                title=f"{_label(f'final/{quality}')} by criterion",
                metrics=[final],
                groupby=wr.Config("pruning.criterion"),
            ),
            wr.RunComparer(diff_only="split"),
        ],
        "Training": [
            wr.LinePlot(title=_label(name), x="epoch", y=[name])
            for name in (f"val/{quality}", *(n for n in _CURVES if n != "val/ap_hard"))
        ],
        "Layers, trials and pictures": [
            wr.WeavePanelSummaryTable(table_name="layers"),
            wr.WeavePanelSummaryTable(table_name="trials"),
            wr.MediaBrowser(title="plots", media_keys=["plots/kept_filters", "plots/pictures"]),
        ],
    }


def _columns(quality: str) -> list[str]:
    return [f"final/{quality}", f"dense/{quality}", "params_ratio", "macs_ratio", "latency_ratio"]


def _label(key: str) -> str:
    prefix, _, name = key.rpartition("/")
    figure = FIGURES.get(name)
    label = figure.label if figure else name.replace("_", " ")
    return f"{label} ({prefix})" if prefix in ("dense", "pruned", "final") else label


def _figure(quality: str) -> Figure:
    figure = FIGURES.get(quality)
    if figure is None or figure.goal is None:
        raise InputError(f"--quality {quality} is no figure; take ap_hard or eer")
    return figure


def _names(project: str) -> tuple[str, str]:
    if importlib.util.find_spec("wandb_workspaces") is None:
        raise InputError("this needs the package wandb-workspaces: pip install 'secateur[wandb]'")
    entity, _, name = project.partition("/")
    if not entity or not name or "/" in name:
        raise InputError(f"{project} is no project; give it as ENTITY/PROJECT")
    return entity, name


def main(arguments: Sequence[str] | None = None) -> int:
    """Save or print a workspace and a report.

    Args:
        arguments: Those of the command line; None takes the real ones.

    Returns:
        Exit status: 2 for what was asked wrongly, 0 otherwise.
    """
    parser = argparse.ArgumentParser(prog="python -m secateur.wandb_workspace")
    parser.add_argument("project", help="ENTITY/PROJECT")
    parser.add_argument("--quality", default="ap_hard", help="the figure that decides, e.g. eer")
    parser.add_argument("--print", action="store_true", help="print instead of saving")
    options = parser.parse_args(arguments)
    try:
        workspace = build_workspace(options.project, options.quality)
        report = build_report(options.project, options.quality)
        if options.print:
            print(json.dumps(specification(workspace, report), indent=2, sort_keys=True))
            return 0
        for made in (workspace, report):
            try:
                made.save()
            except Exception as error:  # the client raises several kinds, its own among them
                what = " ".join(str(error).split())[:200]
                raise InputError(
                    f"{options.project} could not be written ({what}); are you logged in "
                    "(wandb login), and may you write there"
                ) from error
            print(made.url)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def specification(workspace: Any, report: Any) -> dict[str, Any]:
    """What would be sent to a server, as plain values.

    Args:
        workspace: As of `build_workspace`.
        report: As of `build_report`.

    Returns:
        ``workspace`` and ``report``.
    """
    return {
        name: json.loads(made._to_model().model_dump_json(by_alias=True, exclude_none=True))
        for name, made in (("workspace", workspace), ("report", report))
    }
