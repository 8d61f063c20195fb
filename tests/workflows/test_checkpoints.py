"""Checkpoint files: whole or absent, and damaged ones passed."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from secateur.errors import InputError, WriteError
from secateur.workflows import checkpoints
from secateur.workflows.checkpoints import (
    BEST_PRUNED,
    LAST,
    PREVIOUS,
    CheckpointFiles,
    find_resume_point,
    read_resume_point,
)


def state(epoch: int) -> dict[str, Any]:
    return {
        "epoch": epoch,
        "global_step": 4 * epoch,
        "state_dict": {"network.weight": torch.full((64, 64), float(epoch))},
        "optimizer_states": [],
        "lr_schedulers": [],
        "callbacks": {},
        "loops": {},
    }


def save(folder: Path, epoch: int, name: str = LAST) -> Path:
    CheckpointFiles().save_checkpoint(state(epoch), folder / name)
    return folder / name


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def test_the_last_but_one_is_kept_and_nothing_else(tmp_path: Path) -> None:
    for epoch in range(3):
        save(tmp_path, epoch)
    assert read_resume_point(tmp_path / LAST).epochs == 3
    assert read_resume_point(tmp_path / PREVIOUS).epochs == 2
    assert {path.name for path in tmp_path.iterdir()} == {LAST, PREVIOUS}


def test_nothing_is_staged_in_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "absent"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
    save(tmp_path / "run", 0)
    assert find_resume_point(tmp_path / "run") is not None


@pytest.mark.parametrize("damaged", [(LAST,), (LAST, PREVIOUS)])
def test_a_damaged_checkpoint_falls_back_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damaged: tuple[str, ...]
) -> None:
    save(tmp_path, 1, BEST_PRUNED)
    save(tmp_path, 2)
    save(tmp_path, 3)
    for name in damaged:
        damage(tmp_path / name)
    with caplog.at_level(logging.WARNING):
        point = find_resume_point(tmp_path)
    wanted = BEST_PRUNED if len(damaged) > 1 else PREVIOUS
    assert point is not None
    assert point.path.name == wanted
    assert f"going on from {wanted}" in caplog.text
    assert all(str(tmp_path / name) in caplog.text for name in damaged)


def test_when_all_are_damaged_one_sentence_names_a_remedy_that_works(tmp_path: Path) -> None:
    for epoch in range(2):
        damage_after = save(tmp_path / "checkpoints", epoch)
    damage(damage_after)
    (tmp_path / "checkpoints" / PREVIOUS).write_bytes(b"")
    with pytest.raises(InputError, match=r"no checkpoint in .* is intact") as caught:
        find_resume_point(tmp_path / "checkpoints")
    assert "delete that folder" in str(caught.value)
    assert "\n" not in str(caught.value)
    for path in (tmp_path / "checkpoints").iterdir():
        path.unlink()
    (tmp_path / "checkpoints").rmdir()
    assert find_resume_point(tmp_path / "checkpoints") is None


def test_a_full_disk_leaves_the_old_one_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, 0)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoints.os, "fsync", full)
    with pytest.raises(WriteError, match="disk is full: free some space"):
        save(tmp_path, 1)
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == [LAST]
    assert read_resume_point(tmp_path / LAST).epochs == 1
    assert read_resume_point(save(tmp_path, 1)).epochs == 2


def test_a_part_that_a_kill_left_behind_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / f".{LAST}.partial").write_bytes(b"half of")
    (tmp_path / f".{PREVIOUS}.partial").write_bytes(b"half of")
    for epoch in range(2):
        save(tmp_path, epoch)
    assert {path.name for path in tmp_path.iterdir()} == {LAST, PREVIOUS}


def test_a_file_system_without_hard_links_keeps_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(checkpoints.os, "link", none)
    for epoch in range(2):
        save(tmp_path, epoch)
    assert read_resume_point(tmp_path / PREVIOUS).epochs == 1


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("epoch", -2),
        ("epoch", "3"),
        ("global_step", None),
        ("state_dict", {"network.weight": 3}),
        ("state_dict", []),
    ],
)
def test_a_checkpoint_of_another_make_is_refused(tmp_path: Path, part: str, value: object) -> None:
    torch.save({**state(1), part: value}, tmp_path / LAST)
    with pytest.raises(InputError, match=str(tmp_path / LAST)):
        read_resume_point(tmp_path / LAST)


def test_a_head_that_is_made_later_makes_no_other_network(tmp_path: Path) -> None:
    saved = state(0)
    saved["state_dict"]["head.weight"] = torch.zeros(3, 3)
    CheckpointFiles().save_checkpoint(saved, tmp_path / LAST)
    point = read_resume_point(tmp_path / LAST)
    point.check_fits({"network.weight": torch.zeros(64, 64)})
    for wrong in ({}, {"network.weight": torch.zeros(64, 32)}):
        with pytest.raises(InputError, match=r"another network \(tensor network\.weight differs"):
            point.check_fits(wrong)
