from __future__ import annotations

import copy
import io
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from secateur.errors import InputError
from secateur.filters import filters_of
from secateur.pruning.criteria import score_layers
from secateur.pruning.layers import prunable_layers
from secateur.pruning.masks import MaskHolder, apply_masks, masks_from_zeros
from secateur.pruning.ranking import plan_masks

BATCHNORMS = {"0": "1", "3": "4"}


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, groups=2, bias=False),
        nn.BatchNorm2d(8),
        nn.ConvTranspose2d(8, 6, 2, groups=2),
        nn.Conv2d(6, 2, 1),
    )


def planned(model: nn.Module, rate: float = 0.5) -> dict[str, Tensor]:
    layers = prunable_layers(model)
    return plan_masks(score_layers(layers, "fpgm"), dict.fromkeys(layers, rate))


def assert_masked(model: nn.Module, keep: dict[str, Tensor], batchnorms: dict[str, str]) -> None:
    modules = dict(model.named_modules())
    for name, mask in keep.items():
        layer = modules[name]
        assert (filters_of(layer)[~mask] == 0).all(), name
        affected = [layer.bias]
        if name in batchnorms:
            affected += [modules[batchnorms[name]].weight, modules[batchnorms[name]].bias]
        for parameter in affected:
            if isinstance(parameter, Tensor):
                assert (parameter[~mask] == 0).all(), name


def test_only_what_is_pruned_changes() -> None:
    model = network()
    before = copy.deepcopy(model.state_dict())
    parameters = [(id(p), p.data_ptr()) for p in model.parameters()]
    keep = planned(model)
    apply_masks(model, keep, BATCHNORMS)
    assert [(id(p), p.data_ptr()) for p in model.parameters()] == parameters
    assert_masked(model, keep, BATCHNORMS)
    after = model.state_dict()
    for name, mask in keep.items():
        kept = filters_of(model.get_submodule(name))[mask]
        was = filters_of(model.get_submodule(name), before[f"{name}.weight"])[mask]
        assert torch.equal(kept, was)
    for name in ("1.running_mean", "1.running_var", "4.running_mean", "1.num_batches_tracked"):
        assert torch.equal(after[name], before[name])


def test_masked_filters_write_exactly_zero_whatever_the_running_statistics() -> None:
    model = network()
    for _ in range(3):
        model(torch.randn(2, 3, 8, 8))
    model[1].running_mean.add_(3)
    keep = planned(model)
    apply_masks(model, keep, BATCHNORMS)
    images = torch.randn(2, 3, 8, 8)
    for training in (False, True):
        model.train(training)
        assert (model[:2](images)[:, ~keep["0"]] == 0).all()
        assert (model[:5](images)[:, ~keep["3"]] == 0).all()
        assert (model[:6](images)[:, ~keep["5"]] == 0).all()


def test_batchnorms_stay_without_a_mapping() -> None:
    model = network()
    before = model[1].weight.detach().clone()
    apply_masks(model, planned(model))
    assert torch.equal(model[1].weight, before)


def test_batchnorm_behind_two_layers_loses_only_what_both_lose() -> None:
    model = nn.ModuleDict(
        {"a": nn.Conv2d(1, 3, 1), "b": nn.Conv2d(1, 3, 1), "n": nn.BatchNorm2d(3)}
    )
    keep = {"a": torch.tensor([True, False, False]), "b": torch.tensor([False, False, True])}
    apply_masks(model, keep, {"a": "n", "b": "n"})
    assert model["n"].weight.tolist() == [1.0, 0.0, 1.0]
    apply_masks(model, {"a": torch.zeros(3, dtype=torch.bool)}, {"a": "n", "b": "n"})
    assert model["n"].weight.tolist() == [1.0, 0.0, 1.0]


def test_masks_of_another_network() -> None:
    with pytest.raises(ValueError, match="another network: it has no layer conv9"):
        apply_masks(network(), {"conv9": torch.ones(3, dtype=torch.bool)})
    with pytest.raises(ValueError, match=r"mask of 0 has shape \(3,\), not \(8,\)"):
        apply_masks(network(), {"0": torch.ones(3, dtype=torch.bool)})


def test_masks_survive_a_checkpoint_that_executes_nothing() -> None:
    keep = planned(network())
    file = io.BytesIO()
    torch.save({"keep": keep}, file)
    file.seek(0)
    back = torch.load(file, weights_only=True)["keep"]
    assert list(back) == list(keep)
    assert all(torch.equal(back[name], keep[name]) for name in keep)


def test_masks_can_be_read_off_a_masked_network() -> None:
    model = network()
    keep = planned(model)
    apply_masks(model, keep)
    found = masks_from_zeros(prunable_layers(model))
    assert all(torch.equal(found[name], keep[name]) for name in keep)


OPTIMIZERS: dict[str, Callable[[nn.Module], Optimizer]] = {
    "adam": lambda m: Adam(m.parameters(), lr=1e-2, weight_decay=5e-2),
    "adamw": lambda m: AdamW(m.parameters(), lr=1e-2, weight_decay=5e-2),
    "sgd": lambda m: SGD(m.parameters(), lr=1e-2, momentum=0.9, weight_decay=5e-2, nesterov=True),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_zeros_hold_through_200_steps(optimizer: str, precision: str) -> None:
    model = network()
    steps = OPTIMIZERS[optimizer](model)
    images, target = torch.randn(4, 3, 6, 6), torch.randn(4, 2, 12, 12)
    half = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16")

    def train(n_batches: int, holder: MaskHolder | None) -> None:
        for batch in range(n_batches):
            with half:
                # Batches of two with gradients accumulated over two.
                part = slice(0, 2) if batch % 2 == 0 else slice(2, 4)
                output = _resize(model(images[part]), target[part])
                nn.functional.mse_loss(output, target[part]).backward()
            if batch % 2 == 1:
                steps.step()
                steps.zero_grad()
                if holder is not None:
                    holder.apply()

    train(20, None)  # the optimiser remembers something of every weight
    keep = planned(model)
    apply_masks(model, keep, BATCHNORMS)
    moved = model[0].weight.detach().clone()
    holder = MaskHolder(model, keep, BATCHNORMS)
    for _ in range(10):
        train(40, holder)
        assert_masked(model, keep, BATCHNORMS)
    assert not torch.equal(model[0].weight, moved)
    train(2, None)  # without the holder they come back
    with pytest.raises(AssertionError):
        assert_masked(model, keep, BATCHNORMS)


def _resize(output: Tensor, target: Tensor) -> Tensor:
    return nn.functional.interpolate(output.float(), size=target.shape[2:])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_what_the_optimizer_remembers_of_pruned_filters_reaches_no_other(optimizer: str) -> None:
    images, target = torch.randn(4, 3, 6, 6), torch.randn(4, 2, 6, 6)
    results = []
    for forget in (False, True):
        model = network()
        steps = OPTIMIZERS[optimizer](model)
        keep = planned(model)
        holder = MaskHolder(model, keep, BATCHNORMS)
        for step in range(60):
            if step >= 20:
                holder.apply()
            if step == 20 and forget:
                for parameter, mask in zip(holder._parameters, holder._masks, strict=True):
                    for value in steps.state[parameter].values():
                        if isinstance(value, Tensor) and value.shape == parameter.shape:
                            value.mul_(mask)
            steps.zero_grad()
            nn.functional.mse_loss(_resize(model(images), target), target).backward()
            steps.step()
        holder.apply()
        results.append([p.detach().clone() for p in model.parameters()])
    for kept, forgotten in zip(*results, strict=True):
        assert torch.equal(kept, forgotten)


@given(st.integers(0, 2**31), st.floats(0, 0.99), st.sampled_from([1, 2, 4]))
@settings(max_examples=30, deadline=None)
def test_masks_of_transposed_convolutions(seed: int, rate: float, groups: int) -> None:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.ConvTranspose2d(4, 8, 3, groups=groups))
    keep = planned(model, rate)
    apply_masks(model, keep)
    written = model(torch.randn(1, 4, 5, 5)).abs().amax(dim=(0, 2, 3)) > 0
    assert torch.equal(written, keep["0"])


@pytest.mark.parametrize(
    "norm", [torch.nn.utils.parametrizations.weight_norm, torch.nn.utils.weight_norm]
)
def test_a_weight_that_is_computed_is_refused(norm: Callable[[nn.Module], nn.Module]) -> None:
    model = network()
    norm(model[0])
    with pytest.raises(InputError, match=r"the weight of 0 is computed in every forward"):
        apply_masks(model, {"0": torch.ones(8, dtype=torch.bool)})
