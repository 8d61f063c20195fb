"""Boxes: inverse pairs and overlaps."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torchvision.ops import box_iou

from secateur.detectors.boxes import (
    center_to_corner,
    corner_to_center,
    decode,
    encode,
    pairwise_iou,
)


def random_corners(count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(count, 2, generator=generator)
    return torch.cat([low, low + 0.01 + torch.rand(count, 2, generator=generator)], dim=1)


@given(seed=st.integers(0, 2**32 - 1))
def test_forms_and_offsets_have_inverses(seed: int) -> None:
    faces, anchors = random_corners(20, seed), corner_to_center(random_corners(20, seed + 1))
    torch.testing.assert_close(center_to_corner(corner_to_center(faces)), faces)
    torch.testing.assert_close(decode(encode(faces, anchors), anchors), faces)


@given(seed=st.integers(0, 2**32 - 1), first=st.integers(0, 9), second=st.integers(1, 30))
def test_overlaps_equal_those_of_torchvision(seed: int, first: int, second: int) -> None:
    a, b = random_corners(first, seed), random_corners(second, seed + 1)
    torch.testing.assert_close(pairwise_iou(a, b), box_iou(a, b))


def test_overlaps_leave_their_arguments_alone() -> None:
    a, b = random_corners(3, 0), random_corners(4, 1)
    before = a.clone(), b.clone()
    pairwise_iou(a, b)
    assert torch.equal(a, before[0])
    assert torch.equal(b, before[1])


def test_decoding_moves_by_tenths_and_scales_by_fifths() -> None:
    anchor = torch.tensor([[0.5, 0.5, 0.2, 0.4]])
    box = decode(torch.tensor([[1.0, -1.0, 5.0, 0.0]]), anchor)
    width = 0.2 * torch.e
    expected = torch.tensor([[0.52 - width / 2, 0.46 - 0.2, 0.52 + width / 2, 0.46 + 0.2]])
    torch.testing.assert_close(box, expected)
