"""Compare runs: find them, print the table, write the page."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from secateur.errors import InputError
from secateur.reports.comparison.front import read_references
from secateur.reports.comparison.runs import Collection, Run, collect_runs
from secateur.reports.comparison.table import (
    all_names,
    check_names,
    common_values,
    default_columns,
    ending,
    hardest_of,
    head_of,
    rows_of,
    select_runs,
    terminal_columns,
    unequal_runs,
)
from secateur.reports.tables import print_table
from secateur.workflows.command_line.arguments import CONF

log = logging.getLogger(__name__)


def compare(config: DictConfig) -> None:
    """Run the comparison.

    Args:
        config: Composed ``conf/compare.yaml``.

    Raises:
        InputError: If there is nothing to compare, or an option is not understood.
    """
    folders = [Path(str(folder)) for folder in config.folders]
    if not folders and config.wandb is None:
        raise InputError(
            "say what to compare, as run folders or folders that hold some: "
            "python compare.py outputs/"
        )
    found = collect_runs(folders) if folders else Collection([], [])
    runs = found.runs
    if config.wandb is not None:
        from secateur.workflows.tracking.wandb_project import fetch_runs

        runs = [*runs, *fetch_runs(str(config.wandb))]
    references = [] if config.references is None else _references(str(config.references))
    chosen = select_runs(runs, config.where, config.sort)
    for problem in found.problems:
        log.warning("%s", problem)
    if not chosen:
        raise InputError(
            f"none of the {len(runs)} runs meets where={config.where!r}"
            if runs
            else f"no run could be read: {found.problems[0]}"
            if found.problems
            else "there is no run to compare: give folders of finished runs"
        )
    columns = None if config.columns is None else [str(name) for name in config.columns]
    print_comparison(chosen, columns, monitor=config.sort)
    if config.page:
        folder = _folder(config, folders)
        title = str(config.title or _title(folders, str(config.wandb or "")))
        path = write_comparison(folder, chosen, title, references, found.problems)
        log.info("page: %s", path)


def _references(name: str) -> list[dict[str, str | float]]:
    """Points of a file, or those that travel in the package under the name ``published``."""
    path = CONF / "experiment" / "published.csv" if name == "published" else Path(name)
    return read_references(path)


def print_comparison(
    runs: Sequence[Run],
    columns: Sequence[str] | None = None,
    *,
    monitor: str | None = None,
    console: Console | None = None,
) -> None:
    """Print the table of some runs.

    Args:
        runs: Its rows.
        columns: Names of values; None chooses as many as fit the terminal.
        monitor: A value that has to be among the chosen ones.
        console: Where to print; standard output when absent.

    Raises:
        InputError: If no run has a value of such a name.
    """
    console = console or Console()
    names = [run.name for run in runs]
    if columns is not None:
        check_names(columns, all_names(runs), "columns")
        shown = list(columns)
    else:
        monitor = None if monitor is None else monitor.removeprefix("-")
        wanted = terminal_columns(default_columns(runs), monitor)
        shown = _fitting(runs, wanted, names, console, monitor)
        telling = [name for name in wanted if name in _TELLING]
        for most, needed in ((_LONG_PART, wanted), (_SHORT_PART, telling)):
            if set(needed) <= set(shown):
                break
            # the folder's name would take the place of what it is about
            names = _shortened([run.name for run in runs], most)
            shown = _fitting(runs, wanted, names, console, monitor)
    shared, unequal = common_values(runs), unequal_runs(runs)
    captions = [f"all: {shared}" if shared else "", unequal]
    print_table(
        f"{len(runs)} runs" if len(runs) != 1 else "1 run",
        [head_of(name) for name in shown],
        _named(rows_of(runs, shown), names, shown),
        caption="\n".join(filter(None, captions)) or None,
        console=console,
    )


# characters of each folder in a run's name where columns would have to go, and where those would
# that tell runs apart
_LONG_PART, _SHORT_PART = 22, 10
_TELLING = ("model", "criterion", "scope", "rate", "target")


def _shortened(names: Sequence[str], most: int) -> list[str]:
    """Names of which long folders show their ends; as they are where runs would be called alike."""
    cut = ["/".join(ending(part, most) for part in name.split("/")) for name in names]
    return cut if len(set(cut)) == len(set(names)) else list(names)


def _named(
    rows: Sequence[Sequence[str]], names: Sequence[str], columns: Sequence[str]
) -> list[list[str]]:
    """Rows with other names of their runs."""
    return [
        [name if column == "run" else cell for column, cell in zip(columns, row, strict=True)]
        for name, row in zip(names, rows, strict=True)
    ]


def _fitting(
    runs: Sequence[Run],
    columns: list[str],
    names: Sequence[str],
    console: Console,
    monitor: str | None,
) -> list[str]:
    """Leave out columns, sizes and settings first and what was asked for never, until it fits."""
    kept = {"run", monitor or hardest_of(columns), "params_slim"}
    least = ["latency_ratio", "ap_easy", "macs_slim", "seed", "data", "scope", "ap_drop", "kind"]
    shown = list(columns)
    while len(shown) > 3:
        rows = _named(rows_of(runs, shown), names, shown)
        cells = [[head_of(name) for name in shown], *rows]
        needed = sum(max(map(len, column)) + 3 for column in zip(*cells, strict=True))
        others = [name for name in shown if name not in kept]
        if needed <= console.width or not others:
            break
        shown.remove(next((name for name in least if name in others), others[-1]))
    return shown


def write_comparison(
    folder: Path,
    runs: Sequence[Run],
    title: str,
    references: Sequence[dict[str, str | float]] = (),
    problems: Sequence[str] = (),
) -> Path:
    """Write table, plots and page.

    Args:
        folder: Where they go: ``runs.csv``, ``comparison.html`` and ``plots/``.
        runs: The runs in their order.
        title: Head of the page.
        references: Points to compare with.
        problems: What could not be read.

    Returns:
        The page.
    """
    # matplotlib and the pictures are not needed for a table
    from secateur.files import atomic_write
    from secateur.reports.comparison.page import page_data, write_page
    from secateur.reports.comparison.plots import draw_comparison
    from secateur.reports.comparison.table import write_csv

    atomic_write(folder / "runs.csv", write_csv(runs))
    page = write_page(
        folder / "comparison.html", runs, title=title, references=references, problems=problems
    )
    draw_comparison(folder / "plots", runs, page_data(runs, references=references))
    return page


def _folder(config: DictConfig, folders: Sequence[Path]) -> Path:
    if config.output_dir is not None:
        return Path(str(config.output_dir))
    if len(folders) == 1:
        return folders[0] / "comparison"
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    return Path(str(config.paths.outputs)) / "comparison" / stamp


def _title(folders: Sequence[Path], project: str) -> str:
    names = [folder.resolve().name for folder in folders] + ([project] if project else [])
    return "Comparison of " + ", ".join(names[:3]) + (" and others" if len(names) > 3 else "")
