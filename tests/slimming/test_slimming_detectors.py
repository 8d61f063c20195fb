"""Published networks, pruned and not, become smaller and compute the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from secateur.detectors.eresfd import EResFD
from secateur.detectors.extd import EXTD
from secateur.pruning.artifact import load_slim, save_slim
from secateur.pruning.masks import apply_masks
from secateur.slimming.graph.network_graph import batchnorm_after, trace
from secateur.slimming.slim import SlimResult, slim
from secateur.weights.detector_weights import identify, load_weights, read_weights

IMAGES = torch.randn(1, 3, 128, 96, generator=torch.Generator().manual_seed(0)) * 60


def slim_published(path: Path) -> SlimResult:
    state = read_weights(path)
    identity = identify(state)
    assert identity is not None
    build = EResFD if identity.model == "eresfd" else EXTD
    network = build(**identity.arguments).eval()
    load_weights(network, state, path.name)
    result = slim(network, IMAGES)
    with torch.no_grad():
        for slimmed, masked in zip(result.model(IMAGES), network(IMAGES), strict=True):
            torch.testing.assert_close(slimmed, masked, rtol=0, atol=1e-4)
    return result


@pytest.mark.parametrize("mask_batchnorm", [True, False])
@pytest.mark.parametrize("build", [EResFD, EXTD])
def test_masked_detectors_become_smaller(
    build: type[EResFD] | type[EXTD], mask_batchnorm: bool, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network = build().eval()
    norms = batchnorm_after(trace(network, IMAGES)) if mask_batchnorm else {}
    keep = {
        name: torch.rand(layer.out_channels) > 0.3
        for name, layer in network.named_modules()
        if isinstance(layer, torch.nn.Conv2d) and not name.startswith(("loc", "conf"))
    }
    apply_masks(network, keep, norms)
    result = slim(network, IMAGES)
    assert result.report.parameters_after < 0.8 * result.report.parameters_before
    assert result.report.max_abs_diff < 1e-4
    save_slim(tmp_path, result.model, {"name": "detector", "arguments": {}})
    loaded = load_slim(tmp_path, {"detector": build})
    with torch.no_grad():
        for a, b in zip(loaded(IMAGES), result.model(IMAGES), strict=True):
            assert torch.equal(a, b)
    # Training goes on from a slim network.
    slimmed = result.model.train()
    sum(output.square().mean() for output in slimmed(IMAGES.repeat(2, 1, 1, 1))).backward()


def test_layers_that_reach_no_output_go(reference: Path) -> None:
    result = slim_published(reference / "weights" / "bfpgm_eresfd_original.safetensors")
    assert result.report.dropped == ("base.m0.b2_5",)
    assert result.report.parameters_after < 0.85 * result.report.parameters_before


def test_published_sparsity_becomes_size(reference: Path) -> None:
    """A nominal 60 % of EResFD are gone but for what residual sums and borders hold."""
    result = slim_published(reference / "weights" / "bfpgm_eresfd_60_pruned.safetensors")
    assert result.report.parameters_after <= 39_000


@pytest.mark.slow
def test_every_published_network(reference: Path) -> None:
    files = sorted((reference / "weights").glob("*.safetensors"))
    assert len(files) == 35
    for path in files:
        slim_published(path)
