"""The four .mat files: official content, round trip, damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.io

from secateur.data.ground_truth import FILES, GroundTruth, read_ground_truth, write_ground_truth
from secateur.errors import InputError


@pytest.fixture(scope="module")
def official(reference: Path) -> GroundTruth:
    return read_ground_truth(reference / "data" / "widerface_mini" / "ground_truth")


@pytest.fixture
def small() -> GroundTruth:
    generator = np.random.default_rng(0)
    names = ["0--A/x_1.jpg", "0--A/x_2.jpg", "0--A/none.jpg", "1--B/x_1.jpg"]
    counts = [3, 1, 0, 300]
    boxes = {
        name: generator.integers(0, 500, (count, 4)).astype(np.float64)
        for name, count in zip(names, counts, strict=True)
    }
    evaluated = {
        name: generator.random((3, count)) < 0.5 for name, count in zip(names, counts, strict=True)
    }
    return GroundTruth(boxes, evaluated)


def assert_equal(one: GroundTruth, two: GroundTruth) -> None:
    assert list(one.boxes) == list(two.boxes) == list(two.evaluated)
    for name in one.boxes:
        np.testing.assert_array_equal(one.boxes[name], two.boxes[name])
        np.testing.assert_array_equal(one.evaluated[name], two.evaluated[name])


def test_official_counts(official: GroundTruth) -> None:
    assert len(official) == 3226
    assert sum(len(boxes) for boxes in official.boxes.values()) == 39_708
    per_setting = sum(mask.sum(axis=1) for mask in official.evaluated.values())
    assert per_setting.tolist() == [7211, 13_319, 31_958]


def test_official_boxes_equal_the_text(official: GroundTruth, reference: Path) -> None:
    from secateur.data.annotations import read_annotations

    split = reference / "data" / "widerface_mini" / "wider_face_split"
    items = read_annotations(split / "wider_face_val_bbx_gt.txt")
    listed = [item for item in items if item.name in official.boxes]
    assert len(listed) == 16
    for item in listed:
        np.testing.assert_array_equal(item.boxes, official.boxes[item.name])


def test_restrict_keeps_the_official_order(small: GroundTruth) -> None:
    part = small.restrict(["1--B/x_1.jpg", "unknown.jpg", "0--A/x_2.jpg"])
    assert list(part.boxes) == list(part.evaluated) == ["0--A/x_2.jpg", "1--B/x_1.jpg"]
    assert len(part) == 2


def test_round_trip(small: GroundTruth, tmp_path: Path) -> None:
    write_ground_truth(tmp_path, small)
    assert_equal(small, read_ground_truth(tmp_path))


def test_round_trip_keeps_fractions(tmp_path: Path) -> None:
    truth = GroundTruth({"e/a.jpg": np.array([[1.5, 2, 3, 4]])}, {"e/a.jpg": np.ones((3, 1), bool)})
    write_ground_truth(tmp_path, truth)
    assert_equal(truth, read_ground_truth(tmp_path))


def test_round_trip_of_the_official_files(official: GroundTruth, tmp_path: Path) -> None:
    part = official.restrict(list(official.boxes)[::20])
    write_ground_truth(tmp_path, part)
    assert_equal(part, read_ground_truth(tmp_path))


def test_written_structure_is_the_official_one(small: GroundTruth, tmp_path: Path) -> None:
    write_ground_truth(tmp_path, small)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)
    content = scipy.io.loadmat(tmp_path / "wider_easy_val.mat")
    assert content["event_list"].shape == content["gt_list"].shape == (2, 1)
    assert content["event_list"][0, 0][0] == "0--A"
    assert content["file_list"][0, 0][0, 0][0] == "x_1"  # no suffix
    assert content["face_bbx_list"][0, 0][0, 0].dtype == np.int32
    first = content["gt_list"][0, 0][0, 0]
    assert first.shape == (small.evaluated["0--A/x_1.jpg"][0].sum(), 1)  # 1-based column
    np.testing.assert_array_equal(
        first.ravel(), np.flatnonzero(small.evaluated["0--A/x_1.jpg"][0]) + 1
    )


def test_scattered_events_are_refused(tmp_path: Path) -> None:
    names = ["a/1.jpg", "b/1.jpg", "a/2.jpg"]
    truth = GroundTruth(
        {name: np.zeros((0, 4)) for name in names},
        {name: np.zeros((3, 0), bool) for name in names},
    )
    with pytest.raises(ValueError, match="follow each other"):
        write_ground_truth(tmp_path, truth)


def test_damage_is_named(small: GroundTruth, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"wider_face_val.mat is missing: get the four files"):
        read_ground_truth(tmp_path)
    write_ground_truth(tmp_path, small)
    easy = tmp_path / "wider_easy_val.mat"
    content = easy.read_bytes()
    easy.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"wider_easy_val.mat is not a readable MATLAB file"):
        read_ground_truth(tmp_path)
    scipy.io.savemat(easy, {"other": np.zeros(3)})
    with pytest.raises(InputError, match=r"wider_easy_val.mat has no cell array gt_list"):
        read_ground_truth(tmp_path)


def test_lists_that_do_not_fit_are_named(small: GroundTruth, tmp_path: Path) -> None:
    write_ground_truth(tmp_path, small)
    names = list(small.boxes)
    other = small.restrict(names[:1])
    folder = tmp_path / "other"
    folder.mkdir()
    write_ground_truth(folder, other)
    (tmp_path / "wider_hard_val.mat").write_bytes((folder / "wider_hard_val.mat").read_bytes())
    with pytest.raises(InputError, match=r"wider_hard_val.mat has no entry for 0--A/x_2.jpg"):
        read_ground_truth(tmp_path)
    wrong = GroundTruth(
        {**small.boxes, names[0]: np.zeros((9, 4))},
        {**small.evaluated, names[0]: np.ones((3, 9), bool)},
    )
    write_ground_truth(folder, wrong)
    (tmp_path / "wider_hard_val.mat").write_bytes((folder / "wider_hard_val.mat").read_bytes())
    with pytest.raises(InputError, match=r"wider_hard_val.mat names face 9 of 3 in 0--A/x_1.jpg"):
        read_ground_truth(tmp_path)
