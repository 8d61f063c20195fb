from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from secateur.deploy.eresfd_inference import EResFDForInference
from secateur.deploy.folding import fold, fold_batch_norms
from secateur.detectors.eresfd import EResFD
from secateur.detectors.extd import EXTD
from secateur.detectors.yunet import YuNet
from secateur.pruning import prune
from secateur.recognizers.iresnet import IResNet
from secateur.recognizers.mobilefacenet import MobileFaceNet
from secateur.recognizers.mobilenet_v2 import MobileNetV2
from secateur.recognizers.resnet50 import ResNet50
from secateur.recognizers.squeezenet import SqueezeNet
from tests.deploy.conftest import randomized


def _outputs(outputs: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)


@torch.no_grad()
def _assert_same(network: nn.Module, folded: nn.Module, side: tuple[int, int]) -> None:
    images = torch.randn(2, 3, *side, generator=torch.Generator().manual_seed(1)) * 60
    for expected, found in zip(_outputs(network(images)), _outputs(folded(images)), strict=True):
        largest = max(1.0, float(expected.abs().max()))
        assert float((expected - found).abs().max()) < 2e-5 * largest


@pytest.mark.parametrize(
    ("make", "side"),
    [
        (EResFD, (97, 131)),
        (lambda: EResFD("bfpgm"), (97, 131)),
        (lambda: EXTD(64), (65, 97)),
        (lambda: EXTD(32), (65, 97)),
        (YuNet, (64, 96)),
        (SqueezeNet, (57, 57)),
        (MobileNetV2, (57, 57)),
        pytest.param(ResNet50, (57, 57), marks=pytest.mark.slow),
    ],
)
def test_folded_network_computes_the_same_without_batch_norms(
    make: Callable[[], nn.Module], side: tuple[int, int]
) -> None:
    network = randomized(make())
    folded = fold(network)
    _assert_same(network, folded, side)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize(
    ("make", "side"), [(lambda: IResNet(18, 48), (48, 48)), (lambda: MobileFaceNet(1), (112, 112))]
)
def test_recognizers_are_folded_where_a_convolution_comes_before(
    make: Callable[[], nn.Module], side: tuple[int, int]
) -> None:
    network = randomized(make())
    folded = fold(network)
    _assert_same(network, folded, side)
    count = [sum(isinstance(m, nn.BatchNorm2d) for m in net.modules()) for net in (network, folded)]
    assert count[1] < count[0] / 2


def test_a_forward_that_cannot_be_traced_is_exported_with_its_batch_norms() -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))

        def forward(self, images: Tensor) -> Tensor:
            found: Tensor = self.layers(images)
            return found if found.shape[0] else images

    network = randomized(Branching())
    _assert_same(network, fold(network), (9, 9))


def test_slim_eresfd_is_folded_too() -> None:
    slim, _ = prune(
        randomized(EResFD()), torch.zeros(1, 3, 128, 128), criterion="l1", rate=0.5, scope="coupled"
    )
    folded = fold(slim)
    assert isinstance(folded, EResFDForInference)
    _assert_same(slim, folded, (97, 131))


def test_folded_eresfd_multiplies_no_feature_map() -> None:
    network = EResFD().eval()
    assert EResFDForInference(network).fusion.factors == [1.0] * 9


def test_batch_norm_that_follows_no_convolution_stays() -> None:
    network = nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1)).eval()
    folded = fold_batch_norms(network)
    assert sum(isinstance(module, nn.BatchNorm2d) for module in folded.modules()) == 1
    _assert_same(network, folded, (8, 8))


def test_convolution_that_is_read_twice_keeps_its_batch_norm() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

        def forward(self, images: Tensor) -> Tensor:
            features = self.conv(images)
            result: Tensor = self.norm(features) + features
            return result

    network = randomized(Twice())
    folded = fold_batch_norms(network)
    assert any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    _assert_same(network, folded, (8, 8))


def test_prelu_of_one_slope_becomes_the_leaky_relu_that_it_is() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.PReLU(init=0.3), nn.PReLU(4)).eval()
    folded = fold_batch_norms(network)
    assert [type(m) for m in folded.children()] == [nn.Conv2d, nn.LeakyReLU, nn.PReLU]
    _assert_same(network, folded, (8, 8))
