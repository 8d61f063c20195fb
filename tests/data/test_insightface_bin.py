from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from secateur.data.insightface_bin import read_bin_set
from secateur.errors import InputError


def png(level: int) -> bytes:
    return bytes(cv2.imencode(".png", np.full((8, 8, 3), level, np.uint8))[1])


def write(path: Path, value: object, protocol: int) -> Path:
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_sets_of_every_protocol_are_read(tmp_path: Path, protocol: int) -> None:
    content = ([png(level) for level in range(24)], [True, False] * 6)
    found = read_bin_set(write(tmp_path / "lfw.bin", content, protocol))
    assert found.encoded == tuple(content[0])
    assert found[5].shape == (8, 8, 3)
    assert found[5].min() == found[5].max() == 5
    pairs = found.pairs()
    assert pairs.same.tolist() == content[1]
    assert pairs.first.tolist() == list(range(0, 24, 2))
    assert pairs.second.tolist() == list(range(1, 24, 2))
    assert pairs.fold.tolist() == [0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9]


def test_bytes_of_python_2_are_bytes(tmp_path: Path) -> None:
    # (['ab', '\\xff'], [True]) as Python 2 pickles it with protocol 2
    path = tmp_path / "old.bin"
    path.write_bytes(b"\x80\x02]q\x00(U\x02abq\x01U\x01\xffq\x02e]q\x03\x88a\x86q\x04.")
    assert read_bin_set(path).encoded == (b"ab", b"\xff")


class Exploit:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("exploited"),))


def test_nothing_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "evil.bin", ([Exploit(), b""], [True]), 4)
    with pytest.raises(InputError, match=r"asks to run .* nothing in a data file is executed"):
        read_bin_set(path)
    assert not (tmp_path / "exploited").exists()
    arrays = write(tmp_path / "arrays.bin", ([np.zeros(2), b""], [True]), 4)
    with pytest.raises(InputError, match="asks to run numpy"):
        read_bin_set(arrays)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": 1}, "does not hold a list of pictures"),
        (([b"a", "b"], [True]), "does not hold a list of pictures"),
        (([b"a", b"b"], ["yes"]), "does not hold a list of pictures"),
        (([], []), "does not hold a list of pictures"),
        (([b"a", b"b", b"c"], [True]), "3 pictures for 1 pairs, not twice as many"),
    ],
)
def test_other_contents_are_one_sentence(tmp_path: Path, value: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_bin_set(write(tmp_path / "some.bin", value, 4))


def test_damage_is_one_sentence(tmp_path: Path) -> None:
    path = write(tmp_path / "lfw.bin", ([png(1), png(2)], [True]), 4)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="no intact verification set"):
        read_bin_set(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_bin_set(tmp_path / "none.bin")
    found = read_bin_set(write(tmp_path / "bad.bin", ([png(1)[:30], png(2)], [True]), 4))
    with pytest.raises(InputError, match=r"picture 0 of bad.bin is not a readable picture"):
        found[0]
