"""Files that are whole or absent: written beside their place, then renamed into it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path whose file takes the place of another one when all went well.

    Args:
        path: The final place; its folder is made if need be.

    Yields:
        A path in the same folder with the same suffix, to write to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Give an empty temporary folder that takes the place of another one when all went well.

    Args:
        path: The final place; its parents are made if need be.

    Yields:
        A folder beside it, to write into.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        # a folder that holds something cannot be replaced in one step
        shutil.rmtree(path, ignore_errors=True)
        temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def atomic_write(path: Path, content: str | bytes) -> Path:
    """Write a file whole or not at all.

    Args:
        path: The file.
        content: Text, written as UTF-8, or bytes.

    Returns:
        The file written.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def write_json(path: Path, value: object) -> Path:
    """Write indented JSON, whole or not at all.

    Args:
        path: The file.
        value: Plain Python, dataclasses, paths, numpy and torch numbers and arrays; keys keep
            their order.

    Returns:
        The file written.

    Raises:
        TypeError: A value has no JSON form.
        ValueError: A number is not finite, which JSON cannot say.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=to_plain)
    return atomic_write(path, text + "\n")


def to_plain(value: object) -> object:
    """Turn a value that JSON does not know into one that it knows.

    Args:
        value: A dataclass, path, or number or array of numpy or torch.

    Returns:
        Plain Python.

    Raises:
        TypeError: It is something else.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, torch.Tensor | np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
