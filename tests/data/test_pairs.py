from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from secateur.data.pairs import check_pictures, draw_pairs, read_pairs, write_pairs
from secateur.errors import InputError

ROWS = [
    ("ann", "1", "4"),
    ("bob", "1", "2"),
    ("ann", "1", "bob", "3"),
    ("eve", "7", "bob", "1"),
    ("eve", "1", "2"),
    ("zoe", "1", "2"),
    ("eve", "1", "zoe", "1"),
    ("zoe", "2", "eve", "2"),
]


def test_pairs_of_lfw_are_read_as_written(tmp_path: Path) -> None:
    path = tmp_path / "pairs.txt"
    write_pairs(path, ROWS, n_folds=2, per_kind=2)
    assert path.read_text().startswith("2\t2\nann\t1\t4\n")
    names, pairs = read_pairs(path)
    assert names[:3] == ("ann/ann_0001.jpg", "ann/ann_0004.jpg", "bob/bob_0001.jpg")
    assert len(names) == len(set(names))
    assert pairs.same.tolist() == [True, True, False, False] * 2
    assert pairs.fold.tolist() == [0] * 4 + [1] * 4
    assert names[pairs.first[3]] == "eve/eve_0007.jpg"
    assert names[pairs.second[3]] == "bob/bob_0001.jpg"


def test_one_number_means_one_fold(tmp_path: Path) -> None:
    path = tmp_path / "pairsDevTest.txt"
    path.write_text("1\nann\t1\t2\nann\t1\tbob\t1\n")
    assert read_pairs(path)[1].fold.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "does not start with the numbers"),
        ("ann 1 2\n", "does not start with the numbers"),
        ("1\t2\nann\t1\t2\n", r"has 1 pairs and its first line says 1 folds of 2 x 2"),
        ("1\t1\nann\t1\tbob\t1\nann\t1\t2\n", r"line 2, should be name i j and is 'ann 1 bob 1'"),
        ("1\t1\nann\t1\t2\nann\tone\tbob\t1\n", r"line 3, should be name i name j"),
    ],
)
def test_malformed_pairs_are_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "pairs.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_pairs(path)


def test_missing_files_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_pairs(tmp_path / "pairs.txt")
    (tmp_path / "ann").mkdir()
    (tmp_path / "ann" / "ann_0001.jpg").touch()
    names = ["ann/ann_0001.jpg", "ann/ann_0002.jpg"]
    with pytest.raises(InputError, match=r"1 of the 2 .* the first is ann/ann_0002.jpg"):
        check_pictures(tmp_path, names, Path("pairs.txt"))


def test_pairs_of_the_reference_set(reference: Path) -> None:
    root = reference / "data/lfw"
    names, pairs = read_pairs(root / "pairs.txt")
    check_pictures(root / "test", names, root / "pairs.txt")
    assert len(pairs) == 1200
    assert pairs.same.sum() == 600
    assert set(pairs.fold.tolist()) == {0, 1}


def test_drawn_pairs_are_right_distinct_and_share_no_one_between_folds() -> None:
    labels = np.repeat(np.arange(30), np.r_[np.full(20, 6), np.full(10, 1)])
    pairs = draw_pairs(labels, per_kind=15, n_folds=5, seed=3)
    assert len(pairs) == 5 * 30
    assert np.array_equal(labels[pairs.first] == labels[pairs.second], pairs.same)
    assert pairs.same.sum() == 75
    assert len({*zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)}) == len(pairs)
    people = [
        {*labels[pairs.first[pairs.fold == fold]], *labels[pairs.second[pairs.fold == fold]]}
        for fold in range(5)
    ]
    assert sum(map(len, people)) == len(set().union(*people))
    again = draw_pairs(labels, per_kind=15, n_folds=5, seed=3)
    assert np.array_equal(pairs.first, again.first)


def test_too_few_pictures_give_fewer_pairs_or_one_sentence() -> None:
    pairs = draw_pairs(np.array([0, 0, 1, 1]), per_kind=10, n_folds=10, seed=0)
    assert pairs.same.sum() == 2
    assert len(pairs) == 6
    for labels in ([0, 0, 0], [0, 1, 2], []):
        with pytest.raises(InputError, match="make no pairs to verify"):
            draw_pairs(np.array(labels, dtype=np.int64), 10, 10, 0)
