from __future__ import annotations

import json
from pathlib import Path

import pytest

from secateur.deploy.checksum import FIELD, UNKNOWN, is_intact, write_checksum


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with room for its checksum between weights."""
    path = tmp_path / "file"
    path.write_bytes(b"weights" + json.dumps({FIELD: UNKNOWN, "a": 1}).encode() + b"more weights")
    write_checksum(path)
    return path


def test_a_file_tells_whether_it_is_as_it_was_written(path: Path) -> None:
    content = path.read_bytes()
    assert is_intact(path)
    for place in (0, content.index(b'"a"'), len(content) - 1):
        damaged = bytearray(content)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        assert not is_intact(path)


def test_it_may_be_written_again_after_a_change(path: Path) -> None:
    before = path.read_bytes()
    path.write_bytes(before + b"!")
    write_checksum(path)
    assert is_intact(path)
    path.write_bytes(before)
    assert is_intact(path)


def test_a_file_without_one_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"somebody else's")
    write_checksum(path)
    assert path.read_bytes() == b"somebody else's"
    assert is_intact(path)
