"""The whole augmentation: valid boxes, reproducibility, and the published statistics."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from secateur.data.annotations import read_annotations
from secateur.data.augmentations.face_augmentation import FaceAugmentation
from secateur.data.images import read_image
from secateur.data.preprocessing import RGB_MINUS_MEAN
from secateur.errors import InputError

IMAGE = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
BOXES = np.array([[0.1, 0.1, 0.3, 0.4], [0.5, 0.5, 0.9, 1.0156], [0.7, 0.1, 0.75, 0.16]])
AUGMENT = FaceAugmentation(input_size=64)


def assert_valid(boxes: NDArray[np.float32]) -> None:
    assert boxes.dtype == np.float32
    assert boxes.shape[1:] == (4,)
    assert ((boxes >= 0) & (boxes <= 1)).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()


def test_same_seed_same_result_whatever_the_global_state() -> None:
    first = AUGMENT(IMAGE, BOXES, 5)
    random.seed(1)
    np.random.seed(1)  # the global generator must not matter
    AUGMENT(IMAGE, BOXES, 6)
    again = FaceAugmentation(input_size=64)(IMAGE, BOXES, 5)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])


def test_seeds_differ() -> None:
    results = {AUGMENT(IMAGE, BOXES, seed)[0].tobytes() for seed in range(20)}
    assert len(results) == 20


def test_input_is_left_alone() -> None:
    image, boxes = IMAGE.copy(), BOXES.copy()
    for seed in range(10):
        AUGMENT(image, boxes, seed)
    np.testing.assert_array_equal(image, IMAGE)
    np.testing.assert_array_equal(boxes, BOXES)


value = st.floats(-0.3, 1.3, allow_nan=False)


@settings(max_examples=150, deadline=None)
@given(
    corners=st.lists(st.tuples(value, value, value, value), max_size=5),
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(1, 90),
    width=st.integers(1, 90),
)
def test_boxes_never_become_invalid(
    corners: list[tuple[float, float, float, float]], seed: int, height: int, width: int
) -> None:
    boxes = np.array(corners, dtype=np.float64).reshape(-1, 4)
    boxes = np.concatenate(
        [np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])], axis=1
    )
    image, kept = AUGMENT(np.zeros((height, width, 3), np.uint8), boxes, seed)
    assert image.shape == (64, 64, 3)
    assert image.dtype == np.uint8
    assert_valid(kept)


def test_a_face_inside_the_picture_never_leaves_an_item_empty() -> None:
    tiny = np.array([[0.5, 0.5, 0.505, 0.505]])  # below 36 pixels in nearly every crop
    for seed in range(60):
        _, kept = AUGMENT(IMAGE, tiny, seed)
        assert len(kept) == 1
        assert_valid(kept)


def test_no_box_and_boxes_beyond_the_border() -> None:
    for boxes in (np.zeros((0, 4)), np.array([[1.1, 1.1, 1.3, 1.3]])):
        image, kept = AUGMENT(IMAGE, boxes, 0)
        assert kept.shape == (0, 4)
        assert image.shape == (64, 64, 3)


def test_filling_is_the_mean_in_rgb_order() -> None:
    augment = FaceAugmentation(input_size=64, anchor_probability=1.0, distortion_probability=0.0)
    image = np.full((40, 40, 3), 255, np.uint8)
    large = np.array([[0.0, 0.0, 1.0, 1.0]])
    seen = set()
    for seed in range(30):
        result = augment(image, large, seed)[0]
        seen |= {tuple(pixel) for pixel in result.reshape(-1, 3).tolist()}
        filled = (result == [123, 117, 104]).all(axis=2)
        assert (RGB_MINUS_MEAN(result).numpy()[:, filled] == 0).all()
    assert seen == {(255, 255, 255), (123, 117, 104)}


def test_flip_moves_boxes_with_pixels() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[8:40, 4:28] = 255
    box = np.array([[4 / 64, 8 / 64, 28 / 64, 40 / 64]])
    options = {"anchor_probability": 0.0, "distortion_probability": 0.0}
    plain = FaceAugmentation(64, flip_probability=0.0, **options)
    flipped = FaceAugmentation(64, flip_probability=1.0, **options)
    for seed in range(5):
        one, two = plain(image, box, seed), flipped(image, box, seed)
        for picture, (x1, y1, x2, y2) in ((one[0], one[1][0] * 64), (two[0], two[1][0] * 64)):
            inner = picture[round(y1) + 2 : round(y2) - 2, round(x1) + 2 : round(x2) - 2]
            assert (inner > 200).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_size": 0}, "input_size must be at least 1, got 0"),
        (
            {"flip_probability": 1.5},
            "augmentation.flip_probability must be between 0 and 1, got 1.5",
        ),
        ({"anchor_probability": -0.1}, "augmentation.anchor_probability"),
        ({"anchor_sizes": (32, 16)}, r"anchor_sizes must be positive and rising, got \[32, 16\]"),
        ({"anchor_sizes": ()}, "anchor_sizes"),
    ],
)
def test_bad_options_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        FaceAugmentation(**options)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "probability"), [("anchor", 1.0), ("crop", 0.0)])
def test_statistics_of_the_published_augmentation(
    reference: Path, kind: str, probability: float
) -> None:
    """Same pictures, other draws: means agree within their uncertainty.

    Not compared, because it is meant to differ: targets beyond 0..1 (here clipped), the share of
    filled pixels (published: left and top only, and in BGR order), and with it the pixel mean of
    the anchor branch.
    """
    published = json.loads((reference / "golden/aug/augmentation_stats.json").read_text())[kind]
    images = json.loads((reference / "golden/forward/images.json").read_text())
    root = reference / "data" / "widerface_mini"
    annotations = {
        Path(item.name).name: item
        for item in read_annotations(root / "wider_face_split" / "wider_face_val_bbx_gt.txt")
    }
    pictures = []
    for entry in images:
        item = annotations[entry["file"]]
        image = read_image(root / "WIDER_val" / "images" / item.name)
        boxes = item.boxes / np.tile(image.shape[1::-1], 2)
        boxes[:, 2:] += boxes[:, :2]
        pictures.append((image, boxes))
    augment = FaceAugmentation(640, anchor_probability=probability)
    counts, sides, means, deviations = [], [], [], []
    for seed in range(300):
        image, boxes = augment(*pictures[seed % len(pictures)], seed)
        counts.append(len(boxes))
        side = 640 * np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))
        sides.append(np.percentile(side, [10, 50, 90]))
        values = RGB_MINUS_MEAN(image).numpy()
        means.append(values.mean())
        deviations.append(values.std())
    error = np.sqrt(1 / 300 + 1 / published["n"])  # of the difference of two such means
    assert abs(np.mean(counts) - published["mean_faces"]) < 3.5 * error * np.std(counts)
    difference = np.abs(np.mean(sides, axis=0) - published["mean_p10_p50_p90_face_px"])
    assert (difference < 3.5 * error * np.std(sides, axis=0)).all()
    if kind == "crop":
        assert abs(np.mean(means) - published["mean_pixel"]) < 3.5 * error * np.std(means)
        assert np.mean(deviations) == pytest.approx(published["mean_std"], rel=0.05)


def test_landmarks_stay_on_their_faces_through_crops_and_flips() -> None:
    """Two landmarks are painted; after augmentation they lie where the rows say."""
    picture = np.full((200, 300, 3), 90, np.uint8)
    picture[90:110, 140:150] = (255, 0, 0)  # right eye of the person: left in the picture
    picture[90:110, 170:180] = (0, 255, 0)
    points = [[145, 100], [175, 100], [160, 110], [150, 120], [170, 120]]
    landmarks = np.array([[x / 300, y / 200, 1.0] for x, y in points]).reshape(1, 15)
    corners = np.array([[130, 80, 190, 140]]) / [300, 200, 300, 200]
    augment = FaceAugmentation(128, distortion_probability=0)
    mirrored = 0
    for seed in range(40):
        image, rows = augment(picture, np.concatenate([corners, landmarks], axis=1), seed)
        bare, boxes = augment(picture, corners, seed)
        assert np.array_equal(image, bare)
        np.testing.assert_allclose(rows[:, :4], boxes, atol=1e-6)
        assert rows.shape == (1, 19)
        right, left = rows[0, 4:6] * 128, rows[0, 7:9] * 128
        assert right[0] < left[0]  # whichever eye it is, the first lies left in the picture
        red = image[min(int(right[1]), 127), min(int(right[0]), 127), 0] > 128
        inside = (rows[0, [4, 5, 7, 8]] > 0).all() and (rows[0, [4, 5, 7, 8]] < 1).all()
        if inside:
            mirrored += not red
            color = image[int(right[1]), int(right[0])]
            assert color[0] > 128 or color[1] > 128
    assert 5 < mirrored < 35
