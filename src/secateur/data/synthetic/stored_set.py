"""Stored sets: a drawn data set is written once, complete or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from secateur.errors import InputError
from secateur.readers import read_json

RECORD = "drawn.json"
MOST = 100_000  # pictures: hours of drawing


def check_count(pictures: int) -> None:
    """Refuse to draw more pictures than anybody needs of drawn ones, before the first one.

    Raises:
        InputError: If there are more than `MOST`.
    """
    if pictures > MOST:
        raise InputError(
            f"{pictures:,} pictures are not drawn, {MOST:,} are the most: set data.n_train and "
            "the like lower"
        )


def place_for(root: str | Path, wanted: Mapping[str, int]) -> Path:
    """Where a set goes: the root, or a folder beside it where a set of another size lies.

    Nothing is replaced that another run may be reading.

    Args:
        root: Folder that was asked for.
        wanted: What the set is drawn from, as far as its user chooses it.

    Returns:
        A folder that is absent, or holds a set of this kind, or something else altogether.
    """
    root = Path(root)
    try:
        found = read_json(root / RECORD, "draw the set again")
    except InputError:
        return root
    if not isinstance(found, dict) or all(found.get(k) == v for k, v in wanted.items()):
        return root
    return root.with_name("-".join([root.name, *(str(value) for value in wanted.values())]))


def write_once(root: str | Path, record: Mapping[str, int], write: Callable[[Path], None]) -> bool:
    """Draw a set unless it is there; an interrupted call leaves no half set behind.

    A set drawn with other parameters, or by another version of the drawing code, is replaced. Of
    processes that draw the same set at once the first one's stays: others may read it already.

    Args:
        root: Folder to make.
        record: Everything that decides what is drawn; written beside it.
        write: Draws the set into a folder, which it makes.

    Returns:
        Whether anything was drawn.

    Raises:
        InputError: If the folder holds something else or cannot be written.
    """
    root = Path(root).expanduser().absolute()
    if _is_there(root, record):
        return False
    if root.exists() and not (root / RECORD).is_file() and any(root.iterdir()):
        raise InputError(f"{root} holds something other than drawn faces: set data.root elsewhere")
    partial = root.with_name(f".{root.name}.{os.getpid()}.partial")
    old = partial.with_suffix(".old")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        write(partial)
        (partial / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        if root.exists() and not _is_there(root, record):
            with contextlib.suppress(FileNotFoundError):  # another process has done it
                root.rename(old)
        try:
            partial.rename(root)  # refused by the system where a folder holds something
        except OSError:
            if not _is_there(root, record):  # else another process was quicker with the same set
                raise
    except OSError as error:
        raise InputError(f"{root} cannot be written ({error}): set data.root elsewhere") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    return True


def _is_there(root: Path, record: Mapping[str, int]) -> bool:
    """Whether a finished set with these parameters lies there."""
    try:
        found = read_json(root / RECORD, "draw the set again")
    except InputError:
        return False
    return bool(found == record)
