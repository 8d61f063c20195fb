"""The journal of a study: torn, glued and damaged lines, a full disk, and what is kept."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from secateur import files
from secateur.errors import InputError, WriteError
from secateur.search.journal import mend_journal, open_journal

optuna.logging.set_verbosity(optuna.logging.ERROR)


def study_of(path: Path) -> optuna.Study:
    return optuna.create_study(
        storage=open_journal(path), study_name="rates", direction="maximize", load_if_exists=True
    )


def search(path: Path, n_trials: int) -> optuna.Study:
    study = study_of(path)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=n_trials)
    return study


def complete(path: Path) -> list[optuna.trial.FrozenTrial]:
    return study_of(path).get_trials(states=[TrialState.COMPLETE])


def test_a_torn_last_line_is_cut_off_before_the_next_append(tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    search(path, 5)
    path.write_bytes(path.read_bytes() + b'{"op_code":4,"worker_')
    search(path, 2)
    assert len(complete(path)) == 7
    assert b'"worker_{' not in path.read_bytes()


def test_a_full_disk_leaves_the_journal_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "study.journal"
    study = search(path, 3)
    before, write = path.read_bytes(), os.pwrite

    def full(descriptor: int, content: bytes, offset: int) -> int:
        if len(content) > 10:
            return write(descriptor, content[:10], offset)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "pwrite", full)
    with pytest.raises(WriteError, match="disk is full: free some space"):
        study.ask()
    assert path.read_bytes() == before
    monkeypatch.undo()
    search(path, 2)
    assert len(complete(path)) == 5


@pytest.mark.parametrize(
    "damage", [b"\0" * 40 + b"\n", b"{}\n", b"[1]\n", b'{"op_code":5}\n', b"\n"]
)
def test_a_damaged_line_is_named_and_the_rest_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: bytes
) -> None:
    path = tmp_path / "study.journal"
    search(path, 6)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[7] = damage
    path.write_bytes(b"".join(lines))
    assert mend_journal(path) == 1
    assert "(8)" in caplog.text
    assert (tmp_path / "study.journal.damaged").read_bytes() == b"".join(lines)
    assert len(complete(path)) >= 5
    assert mend_journal(path) == 0


def test_trials_keep_their_numbers_when_the_line_that_began_one_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    values = [trial.value for trial in search(path, 6).trials]
    lines = path.read_bytes().splitlines(keepends=True)
    begun = [number for number, line in enumerate(lines) if b'"op_code":4' in line]
    lines[begun[2]] = b"#" * 50 + b"\n"
    path.write_bytes(b"".join(lines))
    assert [trial.value for trial in complete(path)] == values


def test_an_entry_glued_to_half_of_one_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    values = [trial.value for trial in search(path, 6).trials]
    lines = path.read_bytes().splitlines(keepends=True)
    lines[9] = b'{"op_code":5,"work' + lines[9]
    path.write_bytes(b"".join(lines))
    assert [trial.value for trial in complete(path)] == values


@pytest.mark.parametrize("cut", range(0, 60, 7))
def test_any_cut_leaves_a_study_that_goes_on(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "study.journal"
    search(path, 4)
    path.write_bytes(path.read_bytes()[: -cut or None])
    search(path, 3)
    assert len(complete(path)) >= 6


def test_a_pipe_or_folder_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(InputError, match=r"not a file|cannot be read"):
            open_journal(path)


def test_a_folder_that_vanishes_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "sweep" / "study.journal"
    study = search(path, 1)
    for file in path.parent.iterdir():
        file.unlink()
    path.parent.rmdir()
    with pytest.raises(InputError, match="cannot be"):
        study.ask()
