"""Matching against a loop over faces, and against golden assignments."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from secateur.detectors import matching
from secateur.detectors.anchors import AnchorCache
from secateur.detectors.boxes import center_to_corner, pairwise_iou
from secateur.detectors.matching import largest, match_anchors


def match_face_by_face(faces: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor]:
    """The rules of S3FD in the order in which they are told."""
    overlaps = pairwise_iou(faces, center_to_corner(anchors))
    best_of_anchor, face_index = overlaps.max(dim=0)
    best_of_face, best_anchor = overlaps.max(dim=1)
    for face in range(len(faces)):
        best_of_anchor[best_anchor[face]] = 2
        face_index[best_anchor[face]] = face
    labels = best_of_anchor >= 0.35
    extra = int((best_of_face >= 0.35).sum() + (best_of_face >= 0.5).sum()) // 2
    candidates = [n for n in range(len(anchors)) if 0.1 < best_of_anchor[n] < 0.35]
    candidates.sort(key=lambda n: -float(best_of_anchor[n]))
    labels[candidates[:extra]] = True
    return labels, face_index


def random_faces(count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    center = torch.rand(count, 2, generator=generator)
    size = 0.02 * 30 ** torch.rand(count, 1, generator=generator)
    return torch.cat([center - size / 2, center + size / 2], dim=1)


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 40))
@settings(max_examples=30, deadline=None)
def test_matching_equals_the_rules_told_face_by_face(seed: int, count: int) -> None:
    anchors = AnchorCache()(128, 160, torch.device("cpu"))
    faces = random_faces(count, seed)
    labels, face_index = match_anchors(faces, anchors)
    expected_labels, expected_index = match_face_by_face(faces, anchors)
    assert torch.equal(labels, expected_labels)
    assert torch.equal(face_index, expected_index)


def test_a_crowd_in_blocks_equals_a_crowd_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    anchors = AnchorCache()(128, 160, torch.device("cpu"))
    faces = random_faces(100, seed=3)
    whole = match_anchors(faces, anchors)
    monkeypatch.setattr(matching, "_BLOCK_PAIRS", 7 * len(anchors))
    for one, other in zip(whole, match_anchors(faces, anchors), strict=True):
        assert torch.equal(one, other)


def test_of_two_faces_with_one_best_anchor_the_later_wins() -> None:
    anchors = AnchorCache()(64, 64, torch.device("cpu"))
    face = torch.tensor([[0.1, 0.1, 0.2, 0.2]])
    labels, face_index = match_anchors(face.repeat(3, 1), anchors)
    best = pairwise_iou(face, center_to_corner(anchors)).argmax()
    assert labels[best]
    assert face_index[best] == 2


def test_no_faces_make_no_positives() -> None:
    anchors = AnchorCache()(64, 64, torch.device("cpu"))
    labels, _ = match_anchors(torch.zeros(0, 4), anchors)
    assert labels.shape == (len(anchors),)
    assert not labels.any()


@given(
    values=st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.4]), min_size=1, max_size=30),
    count=st.integers(0, 40),
)
def test_largest_is_the_head_of_a_stable_sort(values: list[float], count: int) -> None:
    tensor = torch.tensor(values)
    order = tensor.sort(descending=True, stable=True).indices[:count]
    expected = torch.zeros(len(values), dtype=torch.bool)
    expected[order] = True
    expected &= tensor > 0
    marked = largest(tensor[None], torch.tensor([count]), at_most=count)
    assert torch.equal(marked[0], expected)


@pytest.mark.parametrize("network", ["eresfd_bfpgm", "extd"])
@pytest.mark.parametrize("case", ["mixed_crowd", "one_tiny", "tiny_large_nested"])
def test_golden_matching(reference: Path, network: str, case: str) -> None:
    with np.load(reference / f"golden/loss/{network}_multibox_320.npz") as golden:
        anchors = torch.from_numpy(golden["priors"])
        for image, labels in enumerate(golden[f"{case}/conf_t"]):
            faces = torch.from_numpy(golden[f"{case}/gt{image}"][:, :4])
            found, face_index = match_anchors(faces, anchors)
            assert np.array_equal(found.numpy(), labels > 0)
            assert np.array_equal(face_index.numpy(), golden[f"{case}/best_truth_idx"][image])
