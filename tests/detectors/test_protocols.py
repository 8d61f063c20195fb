from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from secateur.data.preprocessing import MEAN
from secateur.detectors.eresfd import EResFD
from secateur.detectors.protocols import (
    Detect,
    EvaluationProtocol,
    LongerSide,
    MultiScale,
    SingleScale,
    View,
    detect_pictures,
)
from tests.detectors.networks import select_anchored

GOLDEN_PICTURES = (20, 234, 329, 488, 629)
PASSES = ("single", "ms_flip", "ms_small", "ms_big")


class Recorder:
    """A protocol that also keeps what each view found."""

    def __init__(self, protocol: EvaluationProtocol) -> None:
        self.protocol = protocol
        self.passes: list[Tensor] = []

    def views(self, height: int, width: int) -> tuple[View, ...]:
        return self.protocol.views(height, width)

    def merge(self, detections: Sequence[Tensor]) -> Tensor:
        self.passes = list(detections)
        return self.protocol.merge(detections)


def published_factors(height: int, width: int) -> list[float]:
    """Factors of the larger views, by the loop of the specification."""
    limit = (1700 * 1200 / (height * width)) ** 0.5
    start = 0.5 if limit >= 0.75 else 0.5 * limit
    factor = min(2, limit) if limit > 1 else (start + limit) / 2
    factors = [factor]
    if limit > 2:
        factor *= 2
        while factor < limit:
            factors.append(factor)
            factor *= 2
        factors.append(limit)
    return factors


@pytest.mark.parametrize(
    ("height", "width"),
    [
        (768, 1024),
        (1200, 1700),
        (3000, 2000),
        (1500, 1700),
        (600, 850),
        (300, 425),
        (90, 90),
        (1, 1),
    ],
)
def test_views_are_those_of_the_published_protocol(height: int, width: int) -> None:
    views = MultiScale().views(height, width)
    limit = (1700 * 1200 / (height * width)) ** 0.5
    assert views[0] == View(min(1, limit))
    assert views[1] == View(min(1, limit), mirrored=True)
    assert views[2] == View(0.5 if limit >= 0.75 else limit / 2, larger_than=30)
    assert [view.factor for view in views[3:]] == pytest.approx(published_factors(height, width))
    for view in views[3:]:
        assert (view.smaller_than, view.larger_than) == ((100, 0) if limit > 1 else (np.inf, 30))
    assert SingleScale().views(height, width) == (View(min(1, limit)),)
    assert LongerSide().views(height, width) == (View(640 / max(height, width)),)


def find_square(images: Tensor) -> list[Tensor]:
    """A detector of bright squares, in fractions of the image."""
    found = []
    for image in images:
        light = image.sum(dim=0) > (255 - torch.tensor(MEAN)).sum() / 2
        rows, columns = light.any(dim=1).nonzero(), light.any(dim=0).nonzero()
        height, width = light.shape
        box = [columns.min() / width, rows.min() / height]
        box += [(columns.max() + 1) / width, (rows.max() + 1) / height]
        found.append(torch.tensor([[*map(float, box), 0.9], [0, 0, 1, 1, 0.04]]))
    return found


def draw_square(height: int, width: int, x: int, y: int, side: int) -> np.ndarray:
    picture = np.zeros((height, width, 3), np.uint8)
    picture[y : y + side, x : x + side] = 255
    return picture


@pytest.mark.parametrize("protocol", [SingleScale(), LongerSide(), MultiScale()])
def test_boxes_come_back_in_pixels_of_the_picture(protocol: EvaluationProtocol) -> None:
    pictures = [
        draw_square(400, 600, 100, 40, 60),
        draw_square(401, 603, 33, 77, 50),
        draw_square(400, 600, 500, 300, 80),
        draw_square(2000, 1800, 1000, 700, 90),
    ]
    corners = [(100, 40, 160, 100), (33, 77, 83, 127), (500, 300, 580, 380), (1000, 700, 1090, 790)]
    for picture, rows, box in zip(
        pictures, detect_pictures(find_square, pictures, protocol), corners, strict=True
    ):
        assert len(rows) == 1, picture.shape
        np.testing.assert_allclose(rows[0, :4], box, atol=1.5)
        assert rows[0, 4] == pytest.approx(0.9)


def test_a_single_view_exceeds_neither_area_nor_side() -> None:
    for height, width, longer in ((480, 640, 640), (3000, 4000, 1649), (900, 3600, 2857)):
        (view,) = SingleScale().views(height, width)
        assert round(view.factor * max(height, width)) == longer
    (view,) = SingleScale(max_side=1280).views(1542, 1024)
    assert (round(view.factor * 1542), round(view.factor * 1024)) == (1280, 850)
    assert SingleScale(max_side=1280).views(1280, 512)[0].factor == 1


def test_views_keep_the_sizes_they_are_for() -> None:
    recorder = Recorder(MultiScale(larger_than=70, smaller_than=50))
    detect_pictures(find_square, [draw_square(400, 600, 100, 40, 60)], recorder)
    assert [(rows[:, 4] > 0.5).sum() for rows in recorder.passes] == [1, 1, 0, 0, 0]


def test_views_of_one_shape_go_through_together() -> None:
    shapes = []

    def detect(images: Tensor) -> list[Tensor]:
        shapes.append(tuple(images.shape))
        return find_square(images)

    pictures = [draw_square(400, 600, 100, 40, 60)] * 3
    detect_pictures(detect, pictures, MultiScale(), batch_size=4)
    assert shapes.count((4, 3, 400, 600)) == 1
    assert shapes.count((2, 3, 400, 600)) == 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 2000), (5000, 1), (3, 3)])
def test_tiny_pictures_are_looked_at(shape: tuple[int, int]) -> None:
    def detect(images: Tensor) -> list[Tensor]:
        assert min(images.shape) >= 1
        return [torch.empty(0, 5)] * len(images)

    picture = np.zeros((*shape, 3), np.uint8)
    for protocol in (SingleScale(), LongerSide(), MultiScale()):
        assert detect_pictures(detect, [picture], protocol)[0].shape == (0, 5)


def test_no_picture_gives_nothing() -> None:
    assert detect_pictures(find_square, [], SingleScale()) == []


def check_golden(got: Tensor, expected: np.ndarray) -> None:
    assert len(got) == len(expected)
    np.testing.assert_allclose(
        got[:, 4].sort(descending=True)[0], -np.sort(-expected[:, 4]), atol=1e-4
    )
    distance = np.abs(got.numpy()[:, None, :4] - expected[None, :, :4]).max(axis=2).min(axis=0)
    assert (distance < 0.1).mean() >= 0.97
    assert (distance[expected[:, 4] > 0.3] < 0.1).all()


@pytest.fixture(scope="module")
def official(reference: Path) -> Detect:
    network = EResFD(anchor_ratio=1.25).eval()
    network.load_state_dict(load_file(reference / "weights/clovaai_eresfd_16.safetensors"))

    @torch.inference_mode()
    def detect(images: Tensor) -> list[Tensor]:
        locations, logits = network(images)
        return select_anchored(locations, logits, network.anchors(*images.shape[-2:]))

    return detect


def read_picture(reference: Path, number: int) -> np.ndarray:
    folder = reference / "data/widerface_mini/WIDER_val/images/0--Parade"
    with Image.open(folder / f"0_Parade_marchingband_1_{number}.jpg") as image:
        return np.array(image.convert("RGB"))


@pytest.mark.parametrize("index", range(5))
def test_golden_single_scale(reference: Path, official: Detect, index: int) -> None:
    picture = read_picture(reference, GOLDEN_PICTURES[index])
    (rows,) = detect_pictures(official, [picture], SingleScale())
    with np.load(reference / "golden/forward/clovaai_eresfd_16_dets.npz") as golden:
        check_golden(rows, golden[f"img{index}_single"])


@pytest.mark.parametrize("index", range(2))
def test_golden_multi_scale(reference: Path, official: Detect, index: int) -> None:
    recorder = Recorder(MultiScale(keep_singles=True))
    picture = read_picture(reference, GOLDEN_PICTURES[index])
    (rows,) = detect_pictures(official, [picture], recorder)
    with np.load(reference / "golden/forward/clovaai_eresfd_16_dets.npz") as golden:
        for found, name in zip(recorder.passes, PASSES, strict=True):
            check_golden(found, golden[f"img{index}_{name}"])
        check_golden(rows, golden[f"img{index}_ms_voted"])
