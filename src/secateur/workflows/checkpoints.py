"""Checkpoints of a run: written whole or not at all, the last but one kept, damaged ones passed.

Lightning stages a checkpoint in a temporary folder; where that is another file system, it is
copied over the old one, and a kill or a full disk leaves neither (Lightning issues 19970, 21253).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from torch import Tensor

from secateur.errors import InputError
from secateur.files import flush, replacing
from secateur.schema import is_count
from secateur.tensor_files import read_torch

log = logging.getLogger(__name__)

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"
BEST_DENSE, BEST_PRUNED = "best_dense.ckpt", "best_pruned.ckpt"
BEST = "best.ckpt"  # of older runs, mostly the dense network
NAMES = (LAST, PREVIOUS, BEST_PRUNED, BEST_DENSE, BEST)
"""Checkpoints in the order in which a run goes on from them."""

_PARTS = ("state_dict", "optimizer_states", "lr_schedulers", "callbacks", "loops")


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """A checkpoint that a run can go on from.

    Attributes:
        path: The checkpoint.
        epochs: How many epochs it has behind it.
        step: How many optimizer steps it has behind it.
        shapes: Shapes of the tensors of its network.
    """

    path: Path
    epochs: int
    step: int
    shapes: Mapping[str, torch.Size]

    def check_fits(self, state: Mapping[str, Tensor]) -> None:
        """Refuse to go on with another network than the checkpoint holds.

        Args:
            state: State of the task that is to go on.

        Raises:
            InputError: If names or shapes of tensors differ.
        """
        # Heads of recognizers are made later, for the people of the data.
        shapes = {name: tensor.shape for name, tensor in state.items()}
        wrong = [
            name
            for name in {**shapes, **self.shapes}
            if name.startswith("network.") and shapes.get(name) != self.shapes.get(name)
        ]
        if wrong:
            raise InputError(
                f"{self.path} belongs to another network (tensor {wrong[0]} differs): delete the "
                f"folder {self.path.parent} and give the same command again, which begins anew"
            )


class CheckpointFiles(TorchCheckpointIO):
    """Writes beside the target, flushes to the disk, renames; keeps the ``last.ckpt`` before."""

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | os.PathLike[str],
        storage_options: object = None,
    ) -> None:
        """Write a checkpoint whole or not at all.

        Args:
            checkpoint: State of the run.
            path: Where to.
            storage_options: Nothing that this takes.

        Raises:
            WriteError: If it cannot be written; what was there before is still there.
        """
        path = Path(path)
        # One process at a time works in a run folder, so that one name for all attempts leaves at
        # most one part of a file behind, and the next attempt takes it over.
        partial = path.with_name(f".{path.name}.partial")
        with replacing(path, partial=partial):
            with partial.open("wb") as file:
                _save(checkpoint, file, path)
            if path.name == LAST:
                flush(partial)  # before the one that is there becomes the previous one
                _keep(path, path.with_name(PREVIOUS))


def find_resume_point(folder: Path) -> ResumePoint | None:
    """The newest checkpoint of a run that is intact.

    Args:
        folder: Folder of its checkpoints.

    Returns:
        ``last.ckpt``, else ``previous.ckpt``, else a best one; None if there is none of them.

    Raises:
        InputError: If there are some and all are damaged.
    """
    present = [path for name in NAMES if (path := folder / name).exists()]
    problems: list[str] = []
    for path in present:
        try:
            point = read_resume_point(path)
        except InputError as error:
            problems.append(str(error))
            continue
        for problem in problems:
            log.warning("%s; going on from %s", problem.partition(": ")[0], path.name)
        return point
    if not present:
        return None
    raise InputError(
        f"no checkpoint in {folder} is intact ({problems[0].partition(': ')[0]}): delete that "
        "folder and give the same command again, which begins the run anew"
    )


def read_resume_point(path: Path) -> ResumePoint:
    """Check a checkpoint, and read how far it is.

    Raises:
        InputError: If it is missing, damaged or no checkpoint of a run.
    """
    state = read_torch(path, "delete it and give the same command again")
    if not isinstance(state, Mapping) or not all(name in state for name in _PARTS):
        raise InputError(f"{path} is no checkpoint of a run: delete it")
    epoch, step = state.get("epoch", -1), state.get("global_step", -1)
    if not is_count(epoch) or not is_count(step):
        raise InputError(f"{path} does not say how far it is: delete it")
    weights = state["state_dict"]
    if not isinstance(weights, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor)
        for name, tensor in weights.items()
    ):
        raise InputError(f"{path} holds no weights: delete it")
    shapes = {name: tensor.shape for name, tensor in weights.items()}
    return ResumePoint(path, int(epoch) + 1, int(step), shapes)


def _save(checkpoint: dict[str, Any], file: Any, path: Path) -> None:
    """Serialize into an open file; what PyTorch says of a full disk becomes an `OSError` again."""
    try:
        torch.save(checkpoint, file)
    except RuntimeError as error:
        # its archive writer reports a failed write as a RuntimeError about positions
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, OSError):
                raise cause from error
            cause = cause.__cause__ or cause.__context__
        _raise_if_full(file, path)
        raise


def _raise_if_full(file: Any, path: Path) -> None:
    """Raise what a further write to the file raises."""
    file.seek(0, 2)
    file.write(b"\0" * 65536)
    file.flush()
    os.fsync(file.fileno())


def _keep(path: Path, previous: Path) -> None:
    """Give what a path holds a second name, without a moment in which it has none."""
    if not path.exists():
        return
    link = previous.with_name(f".{previous.name}.partial")
    link.unlink(missing_ok=True)
    try:
        os.link(path, link)
    except OSError:  # a file system without hard links: there is a moment with the second name only
        path.replace(previous)
        return
    link.replace(previous)
