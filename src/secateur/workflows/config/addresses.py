"""Addresses: import paths that ``_target_`` keys of saved files hold, old and new."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

# They were packages of their own, and a project beside ours may have packages of these names.
_ONCE_TOP_LEVEL = ("callbacks", "datamodules")
_HERE = "secateur."


def current_address(address: str) -> str:
    """The address under which something is found today.

    Args:
        address: A ``_target_``, such as ``callbacks.sample_pictures.SamplePictures``.

    Returns:
        The same with ``secateur.`` in front where the module is one of ours; another project's
        ``callbacks`` stays what it is.

    Example:
        >>> current_address("callbacks.sample_pictures.SamplePictures")
        'secateur.callbacks.sample_pictures.SamplePictures'
        >>> current_address("callbacks.mine.Mine")
        'callbacks.mine.Mine'
    """
    package, _, rest = address.partition(".")
    module = rest.partition(".")[0]
    if package in _ONCE_TOP_LEVEL and module and find_spec(f"{_HERE}{package}.{module}"):
        return _HERE + address
    return address


def first_address(address: str) -> str:
    """The address under which something was found first, which the marks of runs are made of."""
    package = address.removeprefix(_HERE).partition(".")[0]
    return address.removeprefix(_HERE) if package in _ONCE_TOP_LEVEL else address


def with_addresses(values: Any, convert: Any) -> Any:
    """Plain configuration values with every ``_target_`` converted.

    Args:
        values: Nested dictionaries and lists.
        convert: `current_address` or `first_address`.
    """
    if isinstance(values, dict):
        return {
            key: convert(value)
            if key == "_target_" and isinstance(value, str)
            else with_addresses(value, convert)
            for key, value in values.items()
        }
    if isinstance(values, list):
        return [with_addresses(value, convert) for value in values]
    return values
