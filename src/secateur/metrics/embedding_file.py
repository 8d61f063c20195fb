"""Embeddings on disk, with the pictures and pairs they belong to, to be compared later."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from secateur.errors import InputError
from secateur.files import atomic_write
from secateur.readers import parse_json
from secateur.tensor_files import read_safetensors

_FORMAT = "secateur-embeddings"
_TENSORS = ("embeddings", "images", "first", "second", "same")


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """Embeddings of the pictures of pairs.

    Attributes:
        embeddings: (K, D) float32.
        images: (K,) rising number of the picture of each.
        first: (P,) number of one picture of each pair.
        second: (P,) number of the other.
        same: (P,) whether both show one person.
        fold: (P,) fold of each pair, if there are folds.
        pictures: Names of all pictures by number.
    """

    embeddings: Tensor
    images: Tensor
    first: Tensor
    second: Tensor
    same: Tensor
    fold: Tensor | None
    pictures: tuple[str, ...]


def write_embeddings(path: Path, found: Embeddings) -> None:
    """Write a safetensors file; names of pictures are JSON in its metadata.

    Args:
        path: The file.
        found: What to write.
    """
    tensors = {name: getattr(found, name) for name in _TENSORS}
    if found.fold is not None:
        tensors["fold"] = found.fold
    metadata = {"format": _FORMAT, "pictures": json.dumps(found.pictures)}
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    atomic_write(path, save(plain, metadata=metadata))


def read_embeddings(path: Path) -> Embeddings:
    """Read what ``write_embeddings`` wrote.

    Args:
        path: The file.

    Raises:
        InputError: If it is absent, damaged or something else.
    """
    remedy = "take the file of another step, or train again"
    tensors, metadata = read_safetensors(path, remedy)
    if metadata.get("format") != _FORMAT or not tensors.keys() >= set(_TENSORS):
        raise InputError(
            f"{path} holds no embeddings; a step of a recogniser's run has such a file"
        )
    pictures = parse_json(metadata.get("pictures", "null"), path, remedy)
    named = isinstance(pictures, list) and all(isinstance(name, str) for name in pictures)
    if not isinstance(pictures, list) or not named:
        raise InputError(f"{path} does not name its pictures: {remedy}")
    fold = tensors.pop("fold", None)
    found = Embeddings(
        **{name: tensors[name] for name in _TENSORS}, fold=fold, pictures=tuple(pictures)
    )
    problem = _problem(found)
    if problem:
        raise InputError(f"{path} holds no embeddings that fit together ({problem}): {remedy}")
    return found


def _problem(found: Embeddings) -> str:
    """What does not fit; empty if all does."""
    numbers = [found.images, found.first, found.second]
    numbers += [] if found.fold is None else [found.fold]
    if any(one.dim() != 1 for one in (*numbers, found.same)):
        return "numbers of pictures or flags are no list"
    rows, n_pairs, n_pictures = len(found.images), len(found.same), len(found.pictures)
    if found.embeddings.dim() != 2 or len(found.embeddings) != rows:
        return f"{tuple(found.embeddings.shape)} is no embedding for each of {rows} pictures"
    if found.embeddings.dtype != torch.float32 or not torch.isfinite(found.embeddings).all():
        return "an embedding is no finite number in single precision"
    if found.same.dtype != torch.bool or any(one.dtype != torch.int64 for one in numbers):
        return "numbers of pictures or flags are of another type"
    if any(len(one) != n_pairs for one in numbers[1:]):
        return "there are not as many first, second and same of pairs"
    if any(
        len(one) and not 0 <= int(one.min()) <= int(one.max()) < n_pictures for one in numbers[:3]
    ):
        return f"a number of a picture is not below {n_pictures}"
    if rows > 1 and not bool((found.images.diff() > 0).all()):
        return "numbers of pictures do not rise"
    if found.fold is not None and n_pairs and not 0 <= int(found.fold.min()) < n_pairs:
        return "a fold is negative"
    return ""
