"""The table of a comparison: which columns, in which order, for the terminal and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from difflib import get_close_matches

from secateur.errors import InputError
from secateur.metrics.names import FIGURES, QUALITY, STAGES, find_figure
from secateur.reports.comparison.expression import parse_condition
from secateur.reports.comparison.runs import Run, Value, differing_settings
from secateur.reports.summary import NOT_EQUAL
from secateur.reports.tables import NOTHING

_MOST_TOLD = 12  # rates and settings before what came out
_ABOUT = (
    *("kind", "task", "model", "criterion", "scope", "schedule", "rate", "target", "seed"),
    *("data", "input_size", "protocol", "quantity", "sampler", "space", "objective"),
)
_SIZES = (
    *("params_slim", "params_ratio", "macs_slim", "macs_ratio", "latency_ms_slim"),
    *("latency_ratio", "sparsity"),
)
# heads that fit a terminal
_SHORT = {
    "params_slim": "parameters",
    "slim_equal": "equal",
    "params_ratio": "of dense",
    "macs_slim": "MACs",
    "macs_ratio": "of dense",
    "latency_ms_slim": "latency",
    "latency_ratio": "of dense",
    "eer": "EER",
    "ap_drop": "AP lost",
    "eer_rise": "EER gained",
    "tar_at_far_1e-3": "TAR 1e-3",
    "auc": "AUC",
}


def values_of(run: Run) -> dict[str, Value]:
    """Everything a column, an order or a condition can ask of a run."""
    return {**run.settings, **run.record, "run": run.name, "kind": run.kind}


def select_runs(runs: Sequence[Run], where: str | None, sort: str | None) -> list[Run]:
    """Filter and order runs.

    Args:
        runs: All runs.
        where: Condition as of `secateur.reports.comparison.expression`; None keeps all.
        sort: Name of a value; the best run comes first, smallest first where neither way is better.
            A minus in front turns the order round. None keeps the order.

    Returns:
        The runs left; those without the value come last.

    Raises:
        InputError: If the condition or the name is not understood.
    """
    names = all_names(runs)
    if where:
        holds = parse_condition(where, names)
        runs = [run for run in runs if holds(values_of(run))]
    if not sort:
        return list(runs)
    name, backwards = sort.removeprefix("-"), sort.startswith("-")
    check_names([name], names, "sort")
    figure = find_figure(name)
    descending = (figure is not None and figure.goal == "max") != backwards
    present = [run for run in runs if name in values_of(run)]
    absent = [run for run in runs if name not in values_of(run)]
    numbers = all(isinstance(values_of(run)[name], int | float) for run in present)

    def position(run: Run) -> tuple[float, str]:
        value = values_of(run)[name]
        return (float(value), "") if numbers else (0.0, str(value))

    return [*sorted(present, key=position, reverse=descending), *absent]


def all_names(runs: Sequence[Run]) -> list[str]:
    """Names of everything that some run holds, records before settings."""
    names = ["run", "kind"]
    names += [name for run in runs for name in run.record]
    names += [name for run in runs for name in run.settings]
    return list(dict.fromkeys(names))


def check_names(wanted: Sequence[str], names: Sequence[str], option: str) -> None:
    """Refuse a name that no run has.

    Raises:
        InputError: With the nearest name.
    """
    for name in wanted:
        if name not in names:
            close = get_close_matches(name, names, n=1)
            hint = f"did you mean {close[0]}" if close else "choose from " + ", ".join(names)
            raise InputError(f"{option}={name}: no run has a value of that name; {hint}")


def default_columns(runs: Sequence[Run]) -> list[str]:
    """Columns that tell runs apart, then what came out and what it costs.

    Args:
        runs: The runs shown.

    Returns:
        Names of values. What is the same in all runs, and what none has, is left out. Where there
        are many rates and settings, as of single layers, they come last.
    """
    values = [values_of(run) for run in runs]

    def differ(name: str) -> bool:
        found = {value.get(name) for value in values}
        # a dense network has no criterion, but one that was not measured differs in nothing
        return len(found if name in ("criterion", "rate", "target") else found - {None}) > 1

    def present(name: str) -> bool:
        return any(name in value for value in values)

    about = [name for name in _ABOUT if present(name) and differ(name)]
    rates = sorted({key for run in runs for key in run.record if key.startswith("rates.")})
    settings = differing_settings(runs)
    quality = [figure.name for figure in QUALITY if present(figure.name)]
    lost = [name for name in ("ap_drop", "eer_rise", "best_objective") if present(name)]
    sizes = [name for name in _SIZES if present(name)]
    if unequal_runs(runs):  # such a size is no lossless one
        sizes.insert(sizes.index("params_slim") + 1 if "params_slim" in sizes else 0, "slim_equal")
    told, found = [*rates, *settings], [*quality, *lost, *sizes]
    if len(told) > _MOST_TOLD:
        return ["run", *about, *found, *told]
    return ["run", *about, *told, *found]


def terminal_columns(columns: Sequence[str], monitor: str | None = None) -> list[str]:
    """The most telling of some columns, few enough for a terminal.

    Args:
        columns: As of `default_columns`.
        monitor: A figure that has to be among them, such as the one sorted by.
    """
    hardest = hardest_of(columns)
    wanted = {"run", "kind", "model", "criterion", "scope", "rate", "target", "seed", "data"}
    wanted |= {"ap_easy", "ap_drop", "params_slim", "macs_slim", "latency_ratio", "best_objective"}
    wanted |= {"slim_equal"}
    wanted |= {name for name in (hardest, "eer", monitor) if name}
    return [name for name in columns if name in wanted]


def hardest_of(columns: Sequence[str]) -> str | None:
    """The figure that tells most, of those in some columns."""
    return next((name for name in ("ap_hard", "eer", "accuracy") if name in columns), None)


def common_values(runs: Sequence[Run]) -> str:
    """What all runs share, for a line under the table."""
    values = [values_of(run) for run in runs]
    shared = []
    for name in _ABOUT:
        found = {value.get(name) for value in values}
        if len(found) == 1 and (value := found.pop()) is not None:
            shared.append(f"{name} {write_value(name, value)}")
    return ", ".join(shared)


def unequal_runs(runs: Sequence[Run]) -> str:
    """Sentence on the runs whose norms lost channels, ``pruning.equal=false``; empty without."""
    names = [run.name for run in runs if run.record.get("slim_equal") is False]
    return f"{NOT_EQUAL}: {', '.join(names)}" if names else ""


def head_of(name: str) -> str:
    """Head of a column."""
    if name in _SHORT:
        return _SHORT[name]
    figure = find_figure(name)
    return figure.label if figure is not None and name in FIGURES else name


def axis_labels(names: Sequence[str]) -> dict[str, str]:
    """Short labels of axes side by side: of a dotted key, the end that no other of them shares.

    Args:
        names: Names of values.

    Returns:
        A label for each name.

    Example:
        >>> axis_labels(["phases.prune_epochs", "a.lr", "b.lr"])
        {'phases.prune_epochs': 'prune_epochs', 'a.lr': 'a.lr', 'b.lr': 'b.lr'}
    """
    labels = {}
    for name in names:
        parts = name.split(".")
        ends = [".".join(parts[-n:]) for n in range(1, len(parts) + 1)]
        alone = (e for e in ends if sum(f".{other}".endswith(f".{e}") for other in names) == 1)
        labels[name] = head_of(name) if head_of(name) != name else next(alone, name)
    return labels


def ending(text: str, most: int) -> str:
    """A text, or of a longer one the end.

    Args:
        text: What is shown.
        most: Characters of it, the mark of what is left out among them; at least 2.

    Example:
        >>> ending("eresfd-fpgm-0.3", 5), ending("dense", 5)
        ('…-0.3', 'dense')
    """
    return text if len(text) <= most else f"…{text[1 - most :]}"


def cut_labels(labels: Sequence[str], most: int = 30) -> list[str]:
    """Labels of which what is long shows its end, which is what tells runs apart.

    Args:
        labels: Texts.
        most: Characters of each that are shown; more where two would look alike.

    Example:
        >>> cut_labels(["outputs/0 eresfd-0.1", "outputs/1 eresfd-0.1", "dense"], most=13)
        ['…0 eresfd-0.1', '…1 eresfd-0.1', 'dense']
    """
    while True:
        cut = [ending(text, most) for text in labels]
        if len(set(cut)) == len(set(labels)):
            return cut
        most += 4


def rows_of(runs: Sequence[Run], columns: Sequence[str]) -> list[list[str]]:
    """Cells as people read them."""
    return [[_cell(run, name) for name in columns] for run in runs]


def _cell(run: Run, name: str) -> str:
    """One cell; where groups or layers have rates of their own, the common one says little."""
    if name == "rate" and any(key.startswith("rates.") for key in run.record):
        return "own"
    return write_value(name, values_of(run).get(name))


def write_value(name: str, value: Value | None) -> str:
    """Write one value in the unit of its figure.

    Args:
        name: Its name.
        value: The value; None for what was not measured.

    Example:
        >>> write_value("params_slim", 78540), write_value("macs_slim", 53398456)
        ('78,540', '53.4 M')
    """
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    figure = find_figure(name)
    unit = figure.unit if figure is not None else "number"
    if name.startswith("macs_") and unit == "count":
        return f"{value / 1e6:,.1f} M"
    if name.startswith("rate"):
        return f"{value:.3g}"
    formats = {
        "count": "{:,.0f}",
        "fraction": "{:.4f}",
        "ratio": "{:.3f}",
        "milliseconds": "{:.3g} ms",
        "seconds": "{:,.0f} s",
        "megabytes": "{:,.0f} MB",
        "number": "{:.4g}",
    }
    return formats[unit].format(value)


def write_csv(runs: Sequence[Run]) -> str:
    """All values of all runs as CSV, numbers in full.

    Args:
        runs: The runs, in the order of the rows.

    Returns:
        The text of the file; the columns are those of `default_columns`, then every other value of
        the records, then the path.
    """
    stages = [f"{figure.name}{stage.suffix}" for stage in STAGES for figure in QUALITY]
    names = default_columns(runs)
    recorded = {name for run in runs for name in run.record}
    names += sorted(
        recorded - set(names), key=lambda name: (stages.index(name) if name in stages else -1, name)
    )
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow([*names, "path"])
    for run in runs:
        values = values_of(run)
        rows.writerow([*(values.get(name, "") for name in names), str(run.path)])
    return text.getvalue()
