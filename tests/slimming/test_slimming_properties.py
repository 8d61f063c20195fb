from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import nn

from secateur.pruning.coupled_sets import find_coupled_sets
from secateur.slimming.slim import slim
from tests.slimming.random_networks import KINDS, RandomNetwork, mask_at_random

IMAGES = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(3))
NETWORKS = st.builds(
    RandomNetwork,
    st.lists(st.sampled_from(KINDS), min_size=1, max_size=5),
    st.integers(0, 2**16),
    st.booleans(),
)
PLAIN_NETWORKS = st.builds(
    RandomNetwork,
    st.lists(st.sampled_from(KINDS), min_size=1, max_size=5),
    st.integers(0, 2**16),
    zero_stays_zero=st.just(True),
)
# Shrinking would take minutes; the kinds in the failing example are few enough to read.
COMMON = {
    "deadline": None,
    "derandomize": True,
    "suppress_health_check": list(HealthCheck),
    "phases": (Phase.explicit, Phase.generate),
}


def check_slimming(model: nn.Module, seed: int, share: float) -> None:
    torch.manual_seed(seed)
    mask_at_random(model, seed, share)
    result = slim(model, IMAGES)
    with torch.no_grad():
        for slimmed, masked in zip(result.model(IMAGES), model(IMAGES), strict=True):
            scale = float(masked.abs().max())
            torch.testing.assert_close(slimmed, masked, rtol=0, atol=1e-5 * scale + 1e-7)
    again = slim(result.model, IMAGES)
    assert again.report.parameters_after == result.report.parameters_after
    assert again.report.folded == {}
    for name, tensor in result.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], tensor), name


def check_coupled(model: nn.Module, seed: int) -> None:
    """Whole sets go: what is masked by sets leaves no zero filter behind."""
    torch.manual_seed(seed)
    sets = find_coupled_sets(model.eval(), IMAGES)
    generator = torch.Generator().manual_seed(seed)
    chosen = [n for n in range(len(sets.sets)) if torch.rand(1, generator=generator) < 0.4]
    going = sets.removable_of(chosen)
    with torch.no_grad():
        for number in going:
            for members in (sets.sets[number].filters, sets.sets[number].norms):
                for name, index in members:
                    layer = model.get_submodule(name)
                    dim = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
                    layer.weight.transpose(0, dim)[index] = 0
                    if layer.bias is not None:
                        layer.bias[index] = 0
    result = slim(model, IMAGES)
    assert result.report.refused == {}


@settings(max_examples=12, **COMMON)
@given(NETWORKS, st.integers(0, 2**16), st.sampled_from([0.2, 0.5, 0.8]))
def test_slim_equals_masked(model: nn.Module, seed: int, share: float) -> None:
    check_slimming(model, seed, share)


@settings(max_examples=6, **COMMON)
@given(PLAIN_NETWORKS, st.integers(0, 2**16))
def test_coupled_sets_leave_no_zero_filter(model: nn.Module, seed: int) -> None:
    check_coupled(model, seed)


@pytest.mark.slow
@settings(max_examples=400, **COMMON)
@given(NETWORKS, st.integers(0, 2**16), st.sampled_from([0.1, 0.2, 0.5, 0.8, 1.0]))
def test_slim_equals_masked_at_length(model: nn.Module, seed: int, share: float) -> None:
    check_slimming(model, seed, share)


@pytest.mark.slow
@settings(max_examples=200, **COMMON)
@given(PLAIN_NETWORKS, st.integers(0, 2**16))
def test_coupled_sets_leave_no_zero_filter_at_length(model: nn.Module, seed: int) -> None:
    check_coupled(model, seed)


def test_shape_keeping_channels_of_a_shared_layer_compute_what_they_did() -> None:
    """A layer called twice sees two constants per channel; no bias can stand for both."""
    torch.manual_seed(0)
    kinds = ["concatenation", "squeeze_excite", "shared", "split", "concatenation"]
    model = RandomNetwork(kinds, 1712, linear_head=True)
    mask_at_random(model, 1712, 0.8)
    reasons = {reason for told in slim(model, IMAGES).report.refused.values() for reason in told}
    assert not any("size that is written down" in reason for reason in reasons)


def test_groups_that_have_one_channel_left_lose_what_depthwise_layers_lose() -> None:
    check_slimming(RandomNetwork(["grouped", "grouped", "split"], 18118), 18118, 0.8)
