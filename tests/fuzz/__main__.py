"""Damaged files for all parsers, and a table: ``make fuzz SECONDS=600 FIRST=5000``."""

from __future__ import annotations

import logging
import random
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

from secateur.errors import InputError
from tests.fuzz.damage import damage
from tests.fuzz.targets import TARGETS, Target

SLOWEST = 2.0  # seconds for one input
MEMORY = 1 << 30  # more than this at once is an allocation that no small file needs


def main(seconds: float, each: int | None = None, only: str = "", first: int = 0) -> int:
    """Try damaged files in turn over all parsers.

    Args:
        seconds: When to stop.
        each: Inputs for each parser; None for as many as there is time for.
        only: Part of the names of the parsers to try.
        first: Seed of the first input; other seeds are other damage.

    Returns:
        How many inputs ended in anything but a value or a sentence.
    """
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    targets = [target for target in TARGETS if only in target.name]
    counts: dict[str, Counter[str]] = {target.name: Counter() for target in targets}
    slowest: dict[str, float] = dict.fromkeys(counts, 0.0)
    base = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (base + 2 * MEMORY, -1))
    with tempfile.TemporaryDirectory() as name:
        goods = {
            target.name: _good(target, Path(name) / str(i)) for i, target in enumerate(targets)
        }
        end, seed = time.monotonic() + seconds, first
        while time.monotonic() < end and (each is None or seed < first + each):
            for target in targets:
                folder, good = goods[target.name]
                slowest[target.name] = max(
                    slowest[target.name], _try(target, folder, good, seed, counts[target.name])
                )
            seed += 1
    print(f"{'parser':24}{'tried':>8}{'read':>8}{'sentence':>10}{'other':>7}{'slowest':>10}")
    for name, count in counts.items():
        tried = sum(count.values())
        print(
            f"{name:24}{tried:8,}{count['read']:8,}{count['sentence']:10,}"
            f"{count['other']:7,}{1e3 * slowest[name]:8.0f} ms"
        )
    total = sum(sum(count.values()) for count in counts.values())
    other = sum(count["other"] for count in counts.values())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{total:,} inputs, {other} foreign exceptions or hangs; peak memory {peak:,.0f} MB")
    return other


def _good(target: Target, folder: Path) -> tuple[Path, bytes]:
    folder.mkdir()
    target.write(folder)
    target.read(folder)
    return folder, (folder / target.file).read_bytes()


def _try(target: Target, folder: Path, good: bytes, seed: int, count: Counter[str]) -> float:
    """One input; returns the seconds that it took."""
    (folder / target.file).write_bytes(damage(good, random.Random(seed), target.is_text))
    started = time.process_time()
    try:
        target.read(folder)
        kind = "read"
    except InputError:
        kind = "sentence"
    except BaseException as error:  # the point is that there is none
        kind = "other"
        if count["other"] < 3:
            print(f"{target.name}, seed {seed}: {type(error).__name__}: {error}")
            traceback.print_exc(limit=-3, file=sys.stdout)
    took = time.process_time() - started
    if took > SLOWEST and kind != "other":
        print(f"{target.name}, seed {seed}: {took:.1f} s")
        kind = "other"
    count[kind] += 1
    return took


if __name__ == "__main__":
    limit = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    tries = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    only = sys.argv[3] if len(sys.argv) > 3 else ""
    begin = int(sys.argv[4]) if len(sys.argv) > 4 else 0
    sys.exit(bool(main(limit, tries or None, only, begin)))
