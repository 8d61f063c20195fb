"""InsightFace's verification sets: encoded pictures and a flag per pair, in a pickle.

A pickle is a program. It runs here with every look-up of a name refused: only what builds bytes,
numbers, flags, lists and tuples is let through.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from secateur.data.images import Picture8, decode_image
from secateur.data.pairs import Pairs
from secateur.errors import InputError
from secateur.readers import MEBI, read_bytes

FOLDS = 10
_LARGEST = 2048 * MEBI
_DEEPEST = 20
_BY_NUMBER = ("PUT", "BINPUT", "LONG_BINPUT", "GET", "BINGET", "LONG_BINGET")


@dataclass(frozen=True, slots=True, eq=False)
class BinSet:
    """A verification set: pictures 2k and 2k + 1 are pair k.

    Attributes:
        name: Name of the file, for messages.
        encoded: 2P picture files.
        same: (P,) whether both pictures of a pair show one person.
    """

    name: str
    encoded: tuple[bytes, ...]
    same: NDArray[np.bool_]

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.encoded)

    def __getitem__(self, index: int) -> Picture8:
        """(H, W, 3) RGB.

        Raises:
            InputError: If it is no readable picture.
        """
        return decode_image(self.encoded[index], f"picture {index} of {self.name}")

    def pairs(self) -> Pairs:
        """Pairs in ten folds of neighbours, as the field evaluates these sets."""
        count = len(self.same)
        first = 2 * np.arange(count)
        sizes = [len(part) for part in np.array_split(first, min(FOLDS, count))]
        return Pairs(first, first + 1, self.same, np.repeat(np.arange(len(sizes)), sizes))


def read_bin_set(path: Path) -> BinSet:
    """Read a ``.bin`` file without running anything in it.

    Raises:
        InputError: If there is no such file, it wants to run something, or holds something else.
    """
    content = read_bytes(path, "fetch it again", _LARGEST)
    try:
        _check_opcodes(content)
        value = _PlainUnpickler(io.BytesIO(content), encoding="bytes").load()
    except InputError as error:
        raise InputError(f"{path} {error}: fetch it from its authors") from None
    except Exception as error:  # damaged pickles raise anything
        raise InputError(
            f"{path} is no intact verification set ({type(error).__name__}): fetch it again"
        ) from error
    encoded, same = value if isinstance(value, tuple | list) and len(value) == 2 else ([], [])
    fits = (
        isinstance(encoded, list)
        and isinstance(same, list)
        and bool(same)
        and all(isinstance(item, bytes) for item in encoded)
        and all(isinstance(item, bool | int) and item in (0, 1) for item in same)
    )
    if not fits:
        raise InputError(f"{path} does not hold a list of pictures and a list of flags")
    if len(encoded) != 2 * len(same):
        raise InputError(
            f"{path} holds {len(encoded):,} pictures for {len(same):,} pairs, not twice as many: "
            "fetch it again"
        )
    return BinSet(path.name, tuple(encoded), np.array(same, dtype=np.bool_))


def _check_opcodes(content: bytes) -> None:
    """Refuse numbers in a pickle for which the unpickler would set aside any amount of memory.

    Nine bytes can ask for a table of 4 GB: the number of a remembered value is its place there.

    Raises:
        InputError: If there is one, or values are nested deeply.
    """
    highest = len(content)
    marks = 0
    for opcode, argument, _ in pickletools.genops(content):
        marks += {"MARK": 1, "TUPLE": -1, "APPENDS": -1, "LIST": -1}.get(opcode.name, 0)
        if marks > _DEEPEST:
            raise InputError("holds values that are nested too deeply")
        if opcode.name in _BY_NUMBER and isinstance(argument, int) and argument > highest:
            raise InputError(f"remembers a value as number {argument:,}, more than it has bytes")


class _PlainUnpickler(pickle.Unpickler):
    """Builds plain values; whatever it would have to look up by name is refused."""

    def find_class(self, module: str, name: str) -> Callable[[str, str], bytes]:
        """The one function that Python 3 writes bytes with in old protocols, remade; or refuse."""
        if (module, name) == ("_codecs", "encode"):
            return _encode_latin1
        raise InputError(f"asks to run {module}.{name}, and nothing in a data file is executed")

    def persistent_load(self, pid: object) -> object:
        """Refuse references to elsewhere."""
        raise InputError(f"refers to an object outside the file ({pid!r})")


def _encode_latin1(text: str, encoding: str) -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
        raise InputError(f"holds bytes in the encoding {encoding!r}")
    return text.encode("latin1")
