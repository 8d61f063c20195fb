"""Pairs of pictures to verify: LFW's pairs.txt, and pairs drawn from labelled pictures."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from secateur.errors import InputError
from secateur.readers import count_in, read_lines

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".JPG", ".JPEG", ".PNG")


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Pairs by index of picture.

    Attributes:
        first: (P,) index of one picture.
        second: (P,) index of the other.
        same: (P,) whether both show one person.
        fold: (P,) fold of cross-validation, from 0.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    same: NDArray[np.bool_]
    fold: NDArray[np.int64]

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.first)


def read_pairs(path: Path, suffix: str = ".jpg") -> tuple[tuple[str, ...], Pairs]:
    """Read pairs in LFW's format.

    The first line holds the number of folds and of pairs of each kind per fold (one number: one
    fold). Per fold follow as many lines ``name i j`` of matching pairs and ``name i name j`` of
    others; picture i of a name is ``name/name_000i.jpg``.

    Args:
        path: The file.
        suffix: Suffix of the pictures.

    Returns:
        Names of the pictures in the order they occur first, and pairs of indices into them.

    Raises:
        InputError: If there is no such file, or a line is wrong or missing.
    """
    remedy = "give a pairs file in LFW's format, or data.pairs=null to draw pairs"
    lines = [line.split() for line in read_lines(path, remedy)]
    header = [count_in(value) for value in lines[0]]
    if not 1 <= len(header) <= 2 or not all(header):
        raise InputError(
            f"{path} does not start with the numbers of folds and of pairs per fold: it is no "
            "pairs file in LFW's format"
        )
    n_folds, per_kind = (value or 1 for value in (header if len(header) == 2 else [1, *header]))
    rows = [(number, line) for number, line in enumerate(lines[1:], start=2) if line]
    if len(rows) != n_folds * per_kind * 2:
        raise InputError(
            f"{path} has {len(rows):,} pairs and its first line says "
            f"{n_folds} folds of 2 x {per_kind}: fetch it again"
        )
    index: dict[str, int] = {}
    pairs: list[tuple[int, int]] = []
    for number, line in rows:
        names = _names(line, suffix)
        same = (number - 2) // per_kind % 2 == 0
        if names is None or (len(line) == 3) != same:
            raise InputError(
                f"{path}, line {number}, should be {'name i j' if same else 'name i name j'} and "
                f"is {' '.join(line)[:60]!r}"
            )
        first, second = (index.setdefault(name, len(index)) for name in names)
        pairs.append((first, second))
    table = np.array(pairs, dtype=np.int64)
    order = np.arange(len(pairs))
    return tuple(index), Pairs(
        table[:, 0], table[:, 1], order // per_kind % 2 == 0, order // (2 * per_kind)
    )


def write_pairs(path: Path, rows: Iterable[tuple[str, ...]], n_folds: int, per_kind: int) -> None:
    """Write rows of names and numbers in LFW's format; they are in the order of the file."""
    text = "".join("\t".join(row) + "\n" for row in rows)
    path.write_text(f"{n_folds}\t{per_kind}\n{text}", encoding="utf-8")


def check_pictures(root: Path, names: Iterable[str], source: Path) -> tuple[str, ...]:
    """Find out now, not in the last epoch, whether a picture is missing.

    Args:
        root: Folder of the pictures.
        names: Their names, with the suffix that the list assumes.
        source: The list.

    Returns:
        Names of the files, which may have another suffix of pictures than the list assumes.

    Raises:
        InputError: If one is missing, or there are two with one name and different suffixes.
    """
    found: list[str] = []
    missing: list[str] = []
    for name in names:
        # os.path answers for names that no file system takes, such as one of thousands of letters
        if os.path.isfile(root / name):  # noqa: PTH113
            found.append(name)
            continue
        stem = name.rpartition(".")[0]
        others = [stem + suffix for suffix in SUFFIXES if os.path.isfile(root / (stem + suffix))]  # noqa: PTH113
        if len(others) > 1:
            raise InputError(
                f"{source} names {stem}, and {others[0]} and {others[1]} are both under {root}: "
                "remove one of them"
            )
        (found if others else missing).append(others[0] if others else name)
    if missing:
        raise InputError(
            f"{len(missing):,} of the {len(missing) + len(found):,} pictures that {source} names "
            f"are missing under {root}, the first is {missing[0]}: complete the folder, or shorten "
            "the list"
        )
    return tuple(found)


def draw_pairs(labels: NDArray[np.int64], per_kind: int, n_folds: int, seed: int) -> Pairs:
    """Draw matching and other pairs at random; no identity is in two folds.

    Args:
        labels: (N,) identity of each picture.
        per_kind: Pairs of each kind in each fold.
        n_folds: Number of folds; fewer where there are too few identities.
        seed: Seed of the drawing.

    Returns:
        At most as many pairs as asked for, each once; pictures of lone identities are in
        non-matching pairs only.

    Raises:
        InputError: If there are no two identities, or no identity has two pictures.
    """
    generator = np.random.default_rng((seed, 0x9A12))
    identities, counts = np.unique(labels, return_counts=True)
    many = int((counts > 1).sum())
    if len(identities) < 2 or not many:
        raise InputError(
            f"{len(labels):,} pictures of {len(identities):,} identities make no pairs to verify: "
            "give data.pairs, or pictures of two people with two pictures each"
        )
    n_folds = max(1, min(n_folds, len(identities) // 2, many))
    # Identities with several pictures are dealt out first, so that each fold gets some.
    shuffled = generator.permutation(len(identities))
    shuffled = shuffled[np.argsort(counts[shuffled] == 1, kind="stable")]
    chosen: list[tuple[int, int, bool, int]] = []
    for fold in range(n_folds):
        members = [np.flatnonzero(labels == identities[k]) for k in shuffled[fold::n_folds]]
        for same in (True, False):
            found = _draw_fold(members, per_kind, same, generator)
            chosen += [(first, second, same, fold) for first, second in found]
    table = np.array(chosen, dtype=np.int64)
    return Pairs(table[:, 0], table[:, 1], table[:, 2].astype(np.bool_), table[:, 3])


def _draw_fold(
    members: list[NDArray[np.int64]], count: int, same: bool, generator: np.random.Generator
) -> list[tuple[int, int]]:
    """Distinct pairs within identities or between them, in the order drawn."""
    groups = [group for group in members if len(group) > 1] if same else members
    found: dict[tuple[int, int], None] = {}
    for _ in range(20 * count):
        if len(found) == count or not groups:
            break
        if same:
            one, two = generator.choice(groups[generator.integers(len(groups))], 2, replace=False)
        else:
            a, b = generator.choice(len(groups), 2, replace=False)
            one, two = generator.choice(groups[a]), generator.choice(groups[b])
        found[int(min(one, two)), int(max(one, two))] = None
    return list(found)


def _names(line: list[str], suffix: str) -> tuple[str, str] | None:
    """Names of the two pictures of a line, or None if it is no pair."""
    if len(line) == 3:
        line = [line[0], line[1], line[0], line[2]]
    numbers = [count_in(value) for value in line[1::2]]
    people = line[::2]
    if len(line) != 4 or any(n is None or n > 1_000_000 for n in numbers):
        return None
    if any(not n.isprintable() or "/" in n or n in (".", "..") for n in people):
        return None
    one, two = (f"{n}/{n}_{i:04d}{suffix}" for n, i in zip(people, numbers, strict=True))
    return one, two
