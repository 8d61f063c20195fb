"""Pictures of people in one folder per identity, as VGGFace2, LFW and most others ship them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from secateur.data.face_crop import Box, crop_center, crop_face
from secateur.data.images import Picture8, read_image
from secateur.errors import InputError
from secateur.readers import number_in, read_csv

_FARTHEST = 1e6  # pixels
_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".webp"))


@dataclass(frozen=True, slots=True, eq=False)
class IdentityFolders:
    """Pictures and people found in the folders.

    Attributes:
        identities: Names of the folders, sorted.
        names: Names of the pictures as ``folder/file``, identity by identity.
        labels: (N,) index of each picture's identity.
        left_out: Identities with too few pictures.
    """

    identities: tuple[str, ...]
    names: tuple[str, ...]
    labels: NDArray[np.int64]
    left_out: int


def read_identity_folders(root: Path, min_images: int = 1) -> IdentityFolders:
    """List the pictures of every identity.

    Args:
        root: Folder of folders.
        min_images: Identities with fewer pictures are left out.

    Raises:
        InputError: If there is no such folder, or no identity in it.
    """
    if not root.is_dir():
        raise InputError(f"{root} is no folder: give the one that holds a folder per identity")
    identities: list[str] = []
    names: list[str] = []
    counts: list[int] = []
    left_out = 0
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        files = sorted(file.name for file in folder.iterdir() if file.suffix.lower() in _SUFFIXES)
        if len(files) < max(1, min_images):
            left_out += bool(files)
            continue
        identities.append(folder.name)
        names += [f"{folder.name}/{file}" for file in files]
        counts.append(len(files))
    if not identities:
        raise InputError(
            f"{root} has no folder with {max(1, min_images)} pictures: it should hold one folder "
            "per identity"
        )
    labels = np.repeat(np.arange(len(counts)), counts)
    return IdentityFolders(tuple(identities), tuple(names), labels, left_out)


def split_identities(
    labels: NDArray[np.int64], fraction: float, seed: int, identities: Sequence[str] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Hold a share of every identity's pictures out of training, at least one of each.

    Args:
        labels: (N,) identity of each picture.
        fraction: Share to hold out, 0..1; 0 holds out nothing.
        seed: Seed of the choice.
        identities: Their names, for a message.

    Returns:
        Rising indices to train on, and rising indices held out.

    Raises:
        InputError: If the fraction is out of range, or an identity would have nothing left.
    """
    if not 0 <= fraction < 1:
        raise InputError(f"data.holdout must be at least 0 and below 1, got {fraction}")
    everything = np.arange(len(labels))
    if fraction == 0:
        return everything, everything[:0]
    order = np.random.default_rng((seed, 0x1D)).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    present, starts, counts = np.unique(labels[order], return_index=True, return_counts=True)
    held = np.maximum(1, np.rint(counts * fraction).astype(np.int64))
    if (held >= counts).any():
        label = int(present[(held >= counts).argmax()])
        name = identities[label] if identities else str(label)
        raise InputError(
            f"identity {name} has {counts[present == label][0]} picture and {fraction:g} of each "
            "identity is held out: leave such identities out with data.min_images=2, or hold "
            "out nothing with data.holdout=0"
        )
    position = everything - np.repeat(starts, counts)
    is_held = position < np.repeat(held, counts)
    return np.sort(order[~is_held]), np.sort(order[is_held])


def read_boxes(path: Path) -> dict[str, Box]:
    """Read a CSV of face boxes as VGGFace2 ships them: NAME_ID, X, Y, W, H in pixels.

    Returns:
        Box by picture name without suffix, such as ``n000002/0001_01``.

    Raises:
        InputError: If there is no such file, or a line is no box.
    """
    boxes: dict[str, Box] = {}
    for number, row in read_csv(path, "give the CSV of boxes, or none with data.boxes=null"):
        if number == 1:
            continue
        values = [number_in(value) for value in row[1:]]
        x, y, width, height = values if len(values) == 4 else [None] * 4
        if x is None or y is None or width is None or height is None:
            raise InputError(
                f"{path}, line {number}, is no NAME_ID,X,Y,W,H: {','.join(row)[:60]!r}: mend that "
                "line, or set data.boxes=null"
            )
        if width <= 0 or height <= 0 or max(map(abs, (x, y, width, height))) > _FARTHEST:
            raise InputError(
                f"{path}, line {number}, is no box in a picture ({','.join(row[1:])[:60]}): "
                "mend that line, or leave it out with its picture"
            )
        if row[0] in boxes:
            raise InputError(
                f"{path}, line {number}, gives {row[0][:60]} a second box: leave one of them out"
            )
        boxes[row[0]] = (x, y, width, height)
    return boxes


class FolderImages:
    """Pictures by index, cut to the face.

    Args:
        root: Folder of folders.
        names: Names of the pictures under it.
        boxes: Box by name without suffix; None cuts the centre instead.
        enlarge: How much larger than the box the cut is.
        centre: Share of the shorter side that the cut takes where there are no boxes.

    Raises:
        InputError: If a picture has no box.
    """

    def __init__(
        self,
        root: Path,
        names: Sequence[str],
        boxes: Mapping[str, Box] | None = None,
        enlarge: float = 0.3,
        centre: float = 1.0,
    ) -> None:
        self.root = root
        self.names = tuple(names)
        self.enlarge = enlarge
        self.centre = centre
        self.boxes: tuple[Box, ...] | None = None
        if boxes is not None:
            missing = [name for name in self.names if name.rpartition(".")[0] not in boxes]
            if missing:
                raise InputError(
                    f"{len(missing):,} of {len(self.names):,} pictures under {root} have no box, "
                    f"the first is {missing[0]}: give the CSV of this split"
                )
            self.boxes = tuple(boxes[name.rpartition(".")[0]] for name in self.names)

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.names)

    def __getitem__(self, index: int) -> Picture8:
        """(H, W, 3) RGB.

        Raises:
            InputError: If the file is no readable picture.
        """
        image = read_image(self.root / self.names[index])
        if self.boxes is not None:
            return crop_face(image, self.boxes[index], self.enlarge)
        return crop_center(image, self.centre)
