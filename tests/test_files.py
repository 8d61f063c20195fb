from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from secateur.files import atomic_write, new_folder, replacing, write_json


def test_files_are_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.txt"
    assert atomic_write(path, "häuser\n") == path
    atomic_write(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = atomic_write(tmp_path / "a.txt", "old")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half of the n")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_takes_away_the_folders_that_it_made(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        with replacing(path):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail(tmp_path / "new" / "newer" / "a.txt")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "old").mkdir()
    with pytest.raises(RuntimeError):
        fail(tmp_path / "old" / "new" / "a.txt")
    assert list((tmp_path / "old").iterdir()) == []


def test_a_new_folder_stays_for_what_is_in_it(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        with new_folder(folder / "b"):
            (folder / "kept.txt").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail(tmp_path / "a")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "kept.txt"]
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError), new_folder(tmp_path / "file" / "a"):
        pass
    with new_folder(tmp_path / "a" / "c"):
        pass
    assert (tmp_path / "a" / "c").is_dir()


def test_json_takes_results_as_they_are(tmp_path: Path) -> None:
    @dataclasses.dataclass(frozen=True, slots=True)
    class Result:
        mask: torch.Tensor
        score: np.float32
        where: Path

    path = write_json(
        tmp_path / "a.json",
        {"b": [Result(torch.tensor([True, False]), np.float32(0.5), Path("x"))], "a": np.arange(2)},
    )
    assert path.read_text().startswith('{\n  "b"')
    expected = {"b": [{"mask": [True, False], "score": 0.5, "where": "x"}], "a": [0, 1]}
    assert json.loads(path.read_text()) == expected


def test_what_json_cannot_say_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", [float("nan")])
    with pytest.raises(TypeError, match="object cannot be written as JSON"):
        write_json(tmp_path / "a.json", [object()])
    assert list(tmp_path.iterdir()) == []
