"""The journal of a study on a disk that can fill up: no torn line outlives the next write.

Optuna's own back end appends to whatever the file ends with. When the disk is full, half a line
stays behind, the next line is glued to it, and from then on the whole study is unreadable
(optuna issue 5138 shows such a journal).
"""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.storages.journal._file import get_lock_file
from optuna.storages.journal._storage import JournalOperation, JournalStorageReplayResult

from secateur.errors import InputError, write_error
from secateur.files import append_lines, atomic_write
from secateur.readers import DEEPEST, MEBI, is_deeper_than, open_regular, read_bytes
from secateur.schema import is_count, is_number

log = logging.getLogger(__name__)

_GRACE = 10  # seconds after which the lock of a killed process is taken over
_OPENING = b'{"op_code"'
_LARGEST = 1024 * MEBI
_REMEDY = "put the file back, or give another storage="
_OF_STUDIES = (JournalOperation.DELETE_STUDY, JournalOperation.SET_STUDY_USER_ATTR,
               JournalOperation.SET_STUDY_SYSTEM_ATTR, JournalOperation.CREATE_TRIAL)  # fmt: skip

Entry = dict[str, Any]


def open_journal(path: Path) -> JournalStorage:
    """Open the journal of a study; it is made if it is not there, and mended if it is damaged.

    Args:
        path: The file, on a file system that all machines see.

    Raises:
        InputError: If it is no file, or cannot be read or written.
    """
    mend_journal(path)
    return JournalStorage(WholeLineJournal(path))


class WholeLineJournal(JournalFileBackend):
    """A journal of whole lines, whatever happens to the process or the disk.

    Args:
        path: The file.

    Raises:
        InputError: If it is no file, or cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.exists():
                open_regular(self.path).close()
            super().__init__(str(path), JournalFileOpenLock(str(path), grace_period=_GRACE))
        except OSError as error:
            raise write_error(self.path, error) from error

    def read_logs(self, log_number_from: int) -> Iterator[Entry]:  # type: ignore[override]
        """Entries from a number on; a torn last line is not one yet.

        Args:
            log_number_from: How many entries are known already.

        Raises:
            InputError: If a line is damaged; names it.
        """
        try:
            for number, line in self._lines(log_number_from):
                entry = read_entry(line)
                if entry is None:
                    raise InputError(
                        f"{self.path}, line {number + 1}, is damaged: stop all commands that work "
                        "in this study and give one of them again, which mends it"
                    )
                yield entry
        except OSError as error:
            raise InputError(
                f"the study {self.path} cannot be read ({error.strerror or error}): {_REMEDY}"
            ) from error

    def append_logs(self, logs: list[Entry]) -> None:
        """Append entries, all or none.

        Args:
            logs: What to append.

        Raises:
            WriteError: If the disk is full or the like; the file is as it was.
        """
        lines = "".join(json.dumps(entry, separators=(",", ":")) + "\n" for entry in logs).encode()
        try:
            with get_lock_file(self._lock):
                torn = append_lines(self.path, lines, sync=True)
        except OSError as error:
            raise write_error(self.path, error) from error
        except RuntimeError as error:  # the lock vanished, because its folder did
            gone = FileNotFoundError(errno.ENOENT, "No such file or directory")
            raise write_error(self.path, gone) from error
        if torn:
            log.warning("%s ended in the middle of a line, which is cut off", self.path)

    def _lines(self, first: int) -> Iterator[tuple[int, bytes]]:
        """Number and content of whole lines from one on."""
        offsets = self._log_number_offset
        start = first if first in offsets else 0
        with open(self.path, "rb") as file:  # noqa: PTH123 - as often as trials are looked at
            end = os.fstat(file.fileno()).st_size
            offset = offsets[start]
            file.seek(offset)
            for number, line in enumerate(file, start):
                offset += len(line)
                if offset > end or not line.endswith(b"\n"):
                    return  # torn, or being written at this moment
                offsets[number + 1] = offset
                if number >= first:
                    yield number, line


def mend_journal(path: Path) -> int:
    """Take damaged lines out of a journal; what was there stays beside it as ``NAME.damaged``.

    A line that is no entry, or one that Optuna cannot apply after those before it, is left out,
    and a warning names it. Trials keep their numbers, and one that was begun in a lost line keeps
    what later lines say of it.

    Args:
        path: The journal.

    Returns:
        How many lines were left out.

    Raises:
        InputError: If it cannot be read or written.
    """
    if not path.exists():
        return 0
    lines = read_bytes(path, _REMEDY, _LARGEST).splitlines(keepends=True)
    if lines and not lines[-1].endswith(b"\n"):
        lines.pop()  # the next append cuts it off
    kept, damaged = _good_lines(lines)
    if not damaged:
        return 0
    try:
        with get_lock_file(JournalFileOpenLock(str(path), grace_period=_GRACE)):
            shutil.copyfile(path, path.with_name(f"{path.name}.damaged"))
            atomic_write(path, b"".join(kept))
    except OSError as error:
        raise write_error(path, error) from error
    shown = ", ".join(map(str, damaged[:5])) + (", ..." if len(damaged) > 5 else "")
    log.warning(
        "%s: damaged lines are left out (%s) and the other %d kept; the file as it was is %s",
        *(path, shown, len(lines) - len(damaged), f"{path.name}.damaged"),
    )
    return len(damaged)


def read_entry(line: bytes) -> Entry | None:
    """An entry of Optuna's journal, or None if the line is none.

    Types and ranges are checked as far as Optuna relies on them without a look.
    """
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if is_deeper_than(entry, DEEPEST):
        return None  # Optuna copies what it holds, level by level
    if not isinstance(entry, dict) or not is_count(entry.get("op_code"), 0, 10):
        return None
    if not isinstance(entry.get("worker_id"), str):
        return None
    operation = JournalOperation(entry["op_code"])
    if operation == JournalOperation.CREATE_STUDY:
        return entry if isinstance(entry.get("study_name"), str) else None
    if operation in _OF_STUDIES:
        fits = is_count(entry.get("study_id"))
    else:
        fits = is_count(entry.get("trial_id"))
    for name in ("user_attr", "system_attr"):
        fits = fits and isinstance(entry.get(name, {}), dict)
    for name in ("user_attrs", "system_attrs", "params", "distributions", "intermediate_values"):
        fits = fits and isinstance(entry.get(name, {}), dict)
    if operation in (JournalOperation.SET_TRIAL_STATE_VALUES, JournalOperation.CREATE_TRIAL):
        fits = fits and _are_values(entry.get("values"))
    if operation == JournalOperation.SET_TRIAL_PARAM:
        fits = fits and isinstance(entry.get("param_name"), str)
        fits = fits and is_number(entry.get("param_value_internal"))
    if operation == JournalOperation.SET_TRIAL_INTERMEDIATE_VALUE:
        value = entry.get("intermediate_value")
        fits = fits and is_count(entry.get("step")) and isinstance(value, int | float)
    return entry if fits else None


def _good_lines(lines: list[bytes]) -> tuple[list[bytes], list[int]]:
    """Lines that can be applied one after the other, and the numbers, from 1, of the others."""
    replay = JournalStorageReplayResult("")
    kept: list[bytes] = []
    damaged: list[int] = []
    lost: list[int] = []  # where in ``kept`` a lost line was that may have begun a trial
    for number, line in enumerate(lines, 1):
        entry = read_entry(line)
        if entry is None:
            damaged.append(number)
            lost.append(len(kept))
            # a whole entry may be glued to half of one
            line = line[max(line.rfind(_OPENING), 0) :]
            entry = read_entry(line)
            if entry is None:
                continue
        if lost and entry.get("trial_id") == len(replay._trials):
            # The trial was begun in one of the lost lines: later entries count on its number.
            studies = replay._trial_id_to_study_id.values()
            begun = _begun_trial(entry, max(studies, default=0))
            if _applies(replay, begun):
                kept.insert(lost.pop(), json.dumps(begun, separators=(",", ":")).encode() + b"\n")
        if _applies(replay, entry):
            kept.append(line)
        elif number not in damaged[-1:]:
            damaged.append(number)
    return kept, damaged


def _applies(replay: JournalStorageReplayResult, entry: Entry) -> bool:
    """Apply an entry; False if Optuna cannot."""
    try:
        replay.apply_logs([entry])
    except Exception:  # whatever Optuna meets in an entry that it takes for its own
        return False
    return True


def _begun_trial(entry: Entry, study: int) -> Entry:
    """An entry that begins a trial, for one that is lost; what follows fills it."""
    return {
        "op_code": int(JournalOperation.CREATE_TRIAL),
        "worker_id": entry["worker_id"],
        "study_id": study,
        "datetime_start": "2000-01-01T00:00:00.000000+00:00",
    }


def _are_values(values: object) -> bool:
    """Whether these are objectives of a trial, or none."""
    return values is None or (
        isinstance(values, list)
        and all(
            isinstance(value, int | float) and not isinstance(value, bool) and value == value
            for value in values
        )
    )
