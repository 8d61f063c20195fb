"""Overrides in Hydra's syntax for sweeps as distributions of Optuna."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep, Transformer
from hydra.errors import OverrideParseException
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import Trial

from hydra_plugins.secateur_sweeper._override_text import encode
from secateur.errors import InputError


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """The values that vary between trials, and those that do not.

    Attributes:
        distributions: Key of an override to its distribution.
        fixed: Key to the text of an override that all trials share.
    """

    distributions: dict[str, BaseDistribution]
    fixed: dict[str, str]


def read_space(
    parser: OverridesParser, params: Mapping[str, Any], arguments: Sequence[str]
) -> SearchSpace:
    """Read ``hydra.sweeper.params`` and the command line, which wins.

    Args:
        parser: Parser that knows the configuration groups, for ``glob``.
        params: Key to a value or to text such as ``interval(0,1)``.
        arguments: Overrides of the command line.

    Raises:
        InputError: If something does not parse or leaves nothing to choose from.
    """
    lines = [
        f"{key}={value if isinstance(value, str) else encode(value)}"
        for key, value in params.items()
    ]
    try:
        overrides = parser.parse_overrides([*lines, *arguments])
    except OverrideParseException as error:
        raise InputError(f"hydra.sweeper.params or the command line: {error}") from error
    distributions: dict[str, BaseDistribution] = {}
    fixed: dict[str, str] = {}
    for override in overrides:
        key = override.get_key_element()
        distributions.pop(key, None)
        fixed.pop(key, None)
        if override.is_sweep_override():
            distributions[key] = distribution(override)
        else:
            assert override.input_line is not None
            fixed[key] = override.input_line
    return SearchSpace(distributions, fixed)


def distribution(override: Override) -> BaseDistribution:
    """The distribution of one override.

    ``range`` leaves its stop out, as Python and Hydra's own sweeper do; ``interval`` is closed.

    Raises:
        InputError: If it leaves nothing to choose from.
    """
    value = override.value()
    try:
        if isinstance(value, RangeSweep):
            return _range(value)
        if isinstance(value, IntervalSweep):
            return _interval(value)
        choices = [
            choice if isinstance(choice, str) else encode(choice)
            for choice in override.sweep_iterator(Transformer.encode)
        ]
    except ValueError as error:
        raise InputError(f"{override.input_line}: {error}") from error
    if not choices:
        raise InputError(f"{override.input_line} matches nothing")
    return CategoricalDistribution(choices)


def suggest(trial: Trial, key: str, wanted: BaseDistribution) -> None:
    """Suggest a value for a trial; one that has a value already keeps it."""
    if isinstance(wanted, CategoricalDistribution):
        trial.suggest_categorical(key, wanted.choices)
    elif isinstance(wanted, IntDistribution):
        trial.suggest_int(key, wanted.low, wanted.high, step=wanted.step, log=wanted.log)
    elif isinstance(wanted, FloatDistribution):
        trial.suggest_float(key, wanted.low, wanted.high, step=wanted.step, log=wanted.log)


def override_line(key: str, value: object, listed: BaseDistribution | None) -> str:
    """The override that sets a suggested value.

    Args:
        key: Key of the override.
        value: The value.
        listed: Its distribution if it is one of :func:`read_space`, else None.
    """
    if isinstance(listed, CategoricalDistribution):
        return f"{key}={value}"  # such choices are text in Hydra's grammar already
    if isinstance(listed, FloatDistribution) and listed.step is not None:
        assert isinstance(value, float)
        value = float(f"{value:.12g}")  # 0.3, not 0.30000000000000004
    return f"{key}={encode(value)}"


def _range(value: RangeSweep) -> BaseDistribution:
    start = value.start if value.start is not None else 0
    stop, step = value.stop, value.step
    assert stop is not None
    count = math.ceil((stop - start) / step - 1e-9) if step else 0
    if count < 1 or step < 0:
        raise ValueError("a range needs start < stop and a step above zero")
    log = "log" in value.tags
    if all(isinstance(number, int) for number in (start, stop, step)):
        return IntDistribution(int(start), int(start + (count - 1) * step), log, int(step))
    last = float(f"{start + (count - 1) * step:.12g}")
    return FloatDistribution(float(start), last, log, float(step))


def _interval(value: IntervalSweep) -> BaseDistribution:
    start, end = value.start, value.end
    assert start is not None
    assert end is not None
    log = "log" in value.tags
    if isinstance(start, int) and isinstance(end, int):  # written int(interval(1,4))
        return IntDistribution(start, end, log)
    return FloatDistribution(float(start), float(end), log)
