"""MATLAB 5 files, as far as the ground truth of WIDER FACE uses them.

SciPy's reader ends the process by a segmentation fault on damaged files, so the four official
files are read here: cell arrays of cell arrays, texts and matrices of numbers, compressed or not.
Format: MathWorks, "MAT-File Format", level 5. Everything is bounded: bytes, what they unpack to,
arrays and nesting.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateur.errors import InputError
from secateur.readers import MEBI, read_bytes

_MOST_BYTES = 32 * MEBI  # of a file, and of what it unpacks to; the official ones unpack to 9 MB
_MOST_ARRAYS = 400_000  # the official files hold 33,000
_DEEPEST = 4
_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_CELL, _CHARACTERS = 1, 4
_TAG = struct.Struct("<II")
_OPENING = struct.Struct("<8I")  # flags with their tag, two dimensions with theirs
_NUMBERS: dict[int, np.dtype[Any]] = {
    1: np.dtype("<i1"),
    2: np.dtype("<u1"),
    3: np.dtype("<i2"),
    4: np.dtype("<u2"),
    5: np.dtype("<i4"),
    6: np.dtype("<u4"),
    7: np.dtype("<f4"),
    9: np.dtype("<f8"),
    12: np.dtype("<i8"),
    13: np.dtype("<u8"),
}
_CODECS = {1: "latin-1", 2: "latin-1", 4: "utf-16-le", 16: "utf-8", 17: "utf-16-le"}
_NUMERIC_CLASSES = range(6, 16)

Array = NDArray[Any]


class _DamageError(Exception):
    """What is wrong with a file, before its name is known."""


def read_matlab(path: Path, remedy: str, names: Collection[str] | None = None) -> dict[str, Array]:
    """Read arrays of a MATLAB 5 file as SciPy's ``loadmat`` gives them.

    Args:
        path: The file.
        remedy: Ends the sentence of an error.
        names: The variables wanted, None for all; others are not unpacked.

    Returns:
        Name to array: cells (R, C) of objects, texts (1,) of strings, numbers (R, C) in the type
        that the file stores, perhaps read-only.

    Raises:
        InputError: If it is no such file, is damaged, or holds more than the subset read here.
    """
    content = read_bytes(path, remedy, _MOST_BYTES)
    try:
        return _Reader(content, names).variables()
    except _DamageError as error:
        raise InputError(f"{path} is not a readable MATLAB file ({error}): {remedy}") from None


class _Reader:
    """Reads the variables of one file.

    Args:
        content: The file.
        names: The variables wanted, None for all.
    """

    def __init__(self, content: bytes, names: Collection[str] | None) -> None:
        self.content = content
        self.names = names
        self.unpacked = 0
        self.arrays = 0

    def variables(self) -> dict[str, Array]:
        """All variables wanted."""
        if len(self.content) < _HEADER or self.content[126:128] != b"IM":
            raise _DamageError("it has no header of a little-endian level 5 file")
        if self.content[124:126] != b"\x00\x01":
            raise _DamageError("it is of another version of the format")
        found: dict[str, Array] = {}
        position = _HEADER
        while position < len(self.content):
            kind, start, end, position = _element(self.content, position, len(self.content))
            if kind == _COMPRESSED:
                buffer = self._unpack(start, end)
                if buffer is None:
                    continue
                kind, start, end, _ = _element(buffer, 0, len(buffer))
            else:
                buffer = self.content
            if kind != _MATRIX:
                raise _DamageError(f"an element of kind {kind} stands where a variable should")
            name, array = self._matrix(buffer, start, end, 0)
            if name in found:
                raise _DamageError(f"it holds the variable {name[:40]} twice")
            if self.names is None or name in self.names:
                found[name] = array
        return found

    def _unpack(self, start: int, end: int) -> bytes | None:
        """What a compressed element holds; None if it is a variable that nobody wants."""
        packed = memoryview(self.content)[start:end]
        inflate = zlib.decompressobj()
        try:
            opening = inflate.decompress(packed[:4096], 256)
            if self.names is not None and _name_of(opening) not in self.names:
                return None
            room = _MOST_BYTES - self.unpacked
            inflate = zlib.decompressobj()
            content = inflate.decompress(packed, room + 1)
        except zlib.error as error:
            raise _DamageError(f"a compressed part is broken: {error}") from None
        if len(content) > room:
            raise _DamageError(f"it unpacks to more than {_MOST_BYTES // MEBI} MB")
        if not inflate.eof:
            raise _DamageError("a compressed part is cut short")
        self.unpacked += len(content)
        return content

    def _matrix(self, buffer: bytes, start: int, end: int, depth: int) -> tuple[str, Array]:
        """Name and content of a matrix element."""
        self.arrays += 1
        if self.arrays > _MOST_ARRAYS:
            raise _DamageError(f"it holds more than {_MOST_ARRAYS:,} arrays")
        if depth > _DEEPEST:
            raise _DamageError("cells are nested too deeply")
        if start == end:
            return "", np.zeros((0, 0))
        if end - start < 32:
            raise _DamageError("a matrix is cut short")
        flags_kind, flags_size, flags, _, dims_kind, dims_size, rows, columns = (
            _OPENING.unpack_from(buffer, start)
        )
        if (flags_kind, flags_size, dims_kind) != (6, 8, 5):
            raise _DamageError("a matrix lacks its flags or dimensions")
        if dims_size != 8:
            raise _DamageError("a matrix has not two dimensions")
        if flags & 0x0800:
            raise _DamageError("a matrix is complex")
        kind, name_start, name_end, position = _element(buffer, start + 32, end)
        if kind not in (1, 2):
            raise _DamageError("a matrix lacks its name")
        name = buffer[name_start:name_end].decode("latin-1")
        content = flags & 0xFF
        count = rows * columns
        if content == _CELL:
            return name, self._cells(buffer, position, end, rows, columns, depth)
        if content == _CHARACTERS:
            return name, _characters(buffer, position, end, rows, columns)
        if content not in _NUMERIC_CLASSES:
            raise _DamageError(f"a matrix is of class {content}, which no official file has")
        if position == end and count == 0:
            return name, np.zeros((rows, columns))
        kind, data_start, data_end, _ = _element(buffer, position, end)
        dtype = _NUMBERS.get(kind)
        if dtype is None or data_end - data_start != count * dtype.itemsize:
            raise _DamageError(f"a matrix of {rows} x {columns} has not as many numbers")
        values = np.frombuffer(buffer, dtype, count, data_start) if count else np.zeros(0, dtype)
        return name, values.reshape((rows, columns), order="F")

    def _cells(
        self, buffer: bytes, position: int, end: int, rows: int, columns: int, depth: int
    ) -> Array:
        """A cell array; its elements follow each other column by column."""
        count = rows * columns
        if count > (end - position) // _TAG.size:
            raise _DamageError(f"a cell array of {rows} x {columns} is cut short")
        cells: Array = np.empty(count, dtype=np.object_)
        for index in range(count):
            kind, start, stop, position = _element(buffer, position, end)
            if kind != _MATRIX:
                raise _DamageError(f"an element of kind {kind} stands in a cell")
            cells[index] = self._matrix(buffer, start, stop, depth + 1)[1]
        return cells.reshape((rows, columns), order="F")


def _element(buffer: bytes, position: int, end: int) -> tuple[int, int, int, int]:
    """Kind, start and end of the data of an element, and where the next one begins."""
    if end - position < _TAG.size:
        raise _DamageError("it is cut short")
    kind, size = _TAG.unpack_from(buffer, position)
    if kind >> 16:  # the small form: size and kind share a word, and the data follow in 4 bytes
        kind, size = kind & 0xFFFF, kind >> 16
        if size > 4:
            raise _DamageError("an element of the small form is too large")
        return kind, position + 4, position + 4 + size, position + 8
    start = position + 8
    stop = start + size
    if stop > end:
        raise _DamageError("it is cut short")
    # elements are padded to eight bytes, all but compressed ones; at the end padding may be absent
    following = stop if kind == _COMPRESSED else min(end, stop + -size % 8)
    return kind, start, stop, following


def _characters(buffer: bytes, position: int, end: int, rows: int, columns: int) -> Array:
    """A text, as an array (1,) of one string."""
    kind, start, stop, _ = _element(buffer, position, end)
    if rows * columns == 0:
        return np.zeros(0, dtype="<U1")
    codec = _CODECS.get(kind)
    if rows != 1 or codec is None:
        raise _DamageError("a text is not one row of characters")
    try:
        text = buffer[start:stop].decode(codec)
    except UnicodeDecodeError:
        raise _DamageError("a text is wrongly encoded") from None
    if len(text) != columns:
        raise _DamageError("a text has another length than it says")
    return np.array([text])


def _name_of(opening: bytes) -> str:
    """Name of the variable that a compressed element begins with."""
    if len(opening) < _TAG.size:
        raise _DamageError("a compressed part is cut short")
    _, start, _, _ = _element(opening, 0, 1 << 40)
    if len(opening) < start + 40:
        raise _DamageError("a compressed part is cut short")
    kind, name_start, name_end, _ = _element(opening, start + 32, len(opening))
    if kind not in (1, 2):
        raise _DamageError("a matrix lacks its name")
    return opening[name_start:name_end].decode("latin-1")
