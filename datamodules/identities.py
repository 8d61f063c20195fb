"""IdentitiesData: one folder per person, as VGGFace2 and LFW come."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from secateur.data.face_crop import Box
from secateur.data.identity_folders import FolderImages, read_boxes, read_identity_folders
from secateur.data.pairs import check_pictures, draw_pairs, read_pairs
from secateur.datamodules.recognition import Labeled, RecognitionData, Verified
from secateur.errors import InputError

DRAWN_FOLDS, DRAWN_PER_KIND = 10, 300  # as many as LFW has


class IdentitiesData(RecognitionData):
    """Folders of people to train on and folders of others to verify.

    Args:
        root: Folder of everything; the other paths are relative to it.
        train: Folder with a folder per person to train on.
        test: Folder with a folder per person to verify.
        pairs: File of pairs in LFW's format; None draws pairs among the people of ``test``.
        boxes: CSV of face boxes, under ``train`` and ``test``; None takes the centre of a
            picture.
        enlarge: How much larger than its box a face is cut out; the paper says 30 %.
        centre: Share of the shorter side that is kept where there are no boxes.
        min_images: People with fewer pictures are not trained on.
        **options: Arguments of `RecognitionData`.
    """

    def __init__(
        self,
        root: str | Path | None,
        train: str = "train",
        test: str = "test",
        pairs: str | None = None,
        boxes: Mapping[str, str] | None = None,
        enlarge: float = 0.3,
        centre: float = 1.0,
        min_images: int = 1,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if not 0 < centre <= 1:
            raise InputError(f"data.centre must be above 0 and at most 1, got {centre}")
        self.root = root
        self.train = train
        self.test = test
        self.pairs_file = pairs
        self.boxes = boxes
        self.enlarge = enlarge
        self.centre = centre
        self.min_images = min_images

    def read_training(self) -> Labeled:
        """List the folders of ``train``."""
        folder = self._checked_root() / self.train
        found = read_identity_folders(folder, self.min_images)
        if len(found.identities) < 2:
            raise InputError(f"{folder} has one identity: training needs two to tell apart")
        return Labeled(self._images(folder, found.names, "train"), found.labels, found.identities)

    def read_verification(self) -> Verified:
        """Read the pairs and find their pictures, or draw pairs among the people of ``test``."""
        folder = self._checked_root() / self.test
        if self.pairs_file is None:
            found = read_identity_folders(folder)
            pairs = draw_pairs(found.labels, DRAWN_PER_KIND, DRAWN_FOLDS, self.holdout_seed)
            return Verified(self._images(folder, found.names, "test"), pairs, f"{self.test}, drawn")
        path = self._checked_root() / self.pairs_file
        names, pairs = read_pairs(path)
        names = check_pictures(folder, names, path)
        return Verified(self._images(folder, names, "test"), pairs, path.name)

    def describe(self) -> str:
        """One line for the log."""
        return f"{self.root}: {super().describe()}"

    def _images(self, folder: Path, names: tuple[str, ...], split: str) -> FolderImages:
        boxes: dict[str, Box] | None = None
        if self.boxes is not None:
            if self.boxes.get(split) is None:
                raise InputError(f"data.boxes.{split} is not set: give the CSV of its face boxes")
            boxes = read_boxes(self._checked_root() / self.boxes[split])
        return FolderImages(folder, names, boxes, self.enlarge, self.centre)

    def _checked_root(self) -> Path:
        """The root, or the remedy."""
        if self.root is None:
            raise InputError(
                f"data.root is not set: give the folder that holds {self.train} and {self.test}, "
                "as data.root=/path"
            )
        return Path(self.root).expanduser()
