"""The page of a comparison: one HTML file that works from disk and asks nothing of the network."""

from __future__ import annotations

import base64
import html
import io
import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from secateur.data.images import read_image
from secateur.errors import InputError
from secateur.metrics.names import QUALITY, RATIO, SIZE, find_figure, label_of
from secateur.reports.comparison.runs import Run
from secateur.reports.comparison.table import (
    axis_labels,
    common_values,
    cut_labels,
    default_columns,
    head_of,
    unequal_runs,
    values_of,
)

_MOST_AXES = 12  # rates and settings side by side; rates of single layers are far more
_PICTURE_WIDTH = 960  # pixels at most: sharp on a wide window, and some hundred kB each
_AXES = ("model", "criterion", "scope", "schedule", "rate")


def write_page(
    path: Path,
    runs: Sequence[Run],
    *,
    title: str,
    references: Sequence[Mapping[str, str | float]] = (),
    problems: Sequence[str] = (),
) -> Path:
    """Write the page.

    Args:
        path: The file.
        runs: Rows of its table, in their first order.
        title: Head of the page.
        references: Points to compare with, as of `secateur.reports.comparison.front`.
        problems: Sentences to show above the table.

    Returns:
        The file written.

    Raises:
        InputError: If plotly is not installed.
    """
    from secateur.files import atomic_write

    parts = {
        "TITLE": html.escape(title),
        "STYLE": _part("page.css"),
        "SCRIPT": _part("page.js"),
        "PLOTLY": _plotly(),
        "DATA": _embedded(page_data(runs, references=references, problems=problems)),
    }
    # one pass, so that what a part holds is never taken for a place
    text = re.sub(r"@([A-Z]+)@", lambda place: parts[place[1]], _part("page.html"))
    return atomic_write(path, text)


def page_data(
    runs: Sequence[Run],
    *,
    references: Sequence[Mapping[str, str | float]] = (),
    problems: Sequence[str] = (),
) -> dict[str, Any]:
    """Everything that the page shows, as plain values.

    Args:
        runs: Rows of the table.
        references: Points to compare with.
        problems: Sentences to show.

    Returns:
        What the script of the page reads.
    """
    values = [values_of(run) for run in runs]
    columns = default_columns(runs)
    pictures: list[str] = []
    entries = []
    ticks = cut_labels([run.label for run in runs])
    for run, found, tick in zip(runs, values, ticks, strict=True):
        place = None
        if run.picture is not None and (picture := _picture(run.picture)) is not None:
            place = len(pictures)
            pictures.append(picture)
        entries.append(
            {
                "name": run.name,
                "label": run.label,
                "tick": tick,
                "path": str(run.path),
                "kind": run.kind,
                "values": found,
                "curves": run.curves,
                "layers": [[row.name, row.filters, row.kept, row.slim] for row in run.layers],
                "precision_recall": run.precision_recall,
                "roc": run.roc,
                "picture": place,
            }
        )

    def present(names: Sequence[str]) -> list[str]:
        return [name for name in names if any(name in found for found in values)]

    qualities = present([figure.name for figure in QUALITY])
    qualities += present(["best_objective"])
    quality = next((n for n in ("ap_hard", "eer", "accuracy") if n in qualities), "")
    sizes = present([figure.name for figure in (*SIZE, *RATIO[:3])])
    rates = sorted({name for found in values for name in found if name.startswith("rates.")})
    settings = [name for name in columns if name in {key for run in runs for key in run.settings}]
    told = [*(rates if len(rates) <= _MOST_AXES else []), *settings][:_MOST_AXES]
    axes = [*present(_AXES), *told, *sizes[:1], *present(["macs_slim"]), *qualities]
    logged = {name for run in runs for name in run.curves}
    names = {*columns, *qualities, *sizes, *axes, *logged}
    return {
        "runs": entries,
        "columns": [
            {
                "name": name,
                "head": head_of(name),
                "label": label_of(name),
                "goal": figure.goal if (figure := find_figure(name)) else None,
                "text": all(isinstance(v.get(name, ""), str) for v in values),
            }
            for name in columns
        ],
        "figures": {
            name: {"label": figure.label, "goal": figure.goal, "unit": figure.unit}
            for name in sorted(names)
            if (figure := find_figure(name)) is not None
        },
        "heads": {name: _curve_label(name) for name in sorted(names)},
        "axes": list(dict.fromkeys(axes)),
        "axis_labels": axis_labels(list(dict.fromkeys(axes))),
        "qualities": qualities,
        "quality": quality,
        "curve": _first_curve(runs, quality),
        "sizes": sizes,
        "references": list(references),
        "pictures": pictures,
        "shared": f"All: {shared}." if (shared := common_values(runs)) else "",
        "problems": [*problems, *filter(None, [unequal_runs(runs)])],
    }


def _first_curve(runs: Sequence[Run], quality: str) -> str:
    """The curve that is shown first: quality where it was measured over epochs, else the loss.

    Runs that recover judge their epochs on pictures held out of training.
    """
    names = [f"val/{quality}", f"holdout/{quality}", "train/loss"]
    longest = {
        n: max((len(r.curves[n][0]) for r in runs if n in r.curves), default=0) for n in names
    }
    return max(names, key=lambda name: (longest[name] > 1, longest[name] > 0, -names.index(name)))


def _curve_label(name: str) -> str:
    """Short name of an axis or a curve."""
    prefix, _, rest = name.partition("/")
    kinds = {"val": "validation", "train": "training", "holdout": "held out"}
    if rest and prefix in kinds:
        figure = find_figure(name)
        return f"{kinds[prefix]}, {figure.label if figure and rest != 'loss' else rest}"
    return head_of(name)


def _embedded(data: Mapping[str, Any]) -> str:
    """JSON that cannot end the element it stands in."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _picture(path: Path) -> str | None:
    """A picture of reasonable size as an address that holds it; None for what is no picture."""
    from PIL import Image

    try:
        picture = Image.fromarray(read_image(path))
    except InputError:
        return None
    if picture.width > _PICTURE_WIDTH:
        picture.thumbnail((_PICTURE_WIDTH, 8 * _PICTURE_WIDTH))
    content = io.BytesIO()
    picture.save(content, format="JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode()


def _plotly() -> str:
    """The plotting library, to be part of the page."""
    try:
        # not `plotly.offline`: that imports all of plotly for the sake of one file
        script = resources.files("plotly").joinpath("package_data/plotly.min.js")
    except ModuleNotFoundError:
        raise InputError(
            "the page needs the package plotly: pip install plotly, or page=false for the table "
            "alone"
        ) from None
    return script.read_text(encoding="utf-8").replace("</script", "<\\/script")


def _part(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
