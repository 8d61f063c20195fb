"""Hydra's sweep syntax as distributions of Optuna, and values as overrides."""

from __future__ import annotations

from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from hydra_plugins.secateur_sweeper._override_text import encode
from hydra_plugins.secateur_sweeper._search_space import override_line, read_space


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("interval(0,0.5)", FloatDistribution(0.0, 0.5)),
        ("int(interval(1,4))", IntDistribution(1, 4)),
        ("tag(log,interval(1e-4,0.1))", FloatDistribution(1e-4, 0.1, log=True)),
        ("range(1,10,3)", IntDistribution(1, 7, step=3)),
        ("range(4)", IntDistribution(0, 3)),
        ("range(0.1,0.5,0.1)", FloatDistribution(0.1, 0.4, step=0.1)),
        ("range(0,1,0.3)", FloatDistribution(0.0, 0.9, step=0.3)),
        ("choice(fpgm,l1)", CategoricalDistribution(["fpgm", "l1"])),
        ("a,1,null", CategoricalDistribution(["a", "1", "null"])),
        ("choice([1,2],{a:3})", CategoricalDistribution(["[1,2]", "{a:3}"])),
    ],
)
def test_distributions(text: str, expected: Any) -> None:
    space = read_space(OverridesParser.create(), {}, [f"x={text}"])
    assert space.distributions == {"x": expected}
    assert space.fixed == {}


def test_command_line_wins_over_yaml() -> None:
    params = {"a": "interval(0,1)", "b": 3, "c": ["x", 1.5], "d": "1,2"}
    space = read_space(OverridesParser.create(), params, ["a=0.5", "b=range(2)", "~e", "+f=1"])
    assert space.distributions == {
        "d": CategoricalDistribution(["1", "2"]),
        "b": IntDistribution(0, 1),
    }
    assert space.fixed == {"c": "c=['x',1.5]", "a": "a=0.5", "~e": "~e", "+f": "+f=1"}


def test_steps_are_written_without_noise() -> None:
    stepped = FloatDistribution(0.1, 0.4, step=0.1)
    assert override_line("rate", 0.1 + 0.2, stepped) == "rate=0.3"


plain_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b_c"]), inner, max_size=2)
    ),
    max_leaves=6,
)


@given(plain_values)
def test_values_survive_the_grammar(value: Any) -> None:
    [override] = OverridesParser.create().parse_overrides([f"x={encode(value)}"])
    assert plain(override.value()) == value


def plain(value: Any) -> Any:
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return getattr(value, "text", value)
