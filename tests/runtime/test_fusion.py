"""Fusing: the same network in fewer operators, and the original untouched."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from secateur.detectors.eresfd import EResFD
from secateur.detectors.extd import EXTD
from secateur.runtime.fusion import FusedConvolution, fuse


def with_drawn_statistics(network: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            if module.running_mean is not None and module.running_var is not None:
                module.running_mean.normal_(0, 0.5, generator=generator)
                module.running_var.uniform_(0.5, 2.0, generator=generator)
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            nn.init.normal_(module.bias, 0, 0.5, generator=generator)
        elif isinstance(module, nn.PReLU):
            nn.init.uniform_(module.weight, -0.2, 0.4, generator=generator)
    return network.eval()


def images(batch: int, *size: int) -> Tensor:
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("width", [0, 32, 48, 64])
def test_detectors_compute_the_same(width: int, batch: int) -> None:
    torch.manual_seed(0)
    network = with_drawn_statistics(EXTD(width) if width else EResFD())  # type: ignore[arg-type]
    before = copy.deepcopy(network.state_dict())
    fused = fuse(network)
    fused.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    inputs = images(batch, 101, 83).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        for ours, theirs in zip(fused(inputs), network(inputs), strict=True):
            scale = max(float(theirs.abs().max()), 1.0)
            torch.testing.assert_close(ours, theirs, atol=2e-5 * scale, rtol=0)
    assert fused is not network
    assert torch.equal(fused.anchors(64, 64), network.anchors(64, 64))  # type: ignore[operator]
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    kinds = {type(module) for module in fused.modules()}
    assert FusedConvolution in kinds
    assert not kinds & {nn.Conv2d, nn.BatchNorm2d, nn.PReLU}


def test_what_cannot_be_fused_stays_as_it_is() -> None:
    def double(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return 2 * output

    hooked = nn.Conv2d(4, 4, 1)
    hooked.register_forward_hook(double)
    network = with_drawn_statistics(
        nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"),
            nn.BatchNorm2d(4),
            nn.Conv2d(4, 4, 3, padding="same"),
            nn.Conv2d(4, 4, 1),
            nn.BatchNorm2d(4, track_running_stats=False),
            hooked,
            nn.PReLU(4),
            nn.Conv2d(4, 4, 1),
            nn.PReLU(4),
            nn.ConvTranspose2d(4, 2, 2),
            nn.Sigmoid(),
        )
    )
    fused = fuse(network)
    assert [type(layer) for layer in fused] == [  # type: ignore[attr-defined]
        FusedConvolution if position in (3, 7) else type(layer)
        for position, layer in enumerate(network)  # type: ignore[arg-type]
    ]
    with torch.inference_mode():
        torch.testing.assert_close(fused(images(2, 9, 7)), network(images(2, 9, 7)))


def test_batch_norm_before_an_activation_that_stays() -> None:
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Sigmoid(), nn.ReLU())
    network = with_drawn_statistics(layers)
    fused = fuse(network)
    kinds = [type(layer) for layer in fused]  # type: ignore[attr-defined]
    assert kinds == [FusedConvolution, nn.Identity, nn.Sigmoid, nn.ReLU]
    with torch.inference_mode():
        torch.testing.assert_close(fused(images(1, 9, 7)), network(images(1, 9, 7)))


def test_without_onednn_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    network = EResFD()
    assert fuse(network) is network
