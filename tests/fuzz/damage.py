"""Damage to files: bytes, words, lines and lengths, a function of a seed."""

from __future__ import annotations

import random

_WORDS = (
    b"nan", b"inf", b"-1", b"0", b"1e999", b"9" * 5000, "²".encode(), b"null", b"true", b"[]",
    b"{}", b'"x"', b"*a", b"&a", b"!!python/object:os.system", b"${oc.env:HOME}", b"../../x",
    b"\0", b"_target_", b"99999999999999999999", b"4294967295", b"\xff", b"\xef\xbb\xbf", b"-0.0",
    b"os.system", b"[" * 3000, b"'", b'"', b"\r\n", b"a: b: c", b"1_0", b"0x10",
)  # fmt: skip


def damage(content: bytes, generator: random.Random, is_text: bool) -> bytes:
    """Damage a file in one to three places.

    Args:
        content: A good file.
        generator: Decides what and where.
        is_text: Whether to damage words and lines too.
    """
    ways = [_flip, _flip, _number, _cut, _drop, _repeat, _insert]
    if is_text:
        ways += [_word, _word, _word, _line, _line]
    for _ in range(generator.randint(1, 3)):
        content = generator.choice(ways)(content, generator)
    return content


def _place(content: bytes, generator: random.Random) -> int:
    return generator.randrange(len(content) + 1)


def _flip(content: bytes, generator: random.Random) -> bytes:
    if not content:
        return b"\0"
    changed = bytearray(content)
    changed[generator.randrange(len(changed))] = generator.randrange(256)
    return bytes(changed)


def _number(content: bytes, generator: random.Random) -> bytes:
    """A number of two to eight bytes that is at a border of its range."""
    size = generator.choice((2, 4, 8))
    value = generator.choice((0, 1, (1 << 8 * size) - 1, (1 << (8 * size - 1)) - 1, 1 << 15))
    place = _place(content, generator)
    return content[:place] + value.to_bytes(size, "little") + content[place + size :]


def _cut(content: bytes, generator: random.Random) -> bytes:
    return content[: _place(content, generator)]


def _drop(content: bytes, generator: random.Random) -> bytes:
    place = _place(content, generator)
    return content[:place] + content[place + generator.randint(1, 16) :]


def _repeat(content: bytes, generator: random.Random) -> bytes:
    place = _place(content, generator)
    return content[:place] + content[max(0, place - generator.randint(1, 64)) :]


def _insert(content: bytes, generator: random.Random) -> bytes:
    place = _place(content, generator)
    return content[:place] + generator.choice(_WORDS) + content[place:]


def _word(content: bytes, generator: random.Random) -> bytes:
    """Another word in place of one."""
    words = content.split(b" ")
    words[generator.randrange(len(words))] = generator.choice(_WORDS)
    return b" ".join(words)


def _line(content: bytes, generator: random.Random) -> bytes:
    """A line twice, elsewhere, or gone."""
    lines = content.split(b"\n")
    line = lines.pop(generator.randrange(len(lines)))
    for _ in range(generator.randrange(3)):
        lines.insert(generator.randrange(len(lines) + 1), line)
    return b"\n".join(lines)
