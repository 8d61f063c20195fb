"""Commands in processes of their own that can be killed, and disks that can be full.

A process is forked from this one, which has imported everything: a kill then falls into the run
itself, and sixty runs take minutes.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MEASURED = ("latency", "wall_seconds", "peak_memory", "seconds", "machine")
_LIMIT = 1800.0  # seconds for one command

MODEL = """# A recognizer for fault tests.   python train.py model=tiny
name: tiny
task: recognition
lightning: {_target_: secateur.recognizers.task.RecognizerTask, _partial_: true}
network: {_target_: tests.faults.network.TinyEmbedder, width: 8}
groups: {first: ["layers.0"], second: ["layers.3"]}
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended.

    Attributes:
        status: Exit status; negative if a signal ended it.
        errors: What it wrote, standard output and standard error together.
        seconds: How long it took.
        saved: After how many seconds a watched file was there; None if it never was.
    """

    status: int
    errors: str
    seconds: float
    saved: float | None = None

    @property
    def is_sentence(self) -> bool:
        """Whether it ended with status 2 and one sentence."""
        last = self.errors.strip().splitlines()[-1:] or [""]
        told = last[0].startswith("error: ") and "Traceback" not in self.errors
        return self.status == 2 and told


def warm() -> None:
    """Import what commands need, so that forked ones need not."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for name in (
        "matplotlib.pyplot",
        "optuna",
        "pytorch_lightning",
        "torch.export",
        "secateur.callbacks",
        "secateur.datamodules.identities",
        "secateur.recognizers.task",
        "secateur.search.workers",
        "secateur.workflows.cli",
        "secateur.workflows.train.command",
    ):
        importlib.import_module(name)


def train(folder: Path, data: Path, *more: str) -> list[str]:
    """Arguments of a short run with every phase on the drawn people of `draw_people`."""
    return [
        *("train.py", "model=tiny", "trainer=cpu", "data=lfw", f"data.root={data}"),
        *("data.input_size=24", "data.batch_size=4", "data.num_workers=1", "data.holdout=0.2"),
        *("data.centre=1.0", "trainer.enable_progress_bar=false", "phases.dense_epochs=1"),
        *("callbacks.sample_pictures=null", "callbacks.pruning_curve=null"),
        "callbacks.trial_reporter=null",
        *("phases.prune_epochs=2", "phases.finetune_epochs=1", f"output_dir={folder}", *more),
    ]


def draw_people(base: Path) -> Path:
    """Draw pictures of people, and a configuration folder beside them with the tiny model."""
    from secateur.data.synthetic.identity_set import write_drawn_identities

    (base / "conf" / "model").mkdir(parents=True)
    (base / "conf" / "model" / "tiny.yaml").write_text(MODEL)
    write_drawn_identities(base / "people", n_train=4, n_images=6, n_test=20)
    return base / "people"


def run_command(
    arguments: list[str],
    home: Path,
    environment: Mapping[str, str] | None = None,
    kill_after: float | None = None,
    signals: tuple[float, ...] = (),
    watched: Path | None = None,
    kill_after_saved: float | None = None,
) -> Outcome:
    """Run ``train.py`` or another command in a forked process.

    Args:
        arguments: The command line; the first is the file of the command.
        home: Folder to run it in.
        environment: Changes of the environment.
        kill_after: Seconds after which it and all its children get SIGKILL.
        signals: Seconds after which it gets SIGINT.
        watched: A file whose appearance is noted.
        kill_after_saved: Seconds from that appearance after which they get SIGKILL.
    """

    def body() -> None:
        from secateur.workflows.cli import run_command as run

        sys.argv = arguments
        run(arguments[0].removesuffix(".py"))

    return forked(body, home, environment, kill_after, signals, watched, kill_after_saved)


def forked(
    body: Callable[[], object],
    home: Path,
    environment: Mapping[str, str] | None = None,
    kill_after: float | None = None,
    signals: tuple[float, ...] = (),
    watched: Path | None = None,
    kill_after_saved: float | None = None,
) -> Outcome:
    """Run a function in a forked process; see `run_command`."""
    with tempfile.NamedTemporaryFile(suffix=".txt") as log:
        started = time.monotonic()
        sys.stdout.flush()
        process = os.fork()
        if process == 0:
            _in_child(body, home, environment or {}, log.fileno())
        events = [(moment, signal.SIGINT) for moment in signals]
        events.append((kill_after or _LIMIT, signal.SIGKILL))
        status = saved = None
        while status is None:
            if watched is not None and saved is None and watched.exists():
                saved = time.monotonic() - started
                if kill_after_saved is not None:
                    events = [(saved + kill_after_saved, signal.SIGKILL)]
            found, code = os.waitpid(process, os.WNOHANG)
            if found:
                status = os.waitstatus_to_exitcode(code)
            elif events and time.monotonic() - started > events[0][0]:
                _, number = events.pop(0)
                if number == signal.SIGKILL:
                    os.killpg(process, number)
                else:
                    os.kill(process, number)
            else:
                time.sleep(0.002)
        with contextlib.suppress(ProcessLookupError):  # a process that loads pictures is left
            os.killpg(process, signal.SIGKILL)
        text = Path(log.name).read_text(errors="replace")
        return Outcome(status, text, time.monotonic() - started, saved)


def _in_child(
    body: Callable[[], object], home: Path, environment: Mapping[str, str], log: int
) -> None:
    status = 1
    try:
        os.setsid()
        os.chdir(home)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", closefd=False)
        os.environ.update(environment)
        tempfile.tempdir = None  # TMPDIR may be another now
        body()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def result(folder: Path) -> dict[str, Any]:
    """What a run found, without what differs between any two runs."""
    summary = json.loads((folder / "summary.json").read_text())
    return {k: v for k, v in summary.items() if not any(part in k for part in MEASURED)}


@contextmanager
def small_disk(kibibytes: int) -> Iterator[Path]:
    """A file system of a size; needs root."""
    with tempfile.TemporaryDirectory() as name:
        options = f"size={kibibytes}k"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", name], check=True)
        try:
            yield Path(name)
        finally:
            subprocess.run(["umount", "-l", name], check=True)


def grow(disk: Path, kibibytes: int) -> None:
    """Give a file system of `small_disk` another size."""
    subprocess.run(["mount", "-o", f"remount,size={kibibytes}k", str(disk)], check=True)


def used_kibibytes(folder: Path) -> int:
    """Space that the files of a folder take on a disk of pages of 4 KiB."""
    return sum(-(-f.stat().st_size // 4096) * 4 for f in folder.rglob("*") if f.is_file())


def last_line(text: str) -> str:
    """The last line that a command wrote, shortened."""
    lines = re.sub(r"\x1b\[[0-9;]*m", "", text).strip().splitlines() or [""]
    return lines[-1][:300]
