"""Faults on real runs: ``make test-faults KILLS=30``. Needs root for the small file systems.

Each class of fault is tried several times; a run *survives* if the same command then ends with
the same result as an unbroken one, and a fault that is told takes one sentence.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MEASURED = ("latency", "wall_seconds", "peak_memory", "seconds")
_LIMIT = 1800  # seconds for one command


def train(folder: Path, data: Path) -> list[str]:
    """A short training run with every phase."""
    return [
        *(sys.executable, str(ROOT / "train.py"), "trainer=cpu", "model=extd_32"),
        *("trainer.enable_progress_bar=false", f"paths.data={data}", f"output_dir={folder}"),
        *("data.n_train=16", "data.n_val=2", "data.input_size=64", "data.batch_size=4"),
        *("data.num_workers=1", "phases.dense_epochs=2", "phases.prune_epochs=2"),
        *("phases.finetune_epochs=1", "optimizer.lr=5e-4"),
    ]


def run(
    command: list[str],
    environment: Mapping[str, str] | None = None,
    kill_after: float | None = None,
) -> tuple[int, str]:
    """Status and standard error of a command, which may be killed after some seconds."""
    process = subprocess.Popen(
        command,
        env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    )
    try:
        _, errors = process.communicate(timeout=kill_after or _LIMIT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        _, errors = process.communicate()
    return process.returncode, errors


def result(folder: Path) -> dict[str, Any]:
    """What a run found, without what differs between any two runs."""
    summary = json.loads((folder / "summary.json").read_text())
    return {k: v for k, v in summary.items() if not any(part in k for part in MEASURED)}


@contextmanager
def small_disk(megabytes: float) -> Iterator[Path]:
    """A file system of a size."""
    with tempfile.TemporaryDirectory() as name:
        options = f"size={int(megabytes * 1024)}k"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", name], check=True)
        try:
            yield Path(name)
        finally:
            subprocess.run(["umount", "-l", name], check=True)


def is_sentence(errors: str) -> bool:
    """Whether a command ended with one sentence."""
    last = errors.strip().splitlines()[-1:] or [""]
    return "Traceback" not in errors and last[0].startswith("error: ")


def kills(count: int, other_disk: bool) -> tuple[int, int]:
    """Kill a run at random moments, then give the same command until it ends.

    Returns:
        How many were tried, and how many ended with the result of the unbroken run.
    """
    generator = random.Random(int(other_disk))
    survived = 0
    with tempfile.TemporaryDirectory() as name, small_disk(200) as disk:
        base = Path(name)
        environment = {"TMPDIR": str(disk)} if other_disk else {}
        started = time.monotonic()
        status, errors = run(train(base / "whole", base / "data"))
        assert status == 0, errors
        took = time.monotonic() - started
        wanted = result(base / "whole")
        for number in range(count):
            folder = base / f"broken{number}"
            moment = generator.uniform(0.3, 1.0) * took
            run(train(folder, base / "data"), environment, kill_after=moment)
            status, errors = run(train(folder, base / "data"), environment)
            same = status == 0 and result(folder) == wanted
            survived += same
            if not same:
                print(f"killed after {moment:.1f} s: status {status}: {errors[-300:]}")
    return count, survived


def full_disk(count: int) -> tuple[int, int]:
    """Runs on disks that are too small, which then get room.

    Returns:
        How many were tried, and how many said so in one sentence and went on.
    """
    survived = 0
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        status, errors = run(train(base / "whole", base / "data"))
        assert status == 0, errors
        size = sum(f.stat().st_size for f in (base / "whole").rglob("*") if f.is_file()) / 2**20
        wanted = result(base / "whole")
        for number in range(count):
            with small_disk(size * (number + 0.5) / count) as disk:
                folder = disk / "run"
                status, errors = run(train(folder, base / "data"))
                told = status == 2 and is_sentence(errors)
                subprocess.run(["mount", "-o", "remount,size=400m", str(disk)], check=True)
                again, more = run(train(folder, base / "data"))
                same = told and again == 0 and result(folder) == wanted
                survived += same
                if not same:
                    print(f"disk {number}: status {status}, {again}: {errors[-300:]} {more[-300:]}")
    return count, survived


def damaged_checkpoints() -> tuple[int, int]:
    """Damage the last checkpoint, the last two, all of them.

    Returns:
        How many were tried, and how many went on or said in a sentence how to.
    """
    survived = 0
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        for number, names in enumerate((["last"], ["last", "previous"])):
            folder = base / f"run{number}"
            status, errors = run(train(folder, base / "data"))
            assert status == 0, errors
            wanted = result(folder)
            (folder / "summary.json").unlink()
            for one in names:
                path = folder / "checkpoints" / f"{one}.ckpt"
                content = bytearray(path.read_bytes())
                content[len(content) // 2] ^= 0xFF
                path.write_bytes(content)
            status, errors = run(train(folder, base / "data"))
            survived += (
                status == 0
                and "Traceback" not in errors
                and bool(result(folder))
                and (len(names) > 1 or result(folder) == wanted)
            )
    return 2, survived


def main(count: int) -> int:
    """Run every class and print the table; returns how many were lost."""
    rows = [
        ("kill -9, one file system", *kills(count, other_disk=False)),
        ("kill -9, TMPDIR on another", *kills(count, other_disk=True)),
        ("disk full", *full_disk(count)),
        ("damaged checkpoint", *damaged_checkpoints()),
    ]
    print(f"{'class':32}{'tried':>7}{'survived':>10}{'lost':>6}")
    for name, tried, survived in rows:
        print(f"{name:32}{tried:7}{survived:10}{tried - survived:6}")
    return sum(tried - survived for _, tried, survived in rows)


if __name__ == "__main__":
    sys.exit(bool(main(int(sys.argv[1]) if len(sys.argv) > 1 else 6)))
