from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from secateur.detectors.protocols import vote_boxes


def naive_vote(rows: list[list[float]], keep_singles: bool) -> list[list[float]]:
    """Merge box by box; the rows come with falling scores."""
    merged = []
    while rows:
        lead, members, rest = rows[0], [], []
        for row in rows:
            width = min(lead[2], row[2]) - max(lead[0], row[0]) + 1
            height = min(lead[3], row[3]) - max(lead[1], row[1]) + 1
            shared = max(width, 0) * max(height, 0)
            area = sum((r[2] - r[0] + 1) * (r[3] - r[1] + 1) for r in (lead, row))
            (members if shared / (area - shared) >= 0.3 else rest).append(row)
        if keep_singles or len(members) > 1:
            total = sum(row[4] for row in members)
            box = [sum(row[i] * row[4] for row in members) / total for i in range(4)]
            merged.append([*box, lead[4]])
        rows = rest
    return merged


@pytest.mark.parametrize("keep_singles", [True, False])
def test_equals_voting_box_by_box(keep_singles: bool) -> None:
    random = np.random.default_rng(0)
    corners = random.integers(0, 60, (80, 2)).astype(float)
    sizes = random.integers(0, 30, (80, 2))
    scores = random.permutation(80)[:, None] / 100 + 0.1
    rows = np.concatenate([corners, corners + sizes, scores], axis=1)
    ordered = sorted(rows.tolist(), key=lambda row: -row[4])
    expected = np.array(naive_vote(ordered, keep_singles))
    got = vote_boxes(torch.from_numpy(rows), keep_singles=keep_singles)
    np.testing.assert_allclose(got.numpy(), expected)
    few = vote_boxes(torch.from_numpy(rows), keep_singles=keep_singles, max_faces=7)
    np.testing.assert_allclose(few.numpy(), expected[:7])


def test_nothing_gives_nothing() -> None:
    assert vote_boxes(torch.empty(0, 5)).shape == (0, 5)
    alone = torch.tensor([[0.0, 0, 9, 9, 0.5]])
    assert vote_boxes(alone, keep_singles=False).shape == (0, 5)
    assert vote_boxes(alone).tolist() == alone.tolist()


def test_degenerate_boxes_end_the_vote() -> None:
    rows = torch.tensor([[5.0, 5, 4, 4, 0.5], [9.0, 9, 3, 3, 0.4]])
    assert len(vote_boxes(rows)) == 2


@pytest.mark.parametrize(
    ("name", "keep_singles"),
    [
        ("clovaai_eresfd_16", True),
        ("bfpgm_eresfd_original", False),
        ("bfpgm_eresfd_30_pruned", False),
        ("bfpgm_extd_original", False),
        ("bfpgm_extd_20_pruned", False),
    ],
)
def test_golden_votes(reference: Path, name: str, keep_singles: bool) -> None:
    with np.load(reference / f"golden/forward/{name}_dets.npz") as golden:
        for image in ("img0", "img1"):
            passes = [golden[f"{image}_{k}"] for k in ("single", "ms_flip", "ms_small", "ms_big")]
            rows = torch.from_numpy(np.concatenate(passes)).double()
            got = vote_boxes(rows, keep_singles=keep_singles).numpy()
            expected = golden[f"{image}_ms_voted"]
            # EResFD gives hundreds of detections the same score, and the order that the published
            # tool takes them in depends on the machine; a cluster may fall apart differently
            assert abs(len(got) - len(expected)) <= 0.005 * len(expected)
            distance = np.abs(got[:, None] - expected[None]).max(axis=2).min(axis=0)
            assert (distance < 0.1).mean() >= 0.97
            assert (distance[expected[:, 4] > 0.3] < 1e-3).all()
