"""Embeddings on disk, with the pictures and pairs they belong to, to be compared later."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from secateur.errors import InputError

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
    save_file(plain, path, metadata=metadata)


def read_embeddings(path: Path) -> Embeddings:
    """Read what ``write_embeddings`` wrote.

    Args:
        path: The file.

    Raises:
        InputError: If it is absent, damaged or something else.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is no intact file of embeddings ({error})") from error
    if metadata.get("format") != _FORMAT or not tensors.keys() >= set(_TENSORS):
        raise InputError(
            f"{path} holds no embeddings; a step of a recogniser's run has such a file"
        )
    named: Sequence[str] = json.loads(metadata["pictures"])
    fold = tensors.pop("fold", None)
    return Embeddings(**tensors, fold=fold, pictures=tuple(named))
