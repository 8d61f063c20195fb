from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.data.identity_folders import (
    FolderImages,
    read_boxes,
    read_identity_folders,
    split_identities,
)
from secateur.errors import InputError


def write_people(root: Path, counts: dict[str, int], size: tuple[int, int] = (40, 60)) -> Path:
    """Folders with so many pictures, each of one grey level."""
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for number in range(1, count + 1):
            image = np.full((*size, 3), 10 * number, np.uint8)
            cv2.imwrite(str(root / name / f"{name}_{number:04d}.png"), image)
    return root


def test_folders_become_labels_in_the_order_of_names(tmp_path: Path) -> None:
    write_people(tmp_path, {"b": 2, "a": 1, "c": 3})
    (tmp_path / "notes.txt").write_text("no identity")
    (tmp_path / "c" / "notes.txt").write_text("no picture")
    found = read_identity_folders(tmp_path)
    assert found.identities == ("a", "b", "c")
    assert found.labels.tolist() == [0, 1, 1, 2, 2, 2]
    assert found.names[1] == "b/b_0001.png"
    fewer = read_identity_folders(tmp_path, min_images=2)
    assert fewer.identities == ("b", "c")
    assert fewer.left_out == 1


def test_no_identities_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no folder"):
        read_identity_folders(tmp_path / "nowhere")
    with pytest.raises(InputError, match="one folder per identity"):
        read_identity_folders(tmp_path)


@given(
    counts=st.lists(st.integers(2, 30), min_size=1, max_size=8),
    fraction=st.floats(0.01, 0.4),
    seed=st.integers(0, 5),
)
def test_split_holds_out_a_share_of_every_identity(
    counts: list[int], fraction: float, seed: int
) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    np.random.default_rng(seed).shuffle(labels)
    kept, held = split_identities(labels, fraction, seed)
    assert sorted([*kept, *held]) == list(range(len(labels)))
    assert np.all(np.diff(kept) > 0)
    for label, count in enumerate(counts):
        assert (labels[held] == label).sum() == max(1, round(count * fraction))
    again = split_identities(labels, fraction, seed)
    assert np.array_equal(held, again[1])


def test_identity_with_one_picture_cannot_be_split() -> None:
    labels = np.array([0, 0, 1, 2, 2])
    with pytest.raises(InputError, match=r"identity bob has 1 picture .*data.min_images=2"):
        split_identities(labels, 0.02, 0, ["ann", "bob", "eve"])
    kept, held = split_identities(labels, 0, 0)
    assert len(kept) == 5
    assert len(held) == 0
    with pytest.raises(InputError, match="holdout"):
        split_identities(labels, 1.0, 0)


def test_boxes_are_cut_out_enlarged(tmp_path: Path) -> None:
    write_people(tmp_path, {"a": 1}, size=(100, 200))
    picture = np.zeros((100, 200, 3), np.uint8)
    picture[20:60, 50:90] = 255
    cv2.imwrite(str(tmp_path / "a" / "a_0001.png"), picture)
    csv = tmp_path / "boxes.csv"
    csv.write_text('"NAME_ID","X","Y","W","H"\n"a/a_0001",50,20,40,40\n')
    boxes = read_boxes(csv)
    assert boxes == {"a/a_0001": (50, 20, 40, 40)}
    cut = FolderImages(tmp_path, ["a/a_0001.png"], boxes, enlarge=0.3)[0]
    assert cut.shape == (52, 52, 3)
    assert cut[6:46, 6:46].min() == 255
    assert cut[:6].max() == 0
    whole = FolderImages(tmp_path, ["a/a_0001.png"])[0]
    assert whole.shape == (100, 200, 3)
    centre = FolderImages(tmp_path, ["a/a_0001.png"], centre=0.6)[0]
    assert np.array_equal(centre, picture[20:80, 70:130])


def test_wrong_boxes_are_one_sentence(tmp_path: Path) -> None:
    csv = tmp_path / "boxes.csv"
    csv.write_text("NAME_ID,X,Y,W,H\na/a_0001,1,2,3,4\na/a_0002,1,two,3,4\n")
    with pytest.raises(InputError, match=r"boxes.csv, line 3, is no NAME_ID,X,Y,W,H"):
        read_boxes(csv)
    with pytest.raises(InputError, match="cannot be read"):
        read_boxes(tmp_path / "other.csv")
    with pytest.raises(InputError, match=r"1 of 1 pictures .* no box, the first is a/a_0002.png"):
        FolderImages(tmp_path, ["a/a_0002.png"], {"a/a_0001": (1, 2, 3, 4)})


def test_unreadable_picture_is_one_sentence(tmp_path: Path) -> None:
    write_people(tmp_path, {"a": 1})
    path = tmp_path / "a" / "a_0001.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(InputError, match=r"a_0001.png is not a readable picture"):
        FolderImages(tmp_path, ["a/a_0001.png"])[0]
