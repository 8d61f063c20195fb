"""Finding the parts of WIDER FACE, and what is said when one is missing."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torchvision.datasets

from secateur.data.ground_truth import GroundTruth, write_ground_truth
from secateur.data.wider_layout import find_layout
from secateur.errors import InputError


def make_layout(root: Path) -> Path:
    for split in ("train", "val"):
        (root / f"WIDER_{split}" / "images").mkdir(parents=True)
    (root / "wider_face_split").mkdir()
    for split in ("train", "val"):
        (root / "wider_face_split" / f"wider_face_{split}_bbx_gt.txt").write_text("a/a.jpg\n0\n")
    return root


def write_lists(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    truth = GroundTruth({"a/a.jpg": np.zeros((0, 4))}, {"a/a.jpg": np.zeros((3, 0), bool)})
    write_ground_truth(folder, truth)


def test_plain_root(tmp_path: Path) -> None:
    layout = find_layout(make_layout(tmp_path))
    assert layout.images("val") == tmp_path / "WIDER_val" / "images"
    assert layout.annotation_file("train").name == "wider_face_train_bbx_gt.txt"


def test_root_of_torchvision(tmp_path: Path) -> None:
    make_layout(tmp_path / "widerface")
    assert find_layout(str(tmp_path)).root == tmp_path / "widerface"


@pytest.mark.parametrize("place", ["ground_truth", "wider_face_split", "eval_tools/ground_truth"])
def test_places_of_the_lists(tmp_path: Path, place: str) -> None:
    layout = find_layout(make_layout(tmp_path))
    with pytest.raises(InputError, match=r"lacks wider_face_val.mat, .*eval_tools.zip"):
        layout.ground_truth()
    write_lists(tmp_path / place)
    assert layout.ground_truth() == tmp_path / place


def test_only_what_is_asked_for_must_be_there(tmp_path: Path) -> None:
    make_layout(tmp_path)
    shutil.rmtree(tmp_path / "WIDER_train")
    find_layout(tmp_path, ["val"])
    with pytest.raises(InputError, match=r"WIDER_train/images is missing: unpack WIDER_train.zip"):
        find_layout(tmp_path)


def test_missing_root_and_text(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data root .*nowhere does not exist: set data.root"):
        find_layout(tmp_path / "nowhere")
    make_layout(tmp_path)
    (tmp_path / "wider_face_split" / "wider_face_val_bbx_gt.txt").unlink()
    with pytest.raises(InputError, match=r"val_bbx_gt.txt is missing: unpack wider_face_split.zip"):
        find_layout(tmp_path)


def test_download_asks_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, bool]] = []

    def download(root: str, split: str, download: bool) -> None:
        asked.append((split, download))
        if not (Path(root) / "widerface").is_dir():
            make_layout(Path(root) / "widerface")

    def fetch(url: str, root: str) -> None:
        assert url.endswith("eval_tools.zip")
        write_lists(Path(root) / "eval_tools" / "ground_truth")

    monkeypatch.setattr(torchvision.datasets, "WIDERFace", download)
    monkeypatch.setattr(torchvision.datasets.utils, "download_and_extract_archive", fetch)
    layout = find_layout(tmp_path / "new", download=True)
    assert asked == [("train", True), ("val", True)]
    assert layout.ground_truth() == tmp_path / "new" / "widerface" / "eval_tools" / "ground_truth"


def test_failed_download_tells_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(root: str, split: str, download: bool) -> None:
        raise RuntimeError("no network")

    monkeypatch.setattr(torchvision.datasets, "WIDERFace", download)
    with pytest.raises(InputError, match=r"cannot be fetched .*no network.*data.download=false"):
        find_layout(tmp_path, download=True)
