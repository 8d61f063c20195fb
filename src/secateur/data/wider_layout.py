"""The official folder layout of WIDER FACE under one root."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from secateur.data.ground_truth import FILES
from secateur.errors import InputError

Split = Literal["train", "val"]

_EVALUATION_TOOLS = "http://shuoyang1213.me/WIDERFACE/support/eval_script/eval_tools.zip"

_SOURCES = {
    "images": "unpack WIDER_{split}.zip from http://shuoyang1213.me/WIDERFACE there",
    "text": "unpack wider_face_split.zip from http://shuoyang1213.me/WIDERFACE there",
}


@dataclass(frozen=True, slots=True)
class WiderLayout:
    """Where the parts of a set in the layout of WIDER FACE lie.

    Attributes:
        root: Folder with ``WIDER_train``, ``WIDER_val`` and ``wider_face_split``.
    """

    root: Path

    def images(self, split: Split) -> Path:
        """Folder with one folder of pictures per event."""
        return self.root / f"WIDER_{split}" / "images"

    def annotation_file(self, split: Split) -> Path:
        """The annotation text of a split."""
        return self.root / "wider_face_split" / f"wider_face_{split}_bbx_gt.txt"

    def landmark_file(self, split: Split) -> Path:
        """The annotation with landmarks of a split, where SCRFD and YuNet look for it."""
        return self.root / "labelv2" / split / "labelv2.txt"

    def ground_truth(self) -> Path:
        """Folder with the four .mat files of the validation split.

        Raises:
            InputError: If no usual place has all four.
        """
        places = [
            self.root / place
            for place in ("ground_truth", "eval_tools/ground_truth", "wider_face_split")
        ]
        for folder in places:
            if all((folder / name).is_file() for name in FILES):
                return folder
        missing = [name for name in FILES if not (places[0] / name).is_file()]
        raise InputError(
            f"{places[0]} lacks {', '.join(missing)}: copy ground_truth/ of {_EVALUATION_TOOLS} "
            "there, or set data.official_lists=false to evaluate all faces as one list"
        )


def find_layout(
    root: str | Path, splits: Sequence[Split] = ("train", "val"), download: bool = False
) -> WiderLayout:
    """Find the parts under a root, or say what is missing and how to get it.

    Args:
        root: Folder with ``WIDER_val`` and so on, or the one in which torchvision made its
            ``widerface`` folder.
        splits: Splits that must be there.
        download: Fetch missing parts through torchvision, and the .mat files.

    Returns:
        The layout with existing images and annotation text.

    Raises:
        InputError: If something is missing.
    """
    root = Path(root).expanduser()
    if download:
        _download(root, splits)
    if not root.is_dir():
        raise InputError(
            f"the data root {root} does not exist: set data.root to the folder that holds "
            "WIDER_train, WIDER_val and wider_face_split, or data.download=true to fetch them there"
        )
    nested = root / "widerface"
    layout = WiderLayout(nested if nested.is_dir() else root)
    for split in splits:
        if not layout.images(split).is_dir():
            remedy = _SOURCES["images"].format(split=split)
            raise InputError(f"{layout.images(split)} is missing: {remedy}")
        if not layout.annotation_file(split).is_file():
            raise InputError(f"{layout.annotation_file(split)} is missing: {_SOURCES['text']}")
    return layout


def _download(root: Path, splits: Sequence[Split]) -> None:
    """Fetch what torchvision can, and the lists that it does not know."""
    from torchvision.datasets import WIDERFace
    from torchvision.datasets.utils import download_and_extract_archive

    try:
        root.mkdir(parents=True, exist_ok=True)
        for split in splits:
            WIDERFace(str(root), split=split, download=True)
        if not (root / "widerface" / "eval_tools" / "ground_truth").is_dir():
            download_and_extract_archive(_EVALUATION_TOOLS, str(root / "widerface"))
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"WIDER FACE cannot be fetched to {root} ({error}): fetch it by hand from "
            "http://shuoyang1213.me/WIDERFACE and set data.download=false"
        ) from error
