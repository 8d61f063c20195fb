"""Files of tensors: read without running anything, within bounds, and checked for damage.

PyTorch leaves the check sums in its files unread, so that a bit that flipped on a disk becomes a
wrong weight; and it believes sizes that it reads, so that a small file can ask for any memory.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from secateur.errors import InputError
from secateur.readers import MEBI, decode_text, open_regular, parse_json, read_bytes

_LARGEST = 16 * 1024 * MEBI
_BLOCK = 4 * MEBI
_LARGEST_HEADER = 16 * MEBI  # a thousand times that of the largest network here


def read_torch(path: Path, remedy: str) -> Any:  # noqa: ANN401 - whatever was saved
    """Read what ``torch.save`` wrote: tensors and plain Python.

    Args:
        path: The file.
        remedy: What to do about a file that is missing or damaged; ends the sentence.

    Returns:
        What was saved, on the CPU.

    Raises:
        InputError: If it is missing, damaged, wants to run something, or unpacks to more than
            its size.
    """
    try:
        with open_regular(path) as file:
            if zipfile.is_zipfile(file):
                check_archive(path, remedy)
            size = file.seek(0, 2)
            file.seek(0)
            value = torch.load(file, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}): {remedy}") from error
    except MemoryError as error:
        raise InputError(f"{path} does not fit in memory: {remedy}") from error
    except Exception as error:  # damaged pickles raise anything
        wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
        if wanted:
            raise InputError(
                f"{path} asks to run {wanted[1]} while it is read, and nothing in a weights file "
                f"is executed: {remedy}"
            ) from error
        raise InputError(
            f"{path} is no intact PyTorch file ({type(error).__name__}): {remedy}"
        ) from error
    for name, tensor in tensors_in(value):
        ordinary = tensor.layout == torch.strided and tensor.device.type == "cpu"
        if not ordinary or tensor.is_quantized or tensor.is_complex():
            raise InputError(f"{path}: tensor {name} is no ordinary one: {remedy}")
        if tensor.numel() * tensor.element_size() > size:
            raise InputError(f"{path}: tensor {name} is larger than the file: {remedy}")
    return value


def read_safetensors(path: Path, remedy: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a safetensors file.

    Args:
        path: The file.
        remedy: What to do about a file that is missing or damaged; ends the sentence.

    Returns:
        Tensors by name, and the metadata.

    Raises:
        InputError: If it is missing or damaged.
    """
    return parse_safetensors(read_bytes(path, remedy, _LARGEST), path, remedy)


def parse_safetensors(
    content: bytes, path: Path, remedy: str
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a safetensors file that is in memory; see `read_safetensors`."""
    metadata = _metadata_in(content, len(content), path, remedy)
    try:
        return load(content), metadata
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        why = " ".join(str(error).split())[:160]
        raise InputError(f"{path} is no intact safetensors file ({why}): {remedy}") from error


def read_metadata(path: Path, remedy: str) -> dict[str, str]:
    """Metadata of a safetensors file, without its tensors; see `read_safetensors`."""
    try:
        with open_regular(path) as file:
            size = file.seek(0, 2)
            file.seek(0)
            start = file.read(8)
            length = min(int.from_bytes(start, "little"), _LARGEST_HEADER, size)
            return _metadata_in(start + file.read(length), size, path, remedy)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}): {remedy}") from error


def _metadata_in(content: bytes, size: int, path: Path, remedy: str) -> dict[str, str]:
    """Metadata in the header of a safetensors file of some size."""
    length = int.from_bytes(content[:8], "little")
    if size < 8 or length > min(_LARGEST_HEADER, size - 8):
        raise InputError(f"{path} is no intact safetensors file: {remedy}")
    try:
        header = parse_json(decode_text(content[8 : 8 + length], path, remedy), path, remedy)
    except InputError as error:
        raise InputError(f"{path} is no intact safetensors file: {remedy}") from error
    metadata = header.get("__metadata__", {}) if isinstance(header, dict) else None
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise InputError(
            f"{path} is no intact safetensors file (its metadata are no texts): {remedy}"
        )
    return metadata


def refuse_not_finite(tensors: Mapping[str, Tensor], path: str | Path, remedy: str) -> None:
    """Refuse weights that hold NaN or infinity, which no network can compute with.

    Args:
        tensors: Tensors by name.
        path: Where they come from.
        remedy: Ends the sentence.

    Raises:
        InputError: If one does; names it.
    """
    for name, tensor in tensors.items():
        if not (tensor.is_floating_point() and tensor.numel()):
            continue
        # Both are NaN if any element is; one pass over large weights, and no copy of them.
        if not all(bool(torch.isfinite(bound)) for bound in tensor.aminmax()):
            raise InputError(f"{path}: tensor {name} holds NaN or infinity: {remedy}")


def check_archive(path: Path, remedy: str) -> None:
    """Compare the check sums of a zip archive, which is what ``torch.save`` writes.

    Args:
        path: The archive.
        remedy: Ends the sentence.

    Raises:
        InputError: If a part is damaged, compressed, or there are too many.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
            if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
                # torch never compresses; unpacked, such a file may be a thousand times as large
                raise InputError(
                    f"{path} is a compressed archive, which torch never writes: {remedy}"
                )
            if sum(part.file_size for part in parts) > min(_LARGEST, path.stat().st_size):
                raise InputError(f"{path} holds more than its size: {remedy}")
            for part in parts:
                with archive.open(part) as stream:
                    while stream.read(_BLOCK):  # compares the sum at the end
                        pass
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is damaged ({error}): {remedy}") from error
    except zlib.error as error:
        raise InputError(f"{path} is damaged ({error}): {remedy}") from error


def tensors_in(value: object, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Tensors within nested mappings, lists and tuples, with where they are."""
    stack: list[tuple[str, object]] = [(name, value)]
    seen: set[int] = set()
    while stack:
        name, value = stack.pop()
        if isinstance(value, Tensor):
            yield name, value
            continue
        if not isinstance(value, Mapping | list | tuple) or id(value) in seen:
            continue
        seen.add(id(value))
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        stack += [(f"{name}.{key}" if name else str(key), item) for key, item in items]
