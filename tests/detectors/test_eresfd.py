"""EResFD: parameters, names, sizes, golden outputs and a golden training step."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from secateur.detectors.eresfd import GROUPS, HEADS, EResFD
from secateur.weights.detector_weights import read_weights
from tests.detectors.networks import (
    assert_any_size,
    assert_copies,
    assert_freezes,
    assert_golden_outputs,
    assert_golden_training_step,
    random_input,
)

TOPOLOGIES = ("standard", "bfpgm")


def convolutions(network: nn.Module) -> dict[str, nn.Conv2d]:
    return {n: m for n, m in network.named_modules() if isinstance(m, nn.Conv2d)}


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_parameters_are_counted_once(topology: str) -> None:
    network = EResFD(topology)
    assert sum(parameter.numel() for parameter in network.parameters()) == 92_208
    assert len(convolutions(network)) == 87
    assert len(network.state_dict()) == 475


def test_names_are_those_of_the_official_release(reference: Path) -> None:
    official = read_weights(reference / "weights/clovaai_eresfd_16.safetensors")
    expected = {name: tensor.shape for name, tensor in official.items()}
    assert {name: value.shape for name, value in EResFD().state_dict().items()} == expected


@pytest.mark.parametrize(
    ("topology", "size", "count"),
    [
        ("standard", (640, 640), 34_125),
        ("bfpgm", (640, 640), 34_200),
        ("standard", (480, 640), 25_600),
        ("bfpgm", (480, 640), 25_660),
    ],
)
def test_number_of_anchors(topology: str, size: tuple[int, int], count: int) -> None:
    assert len(EResFD(topology).anchors(*size)) == count


def test_anchor_ratio_makes_anchors_taller() -> None:
    square, tall = EResFD().anchors(320, 640), EResFD(anchor_ratio=1.25).anchors(320, 640)
    torch.testing.assert_close(tall[:, 3], square[:, 3] * 1.25)
    assert torch.equal(tall[:, :3], square[:, :3])


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("topology", ["standard", pytest.param("bfpgm", marks=pytest.mark.slow)])
def test_exported_and_traced_equal_eager(topology: str) -> None:
    assert_freezes(EResFD(topology))


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_any_size(topology: str) -> None:
    assert_any_size(EResFD(topology))


def test_copies() -> None:
    assert_copies(EResFD())


def test_a_batch_gives_what_its_images_give() -> None:
    network = EResFD().eval()
    images = random_input(128, 96, batch=3)
    with torch.inference_mode():
        together = network(images)
        for n in range(3):
            for one, other in zip(network(images[n : n + 1]), together, strict=True):
                assert (one[0] - other[n]).abs().max() <= 1e-5 * other.abs().max()


def test_background_is_the_largest_of_three_on_the_finest_level() -> None:
    network = EResFD().eval()
    with torch.inference_mode():
        for head in network.conf:
            nn.init.zeros_(head.weight)
        network.conf[0].bias.copy_(torch.tensor([1.0, 3.0, 2.0, 7.0]))
        _, logits = network(random_input(64, 64))
    assert torch.equal(logits[0, 0], torch.tensor([3.0, 7.0]))


def test_bfpgm_topology_ignores_the_last_stage() -> None:
    network = EResFD("bfpgm")
    sum(output.sum() for output in network(random_input(64, 64, batch=2))).backward()
    idle = {name for name, value in network.named_parameters() if value.grad is None}
    assert idle == {n for n, _ in network.named_parameters() if n.startswith("base.m0.b2_5.")}


def test_published_initialisation() -> None:
    torch.manual_seed(0)
    network = EResFD()
    network.initialize("published")
    weights = torch.cat([c.weight.flatten() for c in convolutions(network).values()])
    assert weights.std().item() == pytest.approx(0.01, rel=0.02)
    assert abs(weights.mean().item()) < 1e-4
    for head in (*network.loc, *network.conf):
        assert not head.bias.any()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 0.5).all()
            assert not module.bias.any()
    assert (network.base.m0.fpn.w1 == 0.5).all()


def test_own_initialisation_starts_with_few_faces() -> None:
    torch.manual_seed(0)
    with torch.inference_mode():
        _, logits = EResFD()(random_input(64, 64, batch=2))
    assert logits.softmax(dim=2)[..., 1].mean().item() == pytest.approx(0.01, rel=0.3)
    assert logits[..., 1].mean().item() == pytest.approx(math.log(0.01 / 0.99), abs=0.1)


def test_unknown_choices_are_refused() -> None:
    with pytest.raises(ValueError, match="topology must be 'standard' or 'bfpgm', got 'other'"):
        EResFD("other")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="scheme must be 'kaiming' or 'published', got 'other'"):
        EResFD().initialize("other")  # type: ignore[arg-type]


@pytest.mark.parametrize("table", GROUPS)
def test_every_convolution_is_in_one_group_or_a_head(table: str) -> None:
    patterns = [p for group in GROUPS[table].values() for p in group] + list(HEADS)
    for name in convolutions(EResFD()):
        assert sum(fnmatch(name, pattern) for pattern in patterns) == 1, name


def test_groups_hold_the_published_numbers_of_filters() -> None:
    network = convolutions(EResFD())
    filters = [
        sum(c.out_channels for n, c in network.items() if any(fnmatch(n, p) for p in patterns))
        for patterns in GROUPS["script"].values()
    ]
    assert filters == [32, 144, 224, 160, 144, 144]


@pytest.mark.parametrize(
    "name",
    ["clovaai_eresfd_16", "lfdp_eres_original", "bfpgm_eresfd_original", "bfpgm_eresfd_30_pruned"],
)
def test_golden_outputs(
    reference: Path,
    golden_input: Callable[[int], Tensor],
    published: Callable[[str], nn.Module],
    name: str,
) -> None:
    assert_golden_outputs(reference, name, published(name), golden_input)


def test_golden_training_step(
    reference: Path,
    golden_input: Callable[[int], Tensor],
    published: Callable[[str], nn.Module],
) -> None:
    network = published("bfpgm_eresfd_original")
    pairs = json.loads((reference / "weights/bfpgm_eresfd_alias_map.json").read_text())
    assert_golden_training_step(
        reference,
        "eresfd_bfpgm",
        network,
        torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=5e-4),
        torch.cat([golden_input(0), golden_input(1)]),
        stored_name=lambda name: pairs.get(name, name),
        unused="base.m0.b2_5.",  # run upstream, though nothing reads it
    )
