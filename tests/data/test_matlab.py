"""The reader of MATLAB files against SciPy's, and on files that are none."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur.data.ground_truth import FILES
from secateur.data.matlab import read_matlab
from secateur.errors import InputError

REFERENCE = Path(os.environ.get("SECATEUR_REFERENCE", "absent"))


def cells(*items: Any) -> np.ndarray:
    array = np.empty((len(items), 1), dtype=object)
    for row, item in enumerate(items):
        array[row, 0] = item
    return array


def assert_same(found: np.ndarray, wanted: np.ndarray) -> None:
    assert found.dtype == wanted.dtype
    assert found.shape == wanted.shape
    if found.dtype == object:
        for one, other in zip(found.ravel(), wanted.ravel(), strict=True):
            assert_same(one, other)
    else:
        assert found.tobytes() == wanted.tobytes()


def written(path: Path, compressed: bool) -> Path:
    faces = cells(np.arange(8, dtype=np.int32).reshape(2, 4), np.array([[1.5, 2, 3, 4]]))
    content = {
        "event_list": cells(np.array(["0--Parade"]), np.array(["Übung"])),
        "face_bbx_list": cells(faces, cells(np.zeros((0, 4), np.uint8))),
        "numbers": np.array([[1, 2, 300]], np.uint16),
    }
    scipy.io.savemat(path, content, do_compression=compressed)
    return path


@pytest.mark.parametrize("compressed", [False, True])
def test_small_files_are_read_as_scipy_reads_them(tmp_path: Path, compressed: bool) -> None:
    path = written(tmp_path / "a.mat", compressed)
    wanted = {k: v for k, v in scipy.io.loadmat(path).items() if not k.startswith("__")}
    found = read_matlab(path, "get it again")
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        assert_same(found[name], array)


@pytest.mark.skipif(not REFERENCE.is_dir(), reason="SECATEUR_REFERENCE is not set")
@pytest.mark.parametrize("file", FILES)
def test_the_official_files_are_read_bit_for_bit_as_scipy_reads_them(file: str) -> None:
    path = REFERENCE / "data" / "widerface_plus" / "ground_truth" / file
    wanted = {k: v for k, v in scipy.io.loadmat(path).items() if not k.startswith("__")}
    found = read_matlab(path, "get it again")
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        assert_same(found[name], array)


def test_variables_that_nobody_wants_are_left_out(tmp_path: Path) -> None:
    path = written(tmp_path / "a.mat", compressed=True)
    assert set(read_matlab(path, "get it again", ["numbers"])) == {"numbers"}


def test_a_small_file_that_unpacks_to_gigabytes_is_refused(tmp_path: Path) -> None:
    packed = zlib.compress(struct.pack("<II", 14, 0) + bytes(200_000_000))
    path = tmp_path / "bomb.mat"
    header = (b"MATLAB 5.0".ljust(124, b" ")) + b"\x00\x01IM"
    path.write_bytes(header + struct.pack("<II", 15, len(packed)) + packed)
    with pytest.raises(InputError, match="unpacks to more than 32 MB"):
        read_matlab(path, "get it again")


def test_a_cell_array_that_says_it_is_huge_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.mat", compressed=False)
    content = path.read_bytes()
    place = content.index(struct.pack("<II", 5, 8)) + 8
    path.write_bytes(content[:place] + b"\xff\xff\xff\x7f" + content[place + 4 :])
    with pytest.raises(InputError, match="is cut short"):
        read_matlab(path, "get it again")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_damage_ends_in_anything_but_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.getbasetemp()
    content = bytearray(written(folder / "seed.mat", compressed=False).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = folder / "damaged.mat"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        read_matlab(path, "get it again")
    except InputError as error:
        assert str(path) in str(error)  # noqa: PT017
