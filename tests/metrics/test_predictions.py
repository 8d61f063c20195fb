from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from secateur.errors import InputError
from secateur.metrics.predictions import (
    as_written,
    from_corners,
    read_prediction_file,
    read_predictions,
    write_predictions,
)

ROWS = np.array([[1.26, 2, 30.04, 4, 0.98765], [-5, 0, 7, 8.5, 0.05]])


def test_written_files_read_back(tmp_path: Path) -> None:
    write_predictions(tmp_path, {"0--Parade/a.b_1.jpg": ROWS, "0--Parade/2.jpg": np.empty((0, 5))})
    text = (tmp_path / "0--Parade/a.b_1.txt").read_text()
    assert text == "0--Parade/a.b_1.jpg\n2\n1.3 2.0 30.0 4.0 0.988\n-5.0 0.0 7.0 8.5 0.050\n"
    names = ["0--Parade/a.b_1.jpg", "0--Parade/2.jpg", "0--Parade/3.jpg"]
    got = read_predictions(tmp_path, names)
    assert got.missing == ("0--Parade/3.jpg",)
    np.testing.assert_allclose(got.boxes[names[0]], [[1.3, 2, 30, 4, 0.988], [-5, 0, 7, 8.5, 0.05]])
    assert got.boxes[names[1]].shape == (0, 5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "ends before line 2"),
        ("a.jpg\n", "ends before line 2"),
        ("a.jpg\nmany\n", "line 2: 'many' is not a number of faces"),
        ("a.jpg\n-1\n", "line 2: '-1' is not a number of faces"),
        ("a.jpg\n2\n1 2 3 4 0.5\n", "line 2: 2 faces are announced, but 1 follow"),
        ("a.jpg\n1\n1 2 3 4 0.5\n1 2 3 4 0.5\n", "1 faces are announced, but 2 follow"),
        ("a.jpg\n2\n1 2 3 4 0.5\n1 2 3 4\n", r"line 4: 5 numbers .* got 4"),
        ("a.jpg\n2\n1 2 3 4\n1 2 3 4 5 0.5\n", r"line 3: 5 numbers .* got 4"),
        ("a.jpg\n1\n1 2 3 4 nan\n", "line 3: 'nan' is not a finite number"),
        ("a.jpg\n1\n1 2 three 4 0.5\n", "line 3: 'three' is not a finite number"),
    ],
)
def test_malformed_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_prediction_file(path)
    assert str(path) in str(caught.value)


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(InputError, match="not a text file"):
        read_prediction_file(tmp_path / "a.txt")


def test_windows_line_ends_and_blank_ends_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"a\r\n1\r\n1 2 3 4 1e-1\r\n\r\n")
    assert read_prediction_file(tmp_path / "a.txt").tolist() == [[1, 2, 3, 4, 0.1]]


def test_a_folder_without_any_prediction_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no folder of predictions"):
        read_predictions(tmp_path / "nope", ["e/a.jpg"])
    with pytest.raises(InputError, match=r"no prediction for any of the 1 pictures.*e/a.txt"):
        read_predictions(tmp_path, ["e/a.jpg"])


def test_corners_span_whole_pixels() -> None:
    assert from_corners([[1, 2, 10, 5, 0.5]]).tolist() == [[1, 2, 10, 4, 0.5]]
    assert from_corners(np.empty((0, 5))).shape == (0, 5)


def test_boxes_as_written_are_those_read_back(tmp_path: Path) -> None:
    boxes = np.random.default_rng(0).normal(size=(200, 5)) * [500, 500, 90, 90, 1]
    write_predictions(tmp_path, {"e/a.jpg": boxes})
    assert np.array_equal(read_prediction_file(tmp_path / "e/a.txt"), as_written(boxes))
    assert as_written(np.empty((0, 5))).shape == (0, 5)
