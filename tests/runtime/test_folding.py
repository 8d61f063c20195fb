"""Tests of training through folded batch norms."""

from __future__ import annotations

import copy

import torch
from torch import nn

from secateur.detectors.eresfd import EResFD
from secateur.detectors.extd import EXTD
from secateur.evaluation_mode import freeze_batchnorms
from secateur.runtime.folding import FoldedBatchNorms


def frozen(network: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.randn_like(module.running_mean) * 0.1
            module.running_var = torch.rand_like(module.running_var) + 0.5
    network.train()
    freeze_batchnorms(network)
    return network.double()


def test_outputs_and_gradients_are_those_of_the_network() -> None:
    network = frozen(EResFD())
    other = copy.deepcopy(network)
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    norms = FoldedBatchNorms(other)
    assert len(norms.pairs) > 60
    with norms.folded():
        folded = other(images)
    plain = network(images)
    for one, two in zip(plain, folded, strict=True):
        torch.testing.assert_close(one, two)
    for outputs in (plain, folded):
        torch.autograd.backward(sum(output.square().mean() for output in outputs))
    for one, two in zip(network.parameters(), other.parameters(), strict=True):
        assert (one.grad is None) == (two.grad is None)
        if one.grad is not None:
            torch.testing.assert_close(one.grad, two.grad)


def test_modules_are_afterwards_as_they_were_even_after_an_error() -> None:
    network = frozen(EResFD())
    try:
        with FoldedBatchNorms(network).folded():
            raise RuntimeError
    except RuntimeError:
        pass
    assert not any("forward" in vars(module) for module in network.modules())
    copy.deepcopy(network)


def test_blocks_that_run_several_times_give_the_same() -> None:
    network = frozen(EXTD(32))
    images = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    with FoldedBatchNorms(network).folded():
        folded = network(images)
    for one, two in zip(network(images), folded, strict=True):
        torch.testing.assert_close(one, two)


def test_batch_norms_that_learn_stay() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).train()
    mean = network[1].running_mean.clone()
    with FoldedBatchNorms(network).folded():
        network(torch.randn(4, 3, 8, 8) + 3)
    assert not torch.equal(network[1].running_mean, mean)
