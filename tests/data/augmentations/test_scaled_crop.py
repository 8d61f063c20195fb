"""Scaled square crops: golden crops, published statistics, and pictures that offer no crop."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from secateur.data.augmentations.scaled_crop import (
    ScaledCropAugmentation,
    _cut_padded,
    draw_scaled_window,
    faces_in_window,
)
from secateur.data.augmentations.window import Window
from secateur.data.landmarks import flip_faces, join_landmarks
from secateur.errors import InputError


def golden(reference: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(
        (reference / "golden/yunet/aug/yunet_crop_cases.json").read_text()
    )
    return loaded


@pytest.mark.parametrize("index", range(5))
def test_golden_crops(reference: Path, index: int) -> None:
    content = golden(reference)
    case = content["cases"][index]
    faces = join_landmarks(np.float64(content["boxes"]), np.float64(content["keypoints"]))
    left, top = case["left_top_requested"]
    # an offset is not drawn, and so 0, where the side is that of the picture
    window = Window(left if case["side"] != 90 else 0, top, case["side"])
    kept = faces_in_window(faces, window)
    np.testing.assert_allclose(kept[:, :4] * 640, case["boxes_640"], atol=1e-3)
    flipped = flip_faces(kept)
    np.testing.assert_allclose(flipped[:, :4] * 640, case["boxes_640_flipped"], atol=1e-3)
    points = flipped[:, 4:].reshape(-1, 5, 3)
    expected = np.float64(case["keypoints_640_flipped"])
    np.testing.assert_array_equal(points[..., 2], expected[..., 2])
    present = points[..., 2] > 0
    np.testing.assert_allclose(points[present][:, :2] * 640, expected[present][:, :2], atol=1e-3)

    values = (np.arange(60 * 90) % 251).astype(np.uint8).reshape(60, 90, 1).repeat(3, axis=2)
    square = _cut_padded(values, window, (128, 128, 128))
    assert square.sum() == case["image_sum"]
    assert (square == 128).all(axis=2).sum() == case["pad_pixels"]
    exact = cv2.resize(square.astype(np.float32), (640, 640), interpolation=cv2.INTER_LINEAR)
    assert exact.sum(dtype=np.float64) == pytest.approx(case["image_sum_640"], rel=1e-6)
    rounded = cv2.resize(square, (640, 640), interpolation=cv2.INTER_LINEAR)
    assert np.abs(exact - rounded).max() <= 1


def test_a_window_holds_a_center_and_keeps_to_the_picture() -> None:
    generator = np.random.default_rng(0)
    boxes = np.array([[10.0, 20, 30, 40], [60, 5, 64, 11]])
    sides = set()
    for _ in range(200):
        left, top, side = draw_scaled_window(boxes, 50, 80, (0.5, 1.0, 1.5), generator)
        sides.add(side)
        centers = (boxes[:, :2] + boxes[:, 2:]) / 2 - [left, top]
        assert ((centers > 0) & (centers < side)).all(axis=1).any()
        assert min(0, 80 - side) <= left <= max(0, 80 - side)
        assert min(0, 50 - side) <= top <= max(0, 50 - side)
    assert sides == {25, 50, 75}


def test_a_picture_without_any_box_gives_windows_anywhere() -> None:
    generator = np.random.default_rng(0)
    windows = {draw_scaled_window(np.zeros((0, 4)), 50, 80, (0.5,), generator) for _ in range(50)}
    assert {window.side for window in windows} == {25}
    assert len({window.left for window in windows}) > 20
    assert all(0 <= window.left < 55 and 0 <= window.top < 25 for window in windows)


def test_a_face_that_no_small_window_holds_makes_the_window_grow() -> None:
    boxes = np.array([[0.0, 0, 0.5, 0.5]])  # its center lies nearer to the corner than a pixel
    generator = np.random.default_rng(0)
    for scales in ((0.05,), (0.05, 1.5)):
        window = draw_scaled_window(boxes, 100, 300, scales, generator)
        assert len(faces_in_window(boxes, window))


def test_equal_seeds_give_equal_items_and_landmarks_stay_beside_their_faces() -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    corners = np.array([[0.1, 0.2, 0.3, 0.6], [0.5, 0.5, 0.9, 0.9]])
    points = np.stack([corners[:, :2] * 0.5 + corners[:, 2:] * 0.5] * 5, axis=1)
    faces = join_landmarks(corners, np.concatenate([points, np.ones((2, 5, 1))], axis=2))
    augment = ScaledCropAugmentation(64)
    for seed in range(20):
        one, rows = augment(image, faces, seed)
        other, again = augment(image, faces, seed)
        assert np.array_equal(one, other)
        assert np.array_equal(rows, again)
        assert one.shape == (64, 64, 3)
        assert rows.dtype == np.float32
        assert rows.shape[1] == 19
        assert (rows[:, :2] < rows[:, 2:4]).all()
        assert (rows >= 0).all()
        assert (rows <= 1).all()
        x, y = rows[:, 4], rows[:, 5]
        assert ((rows[:, 0] <= x) & (x <= rows[:, 2])).all()
        assert ((rows[:, 1] <= y) & (y <= rows[:, 3])).all()


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match="scales must be above 0"):
        ScaledCropAugmentation(64, scales=[])
    with pytest.raises(InputError, match="flip_probability"):
        ScaledCropAugmentation(64, flip_probability=2)


def test_published_statistics(reference: Path) -> None:
    """Share of kept faces and of padded area over the pictures the authors' code was run on."""
    from secateur.data.annotations import read_annotations, without_degenerate_boxes
    from secateur.data.images import read_size

    stats = json.loads((reference / "golden/yunet/aug/yunet_augmentation_stats.json").read_text())
    root = reference / "data/widerface_mini"
    annotations = [
        item
        for item in without_degenerate_boxes(
            read_annotations(root / "wider_face_split/wider_face_train_bbx_gt.txt")
        )
        if item.name.startswith("1--Handshaking")
    ]
    assert len(annotations) == stats["_pictures"]
    sizes = [read_size(root / "WIDER_train/images" / item.name)[:2] for item in annotations]
    for name in ("n", "s"):
        generator = np.random.default_rng(0)
        kept, padded = [], []
        for _ in range(15):
            for item, (height, width) in zip(annotations, sizes, strict=True):
                corners = item.boxes.astype(np.float64)
                corners[:, 2:] += corners[:, :2]
                window = draw_scaled_window(
                    corners, height, width, stats[name]["crop_choice"], generator
                )
                kept.append(len(faces_in_window(corners, window)) / len(corners))
                seen = [
                    min(start + window.side, length) - max(start, 0)
                    for start, length in ((window.left, width), (window.top, height))
                ]
                padded.append(1 - seen[0] * seen[1] / window.side**2)
        assert np.mean(kept) == pytest.approx(stats[name]["mean_kept_fraction"], abs=0.03)
        assert np.mean(padded) == pytest.approx(stats[name]["padded_area_mean"], abs=0.02)
