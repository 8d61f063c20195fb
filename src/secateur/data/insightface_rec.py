"""RecordIO: the file format in which InsightFace ships MS1M and others.

A ``.rec`` file is a row of records: the number 0xced7230a, a word whose upper 3 bits say whether
the record is whole (0) or the first (1), a middle (2) or the last (3) part of one that held that
number itself, and whose lower 29 bits are the length of the data; the data; zeros up to the next
multiple of 4. The data of a picture is a header (flag, label, id, id2), ``flag`` more labels if
it is positive, and the picture file. The ``.idx`` file gives the offset of each record by key.
"""

from __future__ import annotations

import io
import os
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from secateur.data.images import Picture8, decode_image
from secateur.errors import InputError
from secateur.readers import MEBI, count_in, open_regular, read_text

MAGIC = 0xCED7230A

WORDS = struct.Struct("<II")

HEADER = struct.Struct("<IfQQ")

_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)

_REMEDY = "fetch it again"
_MOST_IDENTITIES = 100_000_000


@dataclass(frozen=True, slots=True)
class Record:
    """One record.

    Attributes:
        labels: Its labels, at least one.
        content: A picture file, or nothing.
    """

    labels: tuple[float, ...]
    content: bytes


class RecordFile:
    """Records by key.

    Args:
        path: The ``.rec`` file; the ``.idx`` file lies beside it.

    Raises:
        InputError: If one of the two is missing, or they do not belong together.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = -1
        self._process = -1
        try:
            with open_regular(path) as file:
                self._size = file.seek(0, os.SEEK_END)
        except OSError as error:
            raise InputError(
                f"{path} cannot be read ({error.strerror or error}): {_REMEDY}"
            ) from error
        self._keys, self._offsets = _read_index(path.with_suffix(".idx"))
        if not self._size or self._offsets.max() + WORDS.size > self._size:
            raise InputError(
                f"{path} is cut short: its index knows a record at byte "
                f"{self._offsets.max():,} and it has {self._size:,}; {_REMEDY}"
            )

    def __getstate__(self) -> dict[str, object]:
        """An open file stays behind."""
        return {**self.__dict__, "_file": -1, "_process": -1}

    @property
    def keys(self) -> NDArray[np.int64]:
        """Keys of all records, rising."""
        return self._keys

    def read(self, key: int) -> Record:
        """One record.

        Raises:
            InputError: If there is no such key, or the record is damaged.
        """
        data = self._parts(key)
        if len(data) < HEADER.size:
            raise InputError(f"record {key} of {self.path} has no header: {_REMEDY}")
        flag, label = HEADER.unpack_from(data)[:2]
        start = HEADER.size + 4 * flag
        if start > len(data):
            raise InputError(f"record {key} of {self.path} is too short for its labels: {_REMEDY}")
        labels = struct.unpack_from(f"<{flag}f", data, HEADER.size) if flag else (label,)
        return Record(labels, data[start:])

    def _parts(self, key: int) -> bytes:
        """Data of a record, its parts joined."""
        where = int(np.searchsorted(self._keys, key))
        if where == len(self._keys) or self._keys[where] != key:
            raise InputError(f"{self.path.with_suffix('.idx')} has no record {key}: {_REMEDY}")
        offset = int(self._offsets[where])
        parts: list[bytes] = []
        while True:
            words = self._pread(WORDS.size, offset)
            number, word = WORDS.unpack(words) if len(words) == WORDS.size else (0, 0)
            if number != MAGIC:
                raise InputError(
                    f"record {key} of {self.path} does not begin at byte {offset:,}, where it "
                    f"should: {_REMEDY} with its index"
                )
            part, length = word >> 29, word & ((1 << 29) - 1)
            if offset + WORDS.size + length > self._size:  # before as much memory is set aside
                raise InputError(f"record {key} of {self.path} is cut short: {_REMEDY}")
            data = self._pread(length, offset + WORDS.size)
            if len(data) < length:
                raise InputError(f"record {key} of {self.path} is cut short: {_REMEDY}")
            if (part in (_MIDDLE, _LAST)) != bool(parts):
                raise InputError(f"record {key} of {self.path} lacks a part: {_REMEDY}")
            parts.append(data)
            if part in (_WHOLE, _LAST):
                # The parts were separated where the data held the number that begins a record.
                return struct.pack("<I", MAGIC).join(parts)
            offset += WORDS.size + length + -length % 4

    def _pread(self, length: int, offset: int) -> bytes:
        if self._process != os.getpid():  # workers must not share a file with their parent
            self._file = os.open(self.path, os.O_RDONLY)
            self._process = os.getpid()
        return os.pread(self._file, length, offset)


@dataclass(frozen=True, slots=True, eq=False)
class RecordSet:
    """A training set of InsightFace.

    Attributes:
        file: Records.
        keys: (N,) keys of the pictures.
        labels: (N,) identity of each, 0 to ``n_identities`` - 1.
        n_identities: Number of identities.
    """

    file: RecordFile
    keys: NDArray[np.int64]
    labels: NDArray[np.int64]
    n_identities: int

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.keys)

    def __getitem__(self, index: int) -> Picture8:
        """(H, W, 3) RGB.

        Raises:
            InputError: If the record is damaged or no readable picture.
        """
        key = int(self.keys[index])
        return decode_image(self.file.read(key).content, f"record {key} of {self.file.path}")


def read_record_set(folder: Path) -> RecordSet:
    """Open ``train.rec``, ``train.idx`` and ``property`` of a folder.

    Record 0 says where the pictures end and where the records of identities, each with the range
    of its pictures, begin and end; files without it are read label by label.

    Args:
        folder: Folder that holds the three files.

    Raises:
        InputError: If one is missing or damaged.
    """
    file = RecordFile(folder / "train.rec")
    n_identities = read_property(folder / "property")
    top = file.read(0) if file.keys[0] == 0 else None
    if top is not None and len(top.labels) == 2 and not top.content:
        end, stop = (_whole(value, file, 0) for value in top.labels)
        if _is_range(file, end):
            keys, labels = _by_ranges(file, range(end, min(stop, int(file.keys[-1]) + 1)))
        else:
            # Scripts for arcface_torch write the number of pictures and one, and of identities,
            # and no records of identities.
            keys = file.keys[(file.keys > 0) & (file.keys < end)]
            labels = _read_labels(file, keys)
    else:
        keys = file.keys
        labels = _read_labels(file, keys)
    if not len(labels) or labels.min() < 0 or labels.max() >= n_identities:
        raise InputError(
            f"{file.path} has labels outside 0 to {n_identities - 1}, the number of identities in "
            f"{folder / 'property'}: fetch both again"
        )
    return RecordSet(file, keys, labels, n_identities)


def read_property(path: Path) -> int:
    """Number of identities in the file ``property``: identities, height, width.

    Raises:
        InputError: If the file is missing or something else.
    """
    remedy = "it lies beside train.rec and begins with the number of identities"
    first = read_text(path, remedy, limit=10_000).split(",")[0]
    count = count_in(first)
    if not count or count > _MOST_IDENTITIES:
        raise InputError(
            f"{path} does not begin with the number of identities: {first[:40]!r}; {_REMEDY}"
        )
    return count


def _read_labels(file: RecordFile, keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """The first label of each record."""
    found = [_whole(file.read(int(key)).labels[0], file, int(key)) for key in keys]
    return np.array(found, dtype=np.int64)


def _is_range(file: RecordFile, key: int) -> bool:
    """Whether there is such a record and it is that of an identity."""
    if key not in file.keys:
        return False
    record = file.read(key)
    return len(record.labels) == 2 and not record.content


def _whole(value: float, file: RecordFile, key: int) -> int:
    """A label as the whole number that it has to be."""
    if not 0 <= value < 1 << 40 or value != int(value):  # NaN fails the first of these
        raise InputError(f"record {key} of {file.path} has the label {value:g}: {_REMEDY}")
    return int(value)


def _by_ranges(
    file: RecordFile, identity_keys: range
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Keys and labels of all pictures from the ranges of the identities."""
    keys: list[NDArray[np.int64]] = []
    labels: list[NDArray[np.int64]] = []
    total = 0
    last = int(file.keys[-1])
    for key in identity_keys:
        bounds = [_whole(value, file, key) for value in file.read(key).labels]
        # not more than there are records, before as much memory is set aside
        count = bounds[-1] - bounds[0]
        if len(bounds) != 2 or not 0 < count <= len(file.keys) or bounds[1] > last + 1:
            raise InputError(f"record {key} of {file.path} is no range of pictures: {_REMEDY}")
        pictures = np.arange(bounds[0], bounds[1])
        keys.append(pictures)
        label = _whole(file.read(int(pictures[0])).labels[0], file, int(pictures[0]))
        labels.append(np.full(len(pictures), label, dtype=np.int64))
        total += len(pictures)
        if total > last + 1:
            raise InputError(f"{file.path} gives a picture to two identities: {_REMEDY}")
    if not keys:
        raise InputError(f"{file.path} has no identities: {_REMEDY}")
    joined = np.concatenate(keys)
    if not np.isin(joined, file.keys).all() or len(np.unique(joined)) != len(joined):
        raise InputError(
            f"{file.path} has ranges of pictures that its index does not know: {_REMEDY}"
        )
    return joined, np.concatenate(labels)


def _read_index(path: Path) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Keys, rising, and their offsets."""
    text = read_text(path, _REMEDY, 1024 * MEBI)
    try:
        table = np.loadtxt(io.StringIO(text), dtype=np.int64, ndmin=2, comments=None)
    except (ValueError, OverflowError, IndexError) as error:
        raise InputError(
            f"{path} is no index with a key and an offset per line ({error}): {_REMEDY}"
        ) from error
    if not len(table) or table.shape[1] != 2 or table.min() < 0 or table.max() >= 1 << 48:
        raise InputError(f"{path} is no index with a key and an offset per line: {_REMEDY}")
    if len(np.unique(table[:, 0])) != len(table):
        raise InputError(f"{path} has a key twice: {_REMEDY}")
    order = np.argsort(table[:, 0], kind="stable")
    return table[order, 0], table[order, 1]
