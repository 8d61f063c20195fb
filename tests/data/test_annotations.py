"""The annotation text: what is read, and what each kind of damage says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.data.annotations import (
    Annotation,
    read_annotations,
    without_degenerate_boxes,
    write_annotations,
)
from secateur.errors import InputError

GOOD = (
    "0--Parade/a.jpg\n2\n1 2 3 4 0 0 0 0 0 0 \n5 6 7 8 2 0 1 0 0 0 \n"
    "0--Parade/b.jpg\n0\n0 0 0 0 0 0 0 0 0 0 \n"
    "1--Handshaking/c.jpg\n1\n9 10 0 12 0 0 0 0 0 0 \n"
)


def write(path: Path, text: str) -> Path:
    file = path / "faces.txt"
    file.write_text(text)
    return file


def test_official_form(tmp_path: Path) -> None:
    first, empty, last = read_annotations(write(tmp_path, GOOD))
    assert [first.name, empty.name, last.name] == [
        "0--Parade/a.jpg",
        "0--Parade/b.jpg",
        "1--Handshaking/c.jpg",
    ]
    assert first.boxes.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert first.boxes.dtype == np.float32
    assert empty.boxes.shape == (0, 4)


def test_count_zero_without_the_line_of_zeros(tmp_path: Path) -> None:
    items = read_annotations(write(tmp_path, "a/a.jpg\n0\na/b.jpg\n1\n1 2 3 4\n"))
    assert [len(item.boxes) for item in items] == [0, 1]


def test_degenerate_boxes_go_and_pictures_stay(tmp_path: Path) -> None:
    items = without_degenerate_boxes(read_annotations(write(tmp_path, GOOD)))
    assert [len(item.boxes) for item in items] == [2, 0, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty: get wider_face_split.zip again"),
        ("\n\n", "is empty"),
        ("a/a.jpg\n", r"line 1: the file ends after the name a/a.jpg"),
        ("a/a.jpg\n3\n1 2 3 4\n", r"line 3: the file ends in the middle of a/a.jpg: 1 of 3 faces"),
        ("a/a.jpg\n2\n", r"line 2: the file ends in the middle of a/a.jpg: 0 of 2 faces"),
        (GOOD[: GOOD.index("8 2 0")], r"line 4: a face of .* needs 10 numbers .*, got '5 6 7'"),
        ("a/a.jpg\n1\n1 2 3\n", r"line 3: a face of a/a.jpg needs at least 4 numbers"),
        ("a/a.jpg\nmany\n", r"line 2: expected the count of faces of a/a.jpg, got 'many'"),
        ("a/a.jpg\n-1\n", r"line 2: expected the count"),
        ("a/a.jpg\n1\n1 2 x 4\n", r"line 3: a face of a/a.jpg is not four numbers: '1 2 x 4'"),
        ("a/a.jpg\n1\n1 2 nan 4\n", r"line 3: .* not finite"),
        ("a/a.jpg\n1\n1 2 inf 4\n", r"line 3: .* not finite"),
        ("a/a.jpg\n1\n1 2 3 4\n5 6 7 8\n", r"line 4: expected a picture name .*, got '5 6 7 8'"),
        ("../../etc/a.jpg\n0\n", r"line 1: the picture name .* leaves the folder of images"),
        ("/etc/a.jpg\n0\n", r"line 1: the picture name .* leaves the folder of images"),
    ],
)
def test_damage_is_named_with_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(InputError, match=message) as error:
        read_annotations(file)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_and_binary_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is missing: unpack wider_face_split.zip"):
        read_annotations(tmp_path / "nothing.txt")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(InputError, match="cannot be read as text"):
        read_annotations(tmp_path / "binary.txt")


@given(cut=st.integers(0, len(GOOD) - 1))
def test_any_cut_is_an_error_or_a_shorter_list(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    file = tmp_path_factory.mktemp("cut") / "faces.txt"
    file.write_text(GOOD[:cut])
    whole = [(2, "0--Parade/a.jpg"), (0, "0--Parade/b.jpg"), (1, "1--Handshaking/c.jpg")]
    try:
        items = read_annotations(file)
    except InputError:
        return
    assert [(len(item.boxes), item.name) for item in items] == whole[: len(items)]


def test_round_trip(tmp_path: Path) -> None:
    items = [
        Annotation("a/a.jpg", np.array([[1, 2, 3, 4], [0.5, 1.25, 1e5, 7]], np.float32)),
        Annotation("a/b.jpg", np.zeros((0, 4), np.float32)),
        Annotation("b/c.jpg", np.array([[11, 22, 33, 44]], np.float32)),
    ]
    write_annotations(tmp_path / "out.txt", items)
    again = read_annotations(tmp_path / "out.txt")
    assert [item.name for item in again] == [item.name for item in items]
    for one, two in zip(items, again, strict=True):
        np.testing.assert_array_equal(one.boxes, two.boxes)


def test_real_lists(reference: Path) -> None:
    folder = reference / "data" / "widerface_mini" / "wider_face_split"
    train = read_annotations(folder / "wider_face_train_bbx_gt.txt")
    val = read_annotations(folder / "wider_face_val_bbx_gt.txt")
    assert (len(train), len(val)) == (41 + 578, 16 + 100)
    handshaking = [item for item in train if item.name.startswith("1--")]
    official = [item for item in val if not item.name.startswith("62--")]
    assert sum(len(item.boxes) for item in handshaking) == 204
    assert sum(len(item.boxes) for item in official) == 201
