"""Files that are whole or absent: written beside their place, flushed to the disk, renamed.

A kill, a power cut or a full disk at any moment leaves either what was there before or what was
to be written, never a part of it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from secateur.errors import write_error

_BLOCK = 1 << 16


@contextlib.contextmanager
def replacing(path: Path, *, sync: bool = True, partial: Path | None = None) -> Iterator[Path]:
    """Give a temporary path whose file takes the place of another one when all went well.

    Args:
        path: The final place; its folder is made if need be, and goes again if nothing is written.
        sync: Whether to wait until it is on the disk; not worth it for thousands of small files.
        partial: The temporary path, in the same folder; one of this process when absent.

    Yields:
        A path in the same folder, by itself with the same suffix, to write to.

    Raises:
        WriteError: If it cannot be written; what was there before is still there.
    """
    path = Path(path)
    temporary = partial or path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    with writing(path), new_folder(path.parent):
        try:
            yield temporary
            if sync:
                flush(temporary)
            temporary.replace(path)
            if sync:
                flush(path.parent)
        finally:
            with contextlib.suppress(OSError):  # else it would hide what went wrong before
                temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Make a folder; what goes wrong within takes away again what is empty of it.

    Args:
        path: The folder; its parents are made if need be. It may be there already, and then stays.

    Yields:
        The folder.

    Raises:
        OSError: If it cannot be made.
    """
    made = list(itertools.takewhile(lambda folder: not folder.exists(), (path, *path.parents)))
    try:
        path.mkdir(parents=True, exist_ok=True)
        yield path
    except BaseException:
        for folder in made:
            with contextlib.suppress(OSError):  # it holds something, or was never made
                folder.rmdir()
        raise


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Give an empty temporary folder that takes the place of another one when all went well.

    Args:
        path: The final place; its parents are made if need be.

    Yields:
        A folder beside it, to write into.

    Raises:
        WriteError: If it cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    old = path.with_name(f".{path.name}.{os.getpid()}.old")
    with writing(path):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            yield temporary
            for file in temporary.rglob("*"):
                flush(file)
            flush(temporary)
            # A folder that holds something cannot be replaced in one step; it steps aside first.
            if path.exists():
                shutil.rmtree(old, ignore_errors=True)
                path.replace(old)
            try:
                temporary.replace(path)
            except OSError:
                if old.exists() and not path.exists():
                    old.replace(path)
                raise
            flush(path.parent)
        finally:
            shutil.rmtree(old, ignore_errors=True)
            shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the operating system says about a write into one sentence.

    Args:
        path: What is being written.

    Raises:
        WriteError: In place of an `OSError`.
    """
    try:
        yield
    except OSError as error:
        raise write_error(path, error) from error


def flush(path: Path) -> None:
    """Wait until a file or the entries of a folder are on the disk, not only in memory.

    Args:
        path: An existing file or folder; others are passed over, and file systems that cannot.
    """
    flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        # Some network file systems cannot flush a folder; a file that cannot be is not written.
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise
    finally:
        os.close(descriptor)


def atomic_write(path: Path, content: str | bytes, *, sync: bool = True) -> Path:
    """Write a file whole or not at all.

    Args:
        path: The file.
        content: Text, written as UTF-8, or bytes.
        sync: Whether to wait until it is on the disk.

    Returns:
        The file written.

    Raises:
        WriteError: If it cannot be written; what was there before is still there.
    """
    if isinstance(content, str):
        # Names of files may hold bytes that are no text; in JSON this is the escape that they have.
        content = content.encode("utf-8", "backslashreplace")
    with replacing(path, sync=sync) as temporary:
        temporary.write_bytes(content)
    return path


def append_lines(path: Path, lines: bytes, *, sync: bool = False) -> bool:
    """Append lines to a file, all or none; the torn line of an earlier kill is cut off first.

    Args:
        path: An existing file; one process at a time may append to it.
        lines: Whole lines.
        sync: Whether to wait until they are on the disk.

    Returns:
        Whether the file ended in the middle of a line.

    Raises:
        WriteError: If the disk is full or the like; whole lines are as they were.
    """
    with writing(path):
        descriptor = os.open(path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
        try:
            size = os.fstat(descriptor).st_size
            end = _end_of_whole_lines(descriptor, size)
            if end < size:
                os.ftruncate(descriptor, end)
            done = 0
            try:
                while done < len(lines):
                    done += os.pwrite(descriptor, lines[done:], end + done)
                if sync:
                    os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, end)
                raise
            return end < size
        finally:
            os.close(descriptor)


def _end_of_whole_lines(descriptor: int, size: int) -> int:
    """Where the last whole line of a file ends."""
    if not size or os.pread(descriptor, 1, size - 1) == b"\n":
        return size
    end = size
    while end > 0:
        start = max(0, end - _BLOCK)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


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
        WriteError: The file cannot be written.
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
    # numbers and arrays of numpy and torch, neither of which is imported to write a text
    to_list = getattr(value, "tolist", None)
    if callable(to_list):
        plain: object = to_list()
        return plain
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
