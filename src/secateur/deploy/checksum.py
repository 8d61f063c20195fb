"""Checksum of an exported file that the file itself carries, in the text that describes it.

``python -m secateur.deploy.checksum FILE`` writes that of a file which another program has changed
on purpose, such as an ONNX file in half precision; without it the file is taken for damaged.
"""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path

_BLANK = b"0" * 64
FIELD, UNKNOWN = "checksum", _BLANK.decode()
"""Key of the checksum in the JSON of a file, and its value until the file is written."""

_ENTRY = re.compile(rb'"%b": "([0-9a-f]{64})"' % FIELD.encode())


def write_checksum(path: Path) -> None:
    """Put the SHA-256 of a file into the file.

    It is taken with the place that is meant for it blank.

    Args:
        path: A file that holds ``"checksum": "000..."`` as plain bytes; another stays as it is.
    """
    content = path.read_bytes()
    if (found := _ENTRY.search(content)) is not None:
        start, end = found.span(1)
        path.write_bytes(content[:start] + _digest(content, found) + content[end:])


def is_intact(path: Path) -> bool:
    """Whether a file is as it was written, as far as it tells.

    Args:
        path: The file; one without a checksum is taken for intact.
    """
    content = path.read_bytes()
    found = _ENTRY.search(content)
    return found is None or found[1] == _digest(content, found)


def _digest(content: bytes, found: re.Match[bytes]) -> bytes:
    """SHA-256 of a file without its own."""
    start, end = found.span(1)
    digest = hashlib.sha256(content[:start])
    digest.update(_BLANK)
    digest.update(content[end:])
    return digest.hexdigest().encode()


if __name__ == "__main__":
    for name in sys.argv[1:]:
        write_checksum(Path(name))
