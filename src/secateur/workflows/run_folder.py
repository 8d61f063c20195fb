"""Run folders: how one is named, created, locked, and found again by a later command."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities import rank_zero_only

from secateur.errors import InputError
from secateur.files import atomic_write, writing
from secateur.readers import read_lines
from secateur.workflows.checkpoints import NAMES
from secateur.workflows.config.addresses import current_address, first_address, with_addresses
from secateur.workflows.config.older_config import in_words_of_today, is_older
from secateur.workflows.config.saved_config import read_saved_config, without_targets

log = logging.getLogger(__name__)

# What may differ between a run and its continuation: it changes neither data nor result.
_VOLATILE = (
    *("resume", "output_dir", "paths", "logger", "callbacks", "trial"),
    *("print_config", "n_trials", "n_workers", "storage", "stale_after"),
)

_SAVED_FIRST = ("config.yaml", ".lock")  # what a folder holds before its run has begun

_NEUTRAL = {"slim_from": "last", "pruning.remove_dead": False}


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of one run.

    Attributes:
        path: The folder.
        checkpoint: Checkpoint to continue from, or None for a run that starts anew.
        finished: Whether its ``summary.json`` is there already.
    """

    path: Path
    checkpoint: Path | None
    finished: bool

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def summary(self) -> Path:
        """The flat record of what came out."""
        return self.path / "summary.json"

    @property
    def checkpoints(self) -> Path:
        """Folder of ``last.ckpt``, ``best_dense.ckpt`` and ``best_pruned.ckpt``."""
        return self.path / "checkpoints"

    @contextmanager
    def held(self) -> Iterator[RunFolder]:
        """Keep other processes out; one that holds the folder already is waited for.

        A sweep that was killed leaves jobs behind, and the same command starts them again. If the
        run is refused before it wrote anything, the folder is as free as it was: settings that
        were mended find it so.

        Yields:
            The folder as it is once it is ours alone.
        """
        if getattr(rank_zero_only, "rank", 0) > 0:
            yield self  # the first process of the run holds it
            return
        with locked(
            self.path / ".lock",
            busy=lambda: log.info("another process is at work in %s: waiting for it", self.path),
        ):
            try:
                yield _look(self.path)
            except InputError:
                if all(file.name in _SAVED_FIRST for file in self.path.iterdir()):
                    self.config.unlink(missing_ok=True)
                raise


def plain(config: DictConfig) -> dict[str, Any]:
    """Resolved configuration as plain Python."""
    values = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def fingerprint(config: DictConfig) -> str:
    """Eight hexadecimal digits over everything that decides the result of a run."""
    values = {key: value for key, value in plain(config).items() if key not in _VOLATILE}
    # a setting that came later leaves the mark of older runs as it is while it does nothing
    for key, nothing in _NEUTRAL.items():
        *parts, name = key.split(".")
        owner = reduce(lambda part, inner: part.get(inner) or {}, parts, values)
        if owner.get(name) == nothing:
            del owner[name]
    text = json.dumps(with_addresses(values, first_address), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def open_run_folder(config: DictConfig, name: str) -> RunFolder:
    """Find the folder to continue in, or make a new one, and save the configuration there.

    Args:
        config: Composed configuration with ``output_dir``, ``resume`` and ``paths.outputs``.
        name: Readable name for a new folder, such as ``eresfd-fpgm-0.3``.

    Returns:
        The folder; its configuration is written unless the run is finished.

    Raises:
        InputError: If ``output_dir`` holds another run, or ``resume`` names nothing.
    """
    mark = fingerprint(config)
    if config.resume not in ("auto", "never"):
        folder = Path(str(config.resume))
        if not (folder / "checkpoints").is_dir():
            raise InputError(
                f"resume={config.resume} is not a run folder with checkpoints/; "
                "use resume=auto, resume=never or the path of a run"
            )
        return _existing(folder, config, mark)
    fixed = config.output_dir or _sweep_folder()
    if fixed is not None:
        folder = Path(str(fixed))
        if (folder / "config.yaml").exists():
            # a further process of the same run finds the folder that the first one made
            if config.resume == "never" and int(os.environ.get("LOCAL_RANK", "0")) == 0:
                raise InputError(
                    f"output_dir={folder} already holds a run: choose another folder, delete it, "
                    "or continue it with resume=auto"
                )
            return _existing(folder, config, mark)
        return _create(folder, config, mark)
    parent = Path(str(config.paths.outputs)) / f"{name}-{mark}"
    if config.resume == "auto":
        for folder in sorted(parent.glob("*"), reverse=True):
            run = _look(folder)
            if run.config.exists() and not run.finished:
                return _existing(folder, config, mark)
    return _create(_unused(parent), config, mark)


def _sweep_folder() -> Path | None:
    """Folder of this job in a Hydra multirun."""
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return None
    sweep = HydraConfig.get().sweep
    return Path(sweep.dir) / str(sweep.subdir)


def _unused(parent: Path) -> Path:
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    folder, number = parent / stamp, 1
    while folder.exists():
        number += 1
        folder = parent / f"{stamp}-{number}"
    return folder


def _look(folder: Path) -> RunFolder:
    return RunFolder(
        path=folder,
        checkpoint=next(
            (path for name in NAMES if (path := folder / "checkpoints" / name).exists()), None
        ),
        finished=(folder / "summary.json").exists(),
    )


def _existing(folder: Path, config: DictConfig, mark: str) -> RunFolder:
    path = folder / "config.yaml"
    saved = read_saved_config(path, keep_targets=True)
    first = read_lines(path, "give another output_dir")[0].split()
    same = first == ["#", "configuration", mark] or (
        is_older(saved)
        and _holds(with_addresses(plain(config), first_address), in_words_of_today(saved))
    )
    if not same:
        raise InputError(
            f"{folder} was made with another configuration (see its config.yaml): "
            "give the same settings to continue it, or another output_dir"
        )
    return _look(folder)


def _holds(now: object, saved: object, top: bool = True) -> bool:
    """Whether a configuration says all that an older one said, and perhaps more."""
    if isinstance(saved, Mapping) and isinstance(now, Mapping):
        return all(
            _holds(now.get(key), value, top=False)
            for key, value in saved.items()
            if value is not None and not (top and key in _VOLATILE)
        )
    return now == saved or (isinstance(saved, str) and current_address(saved) == now)


def _create(folder: Path, config: DictConfig, mark: str) -> RunFolder:
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    values = without_targets(plain(config))
    text = f"# configuration {mark}\n" + OmegaConf.to_yaml(OmegaConf.create(values))
    atomic_write(folder / "config.yaml", text)
    return _look(folder)


# what file systems answer that know no locks, such as Lustre mounted without flock
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)


@contextmanager
def locked(path: Path, busy: Callable[[], object]) -> Iterator[None]:
    """Hold the lock of a file; the system releases that of a killed process.

    Args:
        path: The file; it is made if it is not there, and stays.
        busy: Called if another process holds the lock. If it returns, the lock is waited for.

    Raises:
        WriteError: If the file cannot be opened.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
    with file:
        try:
            _lock(file.fileno(), busy)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            log.warning(
                "%s: this file system has no locks; let one command at a time work there",
                path.parent,
            )
            yield
            return
        try:
            yield
        finally:
            # Forked processes share the lock, and closing the file here would not end it for them.
            fcntl.flock(file, fcntl.LOCK_UN)


def _lock(descriptor: int, busy: Callable[[], object]) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        busy()
        fcntl.flock(descriptor, fcntl.LOCK_EX)
