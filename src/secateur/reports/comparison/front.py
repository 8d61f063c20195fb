"""Networks that no other one beats in size and quality at once, and points to compare with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from secateur.errors import InputError
from secateur.readers import number_in, read_csv_records, read_yaml
from secateur.schema import is_number


def pareto_front(
    sizes: Sequence[float], qualities: Sequence[float], *, larger_is_better: bool = True
) -> list[int]:
    """Find the points that no point of the same or a smaller size equals or beats.

    Args:
        sizes: (N,) smaller is better.
        qualities: (N,) of the same points.
        larger_is_better: Whether a larger quality is better; False for an error rate.

    Returns:
        Indices of the best points by rising size.

    Example:
        >>> pareto_front([1, 2, 3], [0.5, 0.4, 0.9])
        [0, 2]
    """
    sign = 1.0 if larger_is_better else -1.0
    best: list[int] = []
    for i in sorted(range(len(sizes)), key=lambda i: (sizes[i], -sign * qualities[i])):
        if not best or sign * qualities[i] > sign * qualities[best[-1]]:
            best.append(i)
    return best


def read_references(path: Path) -> list[dict[str, str | float]]:
    """Read points that runs are compared with, such as published figures.

    Args:
        path: A CSV file with a head line, or a YAML or JSON list of mappings. Each point has a
            ``name`` and figures under the keys of ``summary.json``.

    Returns:
        Name and figures of each point.

    Raises:
        InputError: If the file is missing or holds something else.
    """
    if not path.is_file():
        raise InputError(f"references={path} does not exist; give a CSV or YAML file of points")
    remedy = "give a CSV or YAML file of points"
    rows: object
    if path.suffix.lower() == ".csv":
        rows = read_csv_records(path, remedy)
    else:
        rows = read_yaml(path, remedy)
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise InputError(f"references={path} must be a list of points, each with name: and figures")
    points = []
    for row in rows:
        if not row.get("name"):
            raise InputError(f"references={path} has a point without a name: {dict(row)}")
        point: dict[str, str | float] = {"name": str(row["name"])}
        for key, value in row.items():
            if key == "name" or value in (None, ""):
                continue
            number = number_in(value) if isinstance(value, str) else None
            if is_number(value):
                number = float(value)
            # NaN and infinity are no figures that a page can show
            point[str(key)] = str(value) if number is None else number
        points.append(point)
    return points
