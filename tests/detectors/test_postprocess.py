"""Post-processing against a greedy loop over boxes, and against golden detections."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.ops import nms

from secateur.detectors import postprocess
from secateur.detectors.anchors import AnchorCache
from secateur.detectors.boxes import decode, pairwise_iou
from secateur.detectors.postprocess import select_faces_padded
from tests.detectors.networks import select_anchored

Outputs = tuple[Tensor, Tensor, Tensor]


def outputs(batch: int = 1, side: int = 160, seed: int = 0, ties: bool = False) -> Outputs:
    anchors = AnchorCache()(side, side, torch.device("cpu"))
    generator = torch.Generator().manual_seed(seed)
    locations = torch.randn(batch, len(anchors), 4, generator=generator)
    logits = torch.randn(batch, len(anchors), 2, generator=generator) * 2
    if ties:
        logits = logits.round()
    return locations, logits, anchors


def detect_box_by_box(
    locations: Tensor,
    logits: Tensor,
    anchors: Tensor,
    score_threshold: float = 0.05,
    iou_threshold: float = 0.3,
    max_candidates: int = 5000,
    max_faces: int = 750,
) -> Tensor:
    """Greedy suppression of one image."""
    boxes = decode(locations, anchors)
    scores = torch.sigmoid(logits[:, 1] - logits[:, 0])
    overlaps = pairwise_iou(boxes, boxes)
    order = [n for n in range(len(scores)) if scores[n] > score_threshold]
    order.sort(key=lambda n: -float(scores[n]))
    kept: list[int] = []
    for n in order[:max_candidates]:
        if all(float(overlaps[n, other]) <= iou_threshold for other in kept):
            kept.append(n)
    kept = kept[:max_faces]
    return torch.cat([boxes[kept], scores[kept, None]], dim=1)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(
    "limits",
    [
        {},
        {"score_threshold": 0.5},
        {"max_candidates": 300},
        {"max_faces": 20},
        {"iou_threshold": 0.6},
    ],
)
def test_detections_equal_those_made_box_by_box(limits: dict[str, float], ties: bool) -> None:
    locations, logits, anchors = outputs(ties=ties, side=96)
    (faces,) = select_anchored(locations, logits, anchors, **limits)
    expected = detect_box_by_box(locations[0], logits[0], anchors, **limits)
    torch.testing.assert_close(faces, expected, rtol=0, atol=0)
    assert len(faces) > 5


@pytest.mark.parametrize("chunk", [1, 50, 400, 10_000])
def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    arguments = outputs(side=256)
    expected = select_anchored(*arguments, max_faces=300)
    monkeypatch.setattr(postprocess, "_CHUNK", chunk)
    assert torch.equal(select_anchored(*arguments, max_faces=300)[0], expected[0])


def test_few_and_many_candidates_are_ordered_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = outputs(batch=2, ties=True)
    monkeypatch.setattr(postprocess, "_FEW", 0)
    expected = select_anchored(*arguments, max_candidates=200)
    monkeypatch.setattr(postprocess, "_FEW", 10_000)
    for faces, others in zip(
        select_anchored(*arguments, max_candidates=200), expected, strict=True
    ):
        assert torch.equal(faces, others)


@pytest.mark.parametrize("threshold", [0.2, 0.25, 0.3, 0.5, 0.6])
def test_an_overlap_at_the_threshold_is_judged_alike_in_and_across_chunks(
    monkeypatch: pytest.MonkeyPatch, threshold: float
) -> None:
    # Boxes on a grid overlap by few different fractions, some of them exactly the threshold, and
    # some have no area.
    generator = torch.Generator().manual_seed(0)
    corner = torch.randint(0, 12, (600, 2), generator=generator)
    boxes = torch.cat([corner, corner + torch.randint(0, 11, (600, 2), generator=generator)], dim=1)
    scores = torch.linspace(1, 0.1, 600)
    rows = torch.cat([boxes, scores[:, None]], dim=1)
    overlaps = pairwise_iou(rows[:, :4], rows[:, :4])
    assert (overlaps == threshold).any()
    assert overlaps.isnan().any()
    monkeypatch.setattr(postprocess, "_CHUNK", 7)
    survivors = postprocess._first_survivors(rows, threshold, 600)
    assert torch.equal(survivors, nms(rows[:, :4], scores, threshold))


def test_a_batch_gives_exactly_what_its_images_give_alone() -> None:
    locations, logits, anchors = outputs(batch=8)
    logits[3, :, 1] -= 100  # an image without faces
    together = select_anchored(locations, logits, anchors)
    for n, faces in enumerate(together):
        (alone,) = select_anchored(locations[n : n + 1], logits[n : n + 1], anchors)
        assert torch.equal(faces, alone)
    assert together[3].shape == (0, 5)


def test_threshold_is_strict() -> None:
    locations, logits, anchors = outputs(side=32)
    logits[:] = 0
    assert len(select_anchored(locations, logits, anchors, score_threshold=0.5)[0]) == 0
    assert len(select_anchored(locations, logits, anchors, score_threshold=0.499)[0]) > 0


def test_padding_is_zero_and_counted() -> None:
    arguments = outputs(batch=2)
    faces, counts = select_anchored(*arguments, select_faces_padded, max_faces=5000)
    assert faces.shape == (2, 5000, 5)
    for rows, count, expected in zip(faces, counts, select_anchored(*arguments), strict=True):
        assert torch.equal(rows[: len(expected)], expected)
        assert not rows[count:].any()


class Detect(nn.Module):
    """Post-processing of one input size as a module."""

    def __init__(self, anchors: Tensor) -> None:
        super().__init__()
        self.register_buffer("anchors", anchors)

    def forward(self, locations: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        assert isinstance(self.anchors, Tensor)
        return select_anchored(
            locations, logits, self.anchors, select_faces_padded, score_threshold=0.4
        )


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("way", ["export", "trace"])
def test_exported_and_traced_equal_eager(way: str) -> None:
    locations, logits, anchors = outputs(batch=2)
    network = Detect(anchors)
    example = outputs(batch=2, seed=1)[:2]
    frozen: Callable[..., tuple[Tensor, Tensor]]
    if way == "export":
        frozen = torch.export.export(network, example).module()
    else:
        frozen = torch.jit.trace(network, example, check_trace=False)
    logits[1, :, 1] -= 3  # few candidates, so that the padding counts
    for one, other in zip(frozen(locations, logits), network(locations, logits), strict=True):
        assert torch.equal(one, other)


def compare(found: NDArray[np.float32], golden: NDArray[np.float32], side: int) -> None:
    """Rows x1, y1, x2, y2, score in pixels, by the tolerances of the golden index."""
    assert len(found) == len(golden)
    np.testing.assert_allclose(found[:, 4], golden[:, 4], atol=1e-4)
    scale = np.array([side, side, side, side, 1000], np.float32)  # 0.1 px and 1e-4
    distance = np.abs(found[:, None] * scale - golden[None] * scale).max(axis=2)
    common = distance.min(axis=0) <= 0.1
    assert common.mean() >= 0.97
    assert common[golden[:, 4] > 0.3].all()


@pytest.mark.parametrize(
    ("name", "size", "pictures"),
    [
        ("clovaai_eresfd_16", 320, 5),
        ("clovaai_eresfd_16", 640, 5),
        ("bfpgm_eresfd_original", 320, 5),
        ("bfpgm_eresfd_original", 640, 5),
        ("bfpgm_eresfd_30_pruned", 320, 5),
        ("bfpgm_eresfd_30_pruned", 640, 5),
        ("lfdp_eres_original", 320, 2),
        ("clovaai_extd_64", 320, 2),
        ("bfpgm_extd_original", 320, 5),
        ("bfpgm_extd_20_pruned", 320, 5),
        pytest.param("bfpgm_extd_original", 640, 5, marks=pytest.mark.slow),
        pytest.param("bfpgm_extd_20_pruned", 640, 5, marks=pytest.mark.slow),
    ],
)
def test_golden_detections(
    reference: Path,
    golden_input: Callable[[int, int], Tensor],
    published: Callable[[str], nn.Module],
    name: str,
    size: int,
    pictures: int,
) -> None:
    network = published(name)
    with np.load(reference / f"golden/forward/{name}_dets.npz") as golden:
        for index in range(pictures):
            rows = golden[f"img{index}_at{size}_norm"]
            with torch.inference_mode():
                outputs = network(golden_input(index, size))
                (faces,) = select_anchored(*outputs, network.anchors(size, size))
            # published as score first, and padded with zeros by some
            compare(faces.numpy(), rows[rows[:, 0] > 0][:, [1, 2, 3, 4, 0]], size)
