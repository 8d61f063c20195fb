"""One reader for each kind of small file: text, JSON, YAML, CSV.

They open regular files only, read no more than a limit, and answer anything that is wrong with
one `InputError` that names the file and, where there is one, the line or the key.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

import yaml

from secateur.errors import InputError
from secateur.schema import Plain

MEBI = 1 << 20
SMALL = 64 * MEBI  # no list, record or table of this project comes near it
DEEPEST = 40  # levels of nesting of JSON and YAML
_WHOLE = re.compile(r"[0-9]{1,18}")
_NUMBER = re.compile(
    r"[+-]?(?:[0-9]{1,300}(?:\.[0-9]{0,300})?|\.[0-9]{1,300})(?:[eE][+-]?[0-9]{1,4})?"
)


def open_regular(path: str | Path) -> io.FileIO:
    """Open a file for reading, but nothing that is no file: a pipe or device has no end.

    Args:
        path: The file; a link to one will do.

    Raises:
        OSError: If it is not there, may not be read, or is no regular file.
    """
    # Without O_NONBLOCK the open itself would wait for a writer at the other end of a pipe.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        descriptor = os.open(path, flags)
    except ValueError as error:  # a NUL in the name
        raise OSError(22, f"no file can have this name ({error})", str(path)) from error
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe, socket or device"
        raise OSError(22, f"it is {kind}, not a file", str(path))
    return io.FileIO(descriptor, "rb")


def read_bytes(path: str | Path, remedy: str, limit: int = SMALL) -> bytes:
    """Read a whole file of bounded size.

    Args:
        path: A regular file.
        remedy: What to do about a file that is missing or wrong; ends the sentence.
        limit: Most bytes.

    Raises:
        InputError: If it cannot be read or is larger.
    """
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            # not limit + 1 at once, which would set aside that much memory for every small file
            content = file.read(min(size, limit) + 1) or b""
            while len(content) <= limit and (more := file.read(MEBI)):
                content += more  # it grows, or is one of /proc, which say that they are empty
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}): {remedy}") from error
    except MemoryError:
        raise InputError(f"{path} does not fit in memory: {remedy}") from None
    if len(content) > limit:
        raise InputError(f"{path} is larger than {_size(limit)}, which no such file is: {remedy}")
    return content


def read_text(path: str | Path, remedy: str, limit: int = SMALL) -> str:
    r"""Read UTF-8 text, with or without a byte-order mark; line ends become ``\\n``.

    Args:
        path: The file.
        remedy: Ends the sentence of an error.
        limit: Most bytes.

    Raises:
        InputError: If it cannot be read, is no UTF-8, or holds a NUL.
    """
    return decode_text(read_bytes(path, remedy, limit), path, remedy)


def decode_text(content: bytes, path: str | Path, remedy: str) -> str:
    """Decode text that is in memory; see `read_text`."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise InputError(
            f"{path} cannot be read as text: it is not a text file in UTF-8 (perhaps UTF-16): save "
            f"it as UTF-8, or {remedy}"
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}, line {line}, cannot be read as text: it is not a text file in UTF-8 (byte "
            f"{content[error.start]:#04x}, perhaps Latin-1): save it as UTF-8, or {remedy}"
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise InputError(f"{path}, line {line}, holds a NUL, so it is not a text file: {remedy}")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_lines(path: str | Path, remedy: str, limit: int = SMALL) -> list[str]:
    """Lines of a text file without their ends; see `read_text`."""
    return read_text(path, remedy, limit).removesuffix("\n").split("\n")


def read_json(path: str | Path, remedy: str, limit: int = SMALL) -> Plain:
    """Read JSON: plain values, finite numbers, no key twice, nesting at most `DEEPEST`.

    Args:
        path: The file.
        remedy: Ends the sentence of an error.
        limit: Most bytes.

    Raises:
        InputError: If it is missing, or anything else.
    """
    return parse_json(read_text(path, remedy, limit), path, remedy)


def parse_json(text: str, path: str | Path, remedy: str) -> Plain:
    """Parse JSON that is in memory; see `read_json`."""

    def refuse(why: str) -> NoReturn:
        raise InputError(f"{path} is not valid JSON ({why}): {remedy}")

    def no_constant(name: str) -> NoReturn:
        refuse(f"{name} is no number")

    def number(text: str) -> float:
        value = float(text)
        return value if math.isfinite(value) else refuse(f"the number {text[:20]} is too large")

    def whole(text: str) -> int:
        return int(text) if len(text) <= 20 else refuse(f"a number has {len(text):,} digits")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            seen: set[str] = set()
            twice = next(k for k, _ in pairs if k in seen or seen.add(k))  # type: ignore[func-returns-value]
            refuse(f"it has the key {twice[:60]!r} twice")
        return found

    try:
        value: Plain = json.loads(
            text,
            parse_constant=no_constant,
            parse_float=number,
            parse_int=whole,
            object_pairs_hook=once,
        )
    except RecursionError:
        refuse("it is nested too deeply")
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        refuse(str(error))
    if is_deeper_than(value, DEEPEST):
        refuse(f"it is nested more than {DEEPEST} levels deep")
    return value


class _PlainLoader(yaml.SafeLoader):
    """YAML's plain values; no aliases, which can make a small file a huge value."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:  # noqa: ANN401
        """One node, unless it is an alias or too deep."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            raise _yaml_error("aliases (*name) are not allowed", event.start_mark)
        self.depth += 1
        if self.depth > DEEPEST:
            raise _yaml_error("it is nested too deeply", event.start_mark)
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping of texts that has no key twice."""
        found: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.value == "<<":
                raise _yaml_error("a key is no plain text", key_node.start_mark)
            key = self.construct_object(key_node, deep=True)
            key = key if isinstance(key, int) and not isinstance(key, bool) else key_node.value
            if key in found:
                raise _yaml_error(f"the key {str(key)[:60]!r} is there twice", key_node.start_mark)
            found[key] = self.construct_object(value_node, deep=True)
        return found

    def construct_plain_mapping(self, node: yaml.MappingNode) -> dict[Any, Any]:
        """A mapping, its values constructed too."""
        return self.construct_mapping(node, deep=True)


def _yaml_error(problem: str, mark: Any) -> yaml.MarkedYAMLError:  # noqa: ANN401 - untyped there
    """An error of YAML at a place of the text."""
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


# as OmegaConf reads numbers: 1e-3 is one, 2024-01-01 and 12:30 are texts
_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] != "timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_PlainLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9][0-9_]*)(?:\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)
_PlainLoader.add_constructor("tag:yaml.org,2002:map", _PlainLoader.construct_plain_mapping)


def read_yaml(path: str | Path, remedy: str, limit: int = 4 * MEBI) -> Plain:
    """Read YAML as plain values: no tags, no aliases, no key twice, nesting at most `DEEPEST`.

    Args:
        path: The file.
        remedy: Ends the sentence of an error.
        limit: Most bytes.

    Raises:
        InputError: If it is missing, or anything else; names the line.
    """
    text = read_text(path, remedy, limit)
    try:
        value: Plain = yaml.load(text, Loader=_PlainLoader)  # noqa: S506 - a subclass of SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}," if mark is not None else ""
        raise InputError(
            f"{path}{line} is not valid YAML ({error.problem or error.context}): {remedy}"
        ) from None
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        why = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(f"{path} is not valid YAML ({why}): {remedy}") from None
    return value


def read_csv(
    path: str | Path, remedy: str, limit: int = 1024 * MEBI
) -> Iterable[tuple[int, list[str]]]:
    """Rows of a CSV file with their line numbers, empty ones left out.

    Args:
        path: The file.
        remedy: Ends the sentence of an error.
        limit: Most bytes; the boxes of VGGFace2 are 120 MB.

    Raises:
        InputError: If it cannot be read as CSV; names the line.
    """
    reader = csv.reader(io.StringIO(read_text(path, remedy, limit)), strict=True)
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}, is no CSV ({error}): {remedy}") from None


def read_csv_records(path: str | Path, remedy: str, limit: int = SMALL) -> list[dict[str, str]]:
    """Rows of a CSV file by the names in its first line; what a short row lacks is left out.

    Args:
        path: The file.
        remedy: Ends the sentence of an error.
        limit: Most bytes.

    Raises:
        InputError: If it cannot be read as CSV, or a row is longer than the first line.
    """
    head: list[str] | None = None
    records = []
    for line, row in read_csv(path, remedy, limit):
        if head is None:
            head = row
            continue
        if len(row) > len(head):
            raise InputError(
                f"{path}, line {line}, has {len(row)} values under {len(head)} names: {remedy}"
            )
        records.append(dict(zip(head, row, strict=False)))
    return records


def count_in(text: str) -> int | None:
    """A whole number of ASCII digits that fits 18 of them; None for anything else.

    ``str.isdigit`` also takes ``²``, and ``int`` takes ages for 100,000 digits.

    >>> count_in("12"), count_in("²"), count_in("-1"), count_in("")
    (12, None, None, None)
    """
    text = text.strip(" \t")
    return int(text) if _WHOLE.fullmatch(text) else None


def number_in(text: str) -> float | None:
    """A finite decimal number; None for anything else, NaN, infinity and ``1_0`` included.

    >>> number_in("1.5e3"), number_in("nan"), number_in("1_0"), number_in("1e999")
    (1500.0, None, None, None)
    """
    text = text.strip(" \t")
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def is_deeper_than(value: object, levels: int) -> bool:
    """Whether containers are nested deeper than so many levels."""
    layer: list[object] = [value]
    for _ in range(levels + 1):
        layer = [
            item
            for holder in layer
            if isinstance(holder, dict | list)
            for item in (holder.values() if isinstance(holder, dict) else holder)
        ]
        if not layer:
            return False
    return True


def _size(count: int) -> str:
    return f"{count / MEBI:,.0f} MB" if count >= MEBI else f"{count:,} bytes"
