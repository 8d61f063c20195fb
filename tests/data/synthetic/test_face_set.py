"""Drawn faces: reproducible, plausible boxes, written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from secateur.data.annotations import read_annotations
from secateur.data.ground_truth import read_ground_truth
from secateur.data.images import read_image
from secateur.data.landmark_annotations import read_landmark_annotations
from secateur.data.synthetic import face_set as drawn_faces
from secateur.data.synthetic.appearance import draw_looks
from secateur.data.synthetic.canvas import Pen
from secateur.data.synthetic.face import face_landmarks, head_outline, paint_face
from secateur.data.synthetic.face_set import (
    draw_jpeg,
    evaluated_faces,
    picture_name,
    write_drawn_set,
)
from secateur.data.synthetic.identity_set import write_drawn_identities
from secateur.data.synthetic.scene import LARGEST, SIZES, draw_picture
from secateur.data.wider_layout import find_layout
from secateur.errors import InputError


def files(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.suffix in (".jpg", ".txt")
    }


def test_picture_is_a_function_of_seed_split_and_index() -> None:
    first, _ = draw_jpeg(0, "train", 3)
    np.random.seed(0)
    assert draw_jpeg(0, "train", 3)[0] == first
    others = [draw_jpeg(1, "train", 3), draw_jpeg(0, "val", 3), draw_jpeg(0, "train", 4)]
    assert all(content != first for content, _ in others)


def test_boxes_lie_in_the_picture_and_sizes_vary() -> None:
    pictures = [draw_picture(np.random.default_rng(seed)) for seed in range(40)]
    for picture in pictures:
        assert picture.image.shape[:2] in SIZES
        height, width = picture.image.shape[:2]
        x, y, w, h = picture.boxes.T
        assert (picture.boxes[:, :2] >= 0).all()
        assert (x + w <= width).all()
        assert (y + h <= height).all()
        assert (w > 0).all()
        assert ((picture.visible >= 0.25) & (picture.visible <= 1)).all()
    heights = np.concatenate([picture.boxes[:, 3] for picture in pictures])
    assert heights.min() < 25
    assert 100 < heights.max() <= 1.15 * LARGEST
    assert 1 <= np.mean([len(picture.boxes) for picture in pictures]) <= 8


def test_box_is_that_of_the_painted_head() -> None:
    generator = np.random.default_rng(0)
    for _ in range(10):
        looks = draw_looks(generator)
        outline = head_outline(looks)
        assert outline[:, 1].min() == pytest.approx(-1, abs=0.01)
        assert outline[:, 1].max() == pytest.approx(1, abs=0.01)
        canvas = np.zeros((200, 200, 4), np.uint8)
        paint_face(Pen(canvas, [[50, 0, 100], [0, 50, 100]]), looks)
        x1, y1 = (outline.min(axis=0) * 50 + 100).astype(int)
        x2, y2 = (outline.max(axis=0) * 50 + 100).astype(int)
        assert (canvas[100, x1 + 3 : x2 - 3, 3] == 255).all()
        assert (canvas[y1 + 3 : y2 - 3, 100, 3] == 255).all()


def test_lists_follow_size_and_visibility() -> None:
    boxes = np.array([[0, 0, 40, 60], [0, 0, 40, 60], [0, 0, 20, 35], [0, 0, 8, 12], [0, 0, 5, 8]])
    visible = np.array([1.0, 0.7, 0.95, 0.3, 1.0])
    assert evaluated_faces(boxes, visible).tolist() == [
        [True, False, False, False, False],
        [True, True, True, False, False],
        [True, True, True, True, False],
    ]
    assert evaluated_faces(np.zeros((0, 4)), np.zeros(0)).shape == (3, 0)


def test_written_set_reads_back(tmp_path: Path) -> None:
    assert write_drawn_set(tmp_path / "set", n_train=5, n_val=3, seed=2)
    layout = find_layout(tmp_path / "set")
    train = read_annotations(layout.annotation_file("train"))
    val = read_annotations(layout.annotation_file("val"))
    truth = read_ground_truth(layout.ground_truth())
    assert [item.name for item in train] == [picture_name(index) for index in range(5)]
    assert [item.name for item in val] == list(truth.boxes)
    for index, item in enumerate(val):
        _, picture = draw_jpeg(2, "val", index)
        np.testing.assert_array_equal(item.boxes, picture.boxes)
        np.testing.assert_array_equal(truth.boxes[item.name], picture.boxes)
        np.testing.assert_array_equal(
            truth.evaluated[item.name], evaluated_faces(picture.boxes, picture.visible)
        )
        read = read_image(layout.images("val") / item.name)
        assert abs(read.astype(int) - picture.image).mean() < 12


def test_same_arguments_reuse_and_others_replace(tmp_path: Path) -> None:
    root = tmp_path / "set"
    assert write_drawn_set(root, 3, 2)
    before = files(root)
    stamp = (root / "drawn.json").stat().st_mtime_ns
    assert not write_drawn_set(root, 3, 2)
    assert (root / "drawn.json").stat().st_mtime_ns == stamp
    assert write_drawn_set(root, 4, 2)
    after = files(root)
    assert len(after) == len(before) + 1
    assert all(after[name] == content for name, content in before.items() if ".jpg" in name)


def test_another_drawing_code_replaces(tmp_path: Path) -> None:
    root = tmp_path / "set"
    write_drawn_set(root, 1, 1)
    record = json.loads((root / "drawn.json").read_text())
    (root / "drawn.json").write_text(json.dumps({**record, "fingerprint": 1}))
    assert write_drawn_set(root, 1, 1)


def test_interruption_leaves_nothing_and_the_old_set_intact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "set"
    write_drawn_set(root, 2, 1)
    before = files(root)

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(drawn_faces, "write_ground_truth", interrupt)
    for target in (root, tmp_path / "new"):
        with pytest.raises(KeyboardInterrupt):
            write_drawn_set(target, 3, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set"]
    assert files(root) == before


def test_foreign_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"precious")
    with pytest.raises(InputError, match=r"holds something other than drawn faces: set data.root"):
        write_drawn_set(tmp_path, 1, 1)
    assert (tmp_path / "holiday.jpg").read_bytes() == b"precious"
    with pytest.raises(InputError, match="cannot be written"):
        write_drawn_set(tmp_path / "holiday.jpg" / "set", 1, 1)
    with pytest.raises(InputError, match="at least one training"):
        write_drawn_set(tmp_path / "set", 0, 1)


def test_landmarks_lie_where_they_are_painted() -> None:
    generator = np.random.default_rng(1)
    for _ in range(10):
        looks = draw_looks(generator)
        canvas = np.zeros((200, 200, 4), np.uint8)
        pen = Pen(canvas, [[50, 0, 100], [0, 50, 100]])
        right_eye, left_eye, nose, right_mouth, left_mouth = face_landmarks(pen, looks)
        assert right_eye[0] < nose[0] < left_eye[0]
        assert right_mouth[0] < left_mouth[0]
        assert right_eye[1] == left_eye[1] < nose[1] < right_mouth[1]


def test_a_set_tells_five_landmarks_of_every_face(tmp_path: Path) -> None:
    write_drawn_set(tmp_path / "set", 2, 2)
    for split in ("train", "val"):
        layout = find_layout(tmp_path / "set", (split,))
        faces = read_annotations(layout.annotation_file(split))
        marked = read_landmark_annotations(layout.landmark_file(split))
        assert [item.name for item in marked] == [item.name for item in faces]
        for one, other in zip(marked, faces, strict=True):
            assert np.array_equal(one.boxes, other.boxes)
            assert one.landmarks is not None
            assert one.landmarks.shape == (len(one.boxes), 5, 3)
            assert (one.landmarks[..., 2] == 1).all()
            centers = one.boxes[:, :2] + one.boxes[:, 2:] / 2
            offsets = np.abs(one.landmarks[..., :2] - centers[:, None])
            assert (offsets <= one.boxes[:, None, 2:].max(axis=2, keepdims=True)).all()


def test_no_file_can_ask_for_endless_drawing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="100,000 are the most"):
        write_drawn_set(tmp_path / "set", n_train=10**12, n_val=1)
    with pytest.raises(InputError, match="100,000 are the most"):
        write_drawn_identities(tmp_path / "set", n_train=10**12, n_images=2, n_test=20)
