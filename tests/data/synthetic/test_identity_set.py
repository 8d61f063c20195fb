from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from secateur.data.identity_folders import read_identity_folders
from secateur.data.pairs import check_pictures, read_pairs
from secateur.data.synthetic.identity_set import (
    SIDE,
    draw_portrait,
    identity_looks,
    write_drawn_identities,
)
from secateur.errors import InputError


def test_portraits_are_functions_of_their_arguments() -> None:
    first = draw_portrait(0, "train", 3, 1)
    assert first.shape == (SIDE, SIDE, 3)
    assert np.array_equal(first, draw_portrait(0, "train", 3, 1))
    others = [(1, "train", 3, 1), (0, "test", 3, 1), (0, "train", 4, 1), (0, "train", 3, 2)]
    assert all(not np.array_equal(first, draw_portrait(*other)) for other in others)  # type: ignore[arg-type]


def test_people_of_the_two_splits_differ() -> None:
    looks = {identity_looks(0, split, k) for split in ("train", "test") for k in range(40)}  # type: ignore[arg-type]
    assert len(looks) == 80


def test_set_is_written_once_in_the_layout_of_lfw(tmp_path: Path) -> None:
    root = tmp_path / "people"
    assert write_drawn_identities(root, 2, 2, 20)
    assert not write_drawn_identities(root, 2, 2, 20)
    found = read_identity_folders(root / "train")
    assert found.labels.tolist() == [0, 0, 1, 1]
    names, pairs = read_pairs(root / "pairs.txt")
    check_pictures(root / "test", names, root / "pairs.txt")
    assert len(pairs) == 600
    people = np.array([name.split("/")[0] for name in names])
    assert np.array_equal(people[pairs.first] == people[pairs.second], pairs.same)


def test_impossible_numbers_and_foreign_folders_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="20 to test"):
        write_drawn_identities(tmp_path / "people", 2, 2, 5)
    (tmp_path / "mine.txt").touch()
    with pytest.raises(InputError, match="something other than drawn faces"):
        write_drawn_identities(tmp_path, 2, 2, 20)
