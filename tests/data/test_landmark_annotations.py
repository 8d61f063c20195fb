"""Annotations with landmarks: both formats, as their authors read them, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from secateur.data.annotations import Annotation
from secateur.data.landmark_annotations import (
    read_landmark_annotations,
    write_landmark_annotations,
)
from secateur.errors import InputError

ABSENT = "-1 -1 -1 " * 5


def read(tmp_path: Path, text: str) -> list[Annotation]:
    path = tmp_path / "labelv2.txt"
    path.write_text(text)
    return read_landmark_annotations(path)


def test_sample_is_read_as_by_its_authors(reference: Path) -> None:
    folder = reference / "golden/yunet/labels"
    expected = json.loads((folder / "sample_labelv2_parsed.json").read_text())["items"]
    found = read_landmark_annotations(folder / "sample_labelv2.txt")
    assert [item.name for item in found] == [item["file"] for item in expected]
    for item, golden in zip(found, expected, strict=True):
        corners = np.concatenate([item.boxes[:, :2], item.boxes[:, :2] + item.boxes[:, 2:]], axis=1)
        assert np.array_equal(corners, np.float32(golden["bboxes"]))
        points = np.float32(golden["keypointss"])
        assert item.landmarks is not None
        assert np.array_equal(item.landmarks[..., 2], points[..., 2])
        assert np.array_equal(item.landmarks * item.landmarks[..., 2:], points * points[..., 2:])


def test_retinaface_tells_width_and_height_and_a_quality(tmp_path: Path) -> None:
    face = "10 20 30 40 12 25 0.0 30 25 1.0 20 35 0.0 -1 -1 -1 28 50 0.0 0.82"
    (item,) = read(tmp_path, f"# 0--Parade/a.jpg\n{face}\n5 5 0 9\n1 2 3 4\n# 1--B/b.jpg\n")
    assert item.boxes.tolist() == [[10, 20, 30, 40], [1, 2, 3, 4]]
    assert item.landmarks is not None
    assert item.landmarks[0].tolist() == [
        [12, 25, 1], [30, 25, 1], [20, 35, 1], [0, 0, 0], [28, 50, 1],
    ]  # fmt: skip
    assert not item.landmarks[1].any()


def test_a_picture_listed_twice_has_its_last_faces_at_the_first_place(tmp_path: Path) -> None:
    text = "# a/a.jpg 90 90\n1 1 9 9\n# a/b.jpg 90 90\n1 1 5 5\n# a/a.jpg 90 90\n2 2 9 9\n"
    first, second = read(tmp_path, text)
    assert (first.name, second.name) == ("a/a.jpg", "a/b.jpg")
    assert first.boxes.tolist() == [[2, 2, 7, 7]]


def test_a_point_at_minus_one_is_absent_whatever_its_flag(tmp_path: Path) -> None:
    (item,) = read(tmp_path, f"# a/a.jpg 90 90\n1 1 9 9 -1 -1 0 {ABSENT[9:]}\n")
    assert item.landmarks is not None
    assert not item.landmarks.any()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 1 9 9\n", "line 1: a face comes before"),
        ("# a/a.jpg 90\n1 1 9 9\n", "expected '# picture'"),
        ("# a/a.jpg 90 90\n1 1 9 9 4 5\n", "line 2: a face needs 4, 5 or 19 values, got 6"),
        (f"# a/a.jpg 90 90\n1 1 9 9 4 5 -1 {ABSENT[9:]}\n", "flag of an absent one"),
        ("# a/a.jpg 90 90\n1 1 nine 9\n", "not made of numbers"),
        ("# ../a.jpg 90 90\n1 1 9 9\n", "leaves the folder"),
        ("# a/a.jpg 90 90\n", "lists no face"),
    ],
)
def test_malformed_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(tmp_path, text)


def test_a_missing_file_is_refused_with_the_setting(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"model\.landmarks=.* does not exist"):
        read_landmark_annotations(tmp_path / "absent.txt")


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    landmarks = np.random.default_rng(0).uniform(0, 90, (2, 5, 3)).astype(np.float32)
    landmarks[0, :, 2] = 1
    landmarks[1] = 0
    boxes = np.float32([[1, 2, 30, 40], [5, 6.5, 7, 8]])
    write_landmark_annotations(
        tmp_path / "out.txt", [Annotation("a/a.jpg", boxes, landmarks)], [(90, 99)]
    )
    (item,) = read_landmark_annotations(tmp_path / "out.txt")
    np.testing.assert_allclose(item.boxes, boxes)
    np.testing.assert_allclose(item.landmarks, landmarks, rtol=1e-6)
