"""Conditions on records: what they mean, and what is refused."""

from __future__ import annotations

import pytest

from secateur.errors import InputError
from secateur.reports.comparison.expression import parse_condition

RUN = {"params_slim": 59_000, "criterion": "fpgm", "rate": 0.3, "run": "sweep/3"}
NAMES = [*RUN, "eer"]


@pytest.mark.parametrize(
    "text",
    [
        "params_slim<60k",
        "params_slim < 0.06M and criterion=fpgm",
        "criterion = 'fpgm'",
        "criterion=FPGM",
        "criterion!=l1",
        "rate<=30%",
        "rate=0.3",
        "run~sweep",
        "not (rate>0.5 or criterion=l1)",
        "criterion=l1 or rate=0.3 and params_slim>=59000",
    ],
)
def test_conditions_that_the_run_meets(text: str) -> None:
    assert parse_condition(text, NAMES)(RUN)


@pytest.mark.parametrize(
    "text",
    [
        "params_slim>60k",
        "criterion=l1",
        "eer<1",
        "eer!=1",
        "criterion<3",
        "rate='0.4'",
        "not rate<1",
    ],
)
def test_conditions_that_the_run_does_not_meet(text: str) -> None:
    assert not parse_condition(text, NAMES)(RUN)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("param_slim<60k", "did you mean params_slim"),
        ("rate", "ends where an operator should follow"),
        ("rate<", "ends where a value should follow"),
        ("(rate<1", "parenthesis"),
        ("rate<1 rate>0", "does not go on with"),
        ("__import__('os')=1", "needs one of"),
        ("rate<'", "unknown sign"),
    ],
)
def test_what_is_not_understood_is_said(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_condition(text, NAMES)
