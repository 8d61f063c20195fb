"""Networks of torchvision that nothing here was written for: they slim exactly, or say why not."""

from __future__ import annotations

import pytest

from benchmarks.other_networks import SCOPES, SIZES, SSDLITE, measure

QUICK = {("shufflenet_v2_x0_5", "coupled"), ("mnasnet0_5", "coupled")}
# which boxes an SSD returns depends on their scores, so its forward has no graph
REFUSED = {(SSDLITE, scope): "SSD cannot be traced with the example inputs" for scope in SCOPES}
CELLS = [(name, scope) for name in SIZES for scope in SCOPES]


@pytest.mark.parametrize(
    ("name", "scope"),
    [cell if cell in QUICK else pytest.param(*cell, marks=pytest.mark.slow) for cell in CELLS],
)
def test_slims_exactly_or_says_why_not(name: str, scope: str) -> None:
    row = measure(name, scope)
    if reason := REFUSED.get((name, scope)):
        assert reason in row["refused"]
        assert len(row["refused"]) < 400
        return
    assert row["max_abs_diff"] <= 1e-4
    # Its layer norms hold every channel of a convolution; its hidden linear layers are coupled.
    assert row["params"] < 1 or (name, scope) == ("convnext_tiny", "independent")
    assert row["macs"] <= 1
