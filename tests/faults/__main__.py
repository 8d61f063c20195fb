"""Faults on real runs: ``make test-faults KILLS=30``. Needs root for the small file systems.

Each class of fault is tried several times; a run *survives* if the same command then ends with
the same result as an unbroken one, and a fault that is told takes one sentence.
"""

from __future__ import annotations

import random
import shutil
import signal
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.faults.commands import (
    Outcome,
    draw_people,
    forked,
    grow,
    last_line,
    result,
    run_command,
    small_disk,
    train,
    used_kibibytes,
    warm,
)

POINTS = 10  # moments at which a disk is full
_LARGE = 1 << 20  # KiB


class Bench:
    """Drawn people, and an unbroken run to compare with.

    Args:
        base: An empty folder.
    """

    def __init__(self, base: Path) -> None:
        self.base = base
        self.people = draw_people(base)
        outcome = self.run("whole")
        assert outcome.status == 0, outcome.errors
        self.learn(outcome)
        self.wanted = result(base / "whole")

    def learn(self, outcome: Outcome) -> None:
        """Times of an unbroken run: all of it, and until its first checkpoint."""
        assert outcome.saved is not None
        self.seconds, self.saved = outcome.seconds, outcome.saved

    def run(self, folder: Path | str, **how: object) -> Outcome:
        """The run, in a folder."""
        first = self.base / folder / "checkpoints" / "last.ckpt"
        arguments = train(self.base / folder, self.people)
        return run_command(arguments, self.base, watched=first, **how)  # type: ignore[arg-type]

    def interrupted(
        self,
        folder: str,
        status: int,
        how: Callable[[], dict[str, object]],
        environment: Mapping[str, str] | None = None,
    ) -> Outcome | None:
        """A run that something ends at a moment of the time that an unbroken one takes.

        A machine that became faster or slower has other times: a run that ended by itself says
        the new one and is begun anew.

        Args:
            folder: Its folder.
            status: With what it ends where the interruption hits it.
            how: Arguments of `run_command`, from the times that are known then.
            environment: Changes of the environment.

        Returns:
            How it ended; None if it was over before in five attempts.
        """
        for _ in range(5):
            outcome = self.run(folder, environment=environment, **how())
            if outcome.status != 0:
                return outcome
            self.learn(outcome)
            shutil.rmtree(self.base / folder)
        print(f"{folder}: over before its moment, no status {status}", flush=True)
        return None

    def ends_alike(self, folder: Path | str) -> str:
        """Give the same command again; empty if the result is that of the unbroken run."""
        again = self.run(folder)
        if again.status != 0:
            return f"status {again.status}: {last_line(again.errors)}"
        found = result(self.base / folder)
        wrong = [k for k in self.wanted | found if self.wanted.get(k) != found.get(k)]
        return f"another result: {', '.join(wrong)}" if wrong else ""


def kills(bench: Bench, count: int, *, other_disk: bool) -> tuple[int, int]:
    """Kill a run at random moments, then give the same command until it ends.

    One in four is killed before its first checkpoint, the others after it, where there is
    something to lose. Only runs that the kill has hit are counted: one that had ended is begun
    anew.

    Returns:
        How many were killed, and how many ended with the result of the unbroken run.
    """
    generator = random.Random(int(other_disk))
    tried = survived = late = 0
    with small_disk(200 * 1024) as disk:
        environment = {"TMPDIR": str(disk)} if other_disk else {}
        for number in range(count):
            folder = f"killed{number}{'b' if other_disk else 'a'}"
            share, early = generator.uniform(0.02, 0.98), number % 4 == 3

            def moment(share: float = share, early: bool = early) -> dict[str, object]:
                if early:
                    return {"kill_after": share * bench.saved}
                return {"kill_after_saved": share * (bench.seconds - bench.saved)}

            killed = bench.interrupted(folder, -signal.SIGKILL, moment, environment)
            if killed is None:
                continue
            left = sorted(path.name for path in (bench.base / folder).glob("checkpoints/*"))
            problem = bench.ends_alike(folder)
            if killed.status != -signal.SIGKILL:  # it failed by itself
                problem = f"status {killed.status}: {last_line(killed.errors)}"
            tried += 1
            survived += not problem
            late += "last.ckpt" in left
            print(
                f"{folder}, killed after {killed.seconds:.2f} s with {', '.join(left) or 'nothing'}"
                f": {problem or 'same result'}",
                flush=True,
            )
            shutil.rmtree(bench.base / folder, ignore_errors=True)
        strays = [path.name for path in disk.iterdir()]
        print(f"{late} of {tried} had a checkpoint when they were killed")
        print(f"left in TMPDIR: {', '.join(strays) or 'nothing'}", flush=True)
    return tried, survived


def full_disk_of_a_run(bench: Bench) -> tuple[int, int]:
    """Runs on disks that are too small, which then get room.

    Returns:
        How many were tried, and how many said so in one sentence and went on.
    """
    survived = 0
    size = used_kibibytes(bench.base / "whole")
    for number in range(POINTS):
        with small_disk(max(4, int(size * (number + 0.5) / POINTS))) as disk:
            first = bench.run(disk / "run")
            grow(disk, _LARGE)
            problem = bench.ends_alike(disk / "run")
            if not first.is_sentence:
                problem = f"status {first.status}: {last_line(first.errors)}"
            print(f"full disk {number}: {problem or last_line(first.errors)}", flush=True)
            survived += not problem
    return POINTS, survived


def full_disk_of_a_study(bench: Bench) -> tuple[int, int]:
    """Searches whose journal meets a full disk, which then gets room.

    Returns:
        How many were tried, and how many said so in one sentence and went on to the end with all
        trials that were done before.
    """
    trials, survived = 40, 0

    def search(folder: Path, log: Path) -> Callable[[], None]:
        def body() -> None:
            from secateur.errors import InputError
            from secateur.search.workers import run_workers
            from tests.search.toy import toy_assignment

            log.mkdir(exist_ok=True)
            job = toy_assignment(log, trials, storage=str(folder / "study.journal"))
            try:
                print(run_workers(job, 1).counts())
            except InputError as error:
                print(f"error: {error}")
                sys.exit(2)

        return body

    with small_disk(_LARGE) as disk:
        whole = forked(search(disk, bench.base / "log"), bench.base)
        assert whole.status == 0, whole.errors
        size = used_kibibytes(disk)
    for number in range(POINTS):
        log = bench.base / f"log{number}"
        # Whole pages of 4 KiB, and at least two fewer than the journal takes in the end.
        kibibytes = min(int(size * (number + 0.5) / POINTS), size - 8) // 4 * 4
        with small_disk(max(4, kibibytes)) as disk:
            first = forked(search(disk, log), bench.base)
            before = _trials(disk)
            grow(disk, _LARGE)
            again = forked(search(disk, log), bench.base)
            after = _trials(disk)
            problem = "" if first.is_sentence else f"{first.status}: {last_line(first.errors)}"
            if again.status != 0 or len(after) < trials:
                problem = f"{again.status}, {len(after)} trials: {last_line(again.errors)}"
            elif not before.items() <= after.items():
                problem = "a finished trial changed"
            said = problem or last_line(first.errors)
            print(f"study {number}: {len(before)} done; {said}", flush=True)
            survived += not problem
    return POINTS, survived


def _trials(disk: Path) -> dict[int, float]:
    """Value of each finished trial of a study, by number; nothing if there is no study yet."""
    import optuna

    from secateur.search.journal import open_journal

    journal = disk / "study.journal"
    if not journal.exists() or not journal.stat().st_size:
        return {}
    try:
        study = optuna.load_study(study_name="toy", storage=open_journal(journal))
    except KeyError:
        return {}
    return {
        t.number: t.value for t in study.trials if t.state.is_finished() and t.value is not None
    }


def middle_of_largest_part(path: Path) -> int:
    """Where in an archive a damage counts: between its parts there is room that nobody reads."""
    with zipfile.ZipFile(path) as archive:
        part = max(archive.infolist(), key=lambda part: part.file_size)
    return part.header_offset + 2 * len(part.filename) + 128 + part.file_size // 2


def damaged_checkpoints(bench: Bench) -> tuple[int, int]:
    """Damage the last checkpoint, the last two, all of them, in the middle of a run.

    Returns:
        How many were tried, and how many went on to the same result, or for the last class said
        in one sentence how to.
    """
    survived = 0
    damages: list[tuple[str, ...]] = [
        ("last",),
        ("last", "previous"),
        ("last", "previous", "best_pruned", "best_dense"),
    ]
    for number, names in enumerate(damages):
        folder = bench.base / f"damaged{number}"
        bench.run(folder)
        (folder / "summary.json").unlink()
        for name in names:
            path = folder / "checkpoints" / f"{name}.ckpt"
            content = bytearray(path.read_bytes()) if path.exists() else bytearray(9)
            content[middle_of_largest_part(path) if path.exists() else 4] ^= 0xFF
            path.write_bytes(content[: len(content) // (1 + number)])
        again = bench.run(folder)
        went_on = again.status == 0 and "going on from" in again.errors
        same = went_on and result(folder) == bench.wanted
        told = again.is_sentence and len(names) == 4
        good = told or same or (went_on and len(names) == 2)
        print(f"damaged {', '.join(names)}: {last_line(again.errors)}", flush=True)
        survived += good
    return len(damages), survived


def interrupts(bench: Bench) -> tuple[int, int]:
    """Ctrl-C once, and twice, at moments of a run.

    Returns:
        How many were tried, and how many ended with status 130 and the sentence, and went on.
    """
    tried, survived = 0, 0
    for number, share in enumerate((0.2, 0.5, 0.8, 0.2, 0.5, 0.8)):
        folder, twice = f"stopped{number}", number >= 3

        def moments(share: float = share, twice: bool = twice) -> dict[str, object]:
            at = share * bench.seconds
            return {"signals": (at, at + 0.05) if twice else (at,)}

        stopped = bench.interrupted(folder, 130, moments)
        if stopped is None:
            continue
        problem = bench.ends_alike(folder)
        if stopped.status != 130 or "stopped, the same command goes on" not in stopped.errors:
            problem = f"status {stopped.status}: {last_line(stopped.errors)}"
        print(
            f"{folder}, Ctrl-C {'twice' if twice else 'once'} after {stopped.seconds:.1f} s: "
            f"{problem or last_line(stopped.errors)}",
            flush=True,
        )
        tried += 1
        survived += not problem
    return tried, survived


def main(count: int, only: str = "") -> int:
    """Run every class and print the table; returns how many were lost."""
    warm()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name))
        classes: dict[str, Callable[[], tuple[int, int]]] = {
            "kill -9, one file system": lambda: kills(bench, count, other_disk=False),
            "kill -9, TMPDIR on another": lambda: kills(bench, count, other_disk=True),
            "disk full, run": lambda: full_disk_of_a_run(bench),
            "disk full, study": lambda: full_disk_of_a_study(bench),
            "damaged checkpoint": lambda: damaged_checkpoints(bench),
            "Ctrl-C once, twice": lambda: interrupts(bench),
        }
        rows = []
        for label, tried in classes.items():
            if only in label:
                rows.append((label, *tried()))
                print(f"{label}: {rows[-1][1]} tried, {rows[-1][2]} survived", flush=True)
        print(f"one run: {bench.seconds:.1f} s; all of it: {time.monotonic() - started:.0f} s")
    print(f"{'class':32}{'tried':>7}{'survived':>10}{'lost':>6}")
    for label, tried, survived in rows:
        print(f"{label:32}{tried:7}{survived:10}{tried - survived:6}")
    return sum(tried - survived for _, tried, survived in rows)


if __name__ == "__main__":
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 6
    sys.exit(bool(main(wanted, sys.argv[2] if len(sys.argv) > 2 else "")))
