"""summary.json: one flat record per run, what tables, sweeps and other programs read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from secateur.errors import InputError
from secateur.files import to_plain, write_json
from secateur.metrics.names import DENSE, DETECTION, FINAL, PRUNED, RECOGNITION, RECONSTRUCTED
from secateur.readers import read_json
from secateur.schema import expect, mapping_in

Value = str | int | float | bool | dict[str, float]
"""A value of the record; only ``rates``, group to rate, has parts."""

Summary = dict[str, Value]

NOT_EQUAL = (
    "slim and masked network are not equal by nature: norms lost channels (pruning.equal=false), "
    "and the difference is from the masked network normalised over the channels that stay"
)
"""What a run says where it made its network smaller than can be proved equal."""

KEYS: tuple[str, ...] = (
    *("task", "model", "criterion", "scope", "schedule", "rate", "rates", "seed", "data"),
    *("input_size", "params_dense", "params_nonzero", "params_slim", "sparsity"),
    *("macs_dense", "macs_slim", "slim_max_abs_diff", "latency_ms_dense", "latency_ms_slim"),
    *("slim_equal", "slim_renormalized"),  # only where norms lost channels (equal=false)
    "machine",
    *("wall_seconds", "peak_memory_mb", "protocol"),
    *("slim_from", "slim_epoch"),
    *(
        f"{figure.name}{stage.suffix}"
        for figures in (DETECTION, RECOGNITION)
        for stage in (FINAL, DENSE, PRUNED, RECONSTRUCTED)
        for figure in figures
    ),
)
"""The keys in the order they are written; a key that was not measured is absent.

Without a suffix, a figure of quality is that of the slim network; ``_start`` is before pruning,
``_masked`` right after the final mask was set, ``_reconstructed`` after the layers were refitted.
"""


def write_summary(path: Path, record: Mapping[str, object]) -> Path:
    """Write the record of a run.

    Args:
        path: The file.
        record: Values by key. What is None or NaN was not measured and is left out; keys beyond
            `KEYS` follow in alphabetical order.

    Returns:
        The file written.

    Raises:
        TypeError: A value other than ``rates`` is neither a number nor text.
    """
    position = {key: i for i, key in enumerate(KEYS)}
    flat = {}
    for key in sorted(record, key=lambda key: (position.get(key, len(KEYS)), key)):
        value = record[key]
        if not isinstance(value, str | int | float | dict | None):
            value = to_plain(value)
        if value is None or (isinstance(value, float) and math.isnan(value)):
            continue
        if not isinstance(value, str | int | float) and key != "rates":
            raise TypeError(f"{key} must be a number or text, got {type(value).__name__}")
        flat[key] = value
    return write_json(path, flat)


def read_summary(path: Path) -> Summary:
    """Read the record of a run.

    Args:
        path: The file.

    Returns:
        Values by key.

    Raises:
        InputError: There is no such file, or it is no record.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist: the run has not finished.")
    remedy = "delete it and give the command of the run again, which writes it anew"
    record = mapping_in(read_json(path, remedy), path, remedy, "the record of a run")
    for key, value in record.items():
        nested = value.values() if isinstance(value, Mapping) else [value]
        fits = all(isinstance(one, str | int | float) or one is None for one in nested)
        expect(fits, path, key, "a number or text", value, remedy)
    summary: Summary = record
    return summary
