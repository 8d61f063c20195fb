"""Configurations that earlier versions saved, in the words of today."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from secateur.errors import InputError
from secateur.pruning.targets import Target
from secateur.workflows.config.addresses import first_address, with_addresses
from secateur.workflows.config.pruning_config import read_rates_file


def is_older(saved: object) -> bool:
    """Whether a saved configuration holds ``_target_``s, as those of today no longer do."""
    if isinstance(saved, Mapping):
        return "_target_" in saved or any(is_older(value) for value in saved.values())
    return False


def in_words_of_today(saved: Mapping[str, Any]) -> dict[str, Any]:
    """What a saved configuration says, under the names that settings have today.

    A search's ``target`` was the share that is removed of its ``quantity``, and is the value that
    the quantity has in the end. Rates that came from a file are written out.

    Args:
        saved: Plain values of a ``config.yaml``.

    Example:
        >>> in_words_of_today({"quantity": "macs", "target": 0.4})
        {'target': {'macs': 0.6}}
    """
    values: dict[str, Any] = dict(with_addresses(dict(saved), first_address))
    if isinstance(values.get("target"), float):
        quantity = str(values.pop("quantity", None) or "sparsity")
        values["target"] = {quantity: _mirrored(quantity, values["target"])}
    space = values.get("space")
    if isinstance(space, Mapping) and "lowest_target" in space:
        values["space"] = {
            "lowest_removed" if key == "lowest_target" else key: value
            for key, value in space.items()
        }
    if isinstance(values.get("rates"), str):
        with contextlib.suppress(InputError):  # if the file is gone, nothing can be the same
            values["rates"] = read_rates_file(Path(values["rates"]))[1]
    return values


def removed_of(target: Target) -> dict[str, Any]:
    """A target as searches wrote it down first: a quantity, and the share of it that is removed.

    Studies are told apart by what they were written down with.

    Example:
        >>> removed_of(Target("macs", 0.6))
        {'quantity': 'macs', 'target': 0.4}
    """
    share = _mirrored(target.quantity, target.value) if target.amount is None else str(target)
    return {"quantity": target.quantity, "target": share}


def _mirrored(quantity: str, share: float) -> float:
    return share if quantity == "sparsity" else round(1 - share, 12)
