"""Run folders: made, found again, never overwritten."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities import rank_zero_only

from secateur.errors import InputError
from secateur.workflows.run_folder import fingerprint, open_run_folder


def make_config(tmp_path: Path, **changes: object) -> DictConfig:
    values = {
        "rate": 0.3,
        "resume": "auto",
        "output_dir": None,
        "paths": {"outputs": str(tmp_path)},
    }
    return OmegaConf.create({**values, **changes})


def leave_checkpoint(folder: Path) -> None:
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "last.ckpt").touch()


def test_a_new_run_saves_its_configuration(tmp_path: Path) -> None:
    run = open_run_folder(make_config(tmp_path), "name")
    assert OmegaConf.load(run.config).rate == 0.3
    assert run.checkpoint is None
    assert not run.finished


def test_auto_continues_the_unfinished_run_of_the_same_configuration(tmp_path: Path) -> None:
    first = open_run_folder(make_config(tmp_path), "name")
    leave_checkpoint(first.path)
    again = open_run_folder(make_config(tmp_path), "name")
    assert again.path == first.path
    assert again.checkpoint is not None
    other = open_run_folder(make_config(tmp_path, rate=0.5), "name")
    assert other.path != first.path
    assert open_run_folder(make_config(tmp_path, resume="never"), "name").path != first.path


def test_auto_starts_afresh_after_a_finished_run(tmp_path: Path) -> None:
    first = open_run_folder(make_config(tmp_path), "name")
    first.summary.write_text("{}")
    assert open_run_folder(make_config(tmp_path), "name").path != first.path


def test_a_given_folder_is_continued_or_left_alone(tmp_path: Path) -> None:
    folder = str(tmp_path / "here")
    open_run_folder(make_config(tmp_path, output_dir=folder), "name")
    assert open_run_folder(make_config(tmp_path, output_dir=folder), "x").path == Path(folder)
    with pytest.raises(InputError, match="already holds a run"):
        open_run_folder(make_config(tmp_path, output_dir=folder, resume="never"), "name")
    with pytest.raises(InputError, match="another configuration"):
        open_run_folder(make_config(tmp_path, output_dir=folder, rate=0.5), "name")


def test_a_run_that_is_refused_at_its_start_leaves_the_folder_to_mended_settings(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "here"
    refused = make_config(tmp_path, output_dir=str(folder))
    with pytest.raises(InputError, match="too high"), open_run_folder(refused, "x").held():
        raise InputError("the rate is too high")
    mended = make_config(tmp_path, output_dir=str(folder), rate=0.1)
    run = open_run_folder(mended, "x")
    assert OmegaConf.load(run.config).rate == 0.1
    leave_checkpoint(folder)
    with pytest.raises(InputError, match="to lose"), run.held():
        raise InputError("refused with something to lose")
    assert run.config.exists()


def test_resume_must_name_a_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a run folder"):
        open_run_folder(make_config(tmp_path, resume=str(tmp_path / "nope")), "name")


def test_fingerprint_ignores_where_results_go(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    assert fingerprint(config) == fingerprint(make_config(tmp_path / "x", resume="never"))
    assert fingerprint(config) != fingerprint(make_config(tmp_path, rate=0.2))


def test_a_setting_that_came_later_leaves_the_mark_while_it_does_nothing(tmp_path: Path) -> None:
    mark = fingerprint(make_config(tmp_path, pruning={"scope": "coupled"}))
    for asked in (False, True):
        later = make_config(tmp_path, pruning={"scope": "coupled", "remove_dead": asked})
        assert (fingerprint(later) == mark) is not asked


def test_a_held_folder_is_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO")
    first = open_run_folder(make_config(tmp_path), "name")
    second = open_run_folder(make_config(tmp_path), "name")
    assert second.path == first.path
    found = []

    def wait_and_look() -> None:
        with second.held() as run:
            found.append(run.finished)

    with first.held():
        thread = threading.Thread(target=wait_and_look)
        thread.start()
        while "waiting for it" not in caplog.text:
            time.sleep(0.01)
        first.summary.write_text("{}")
        assert not found
    thread.join(timeout=10)
    assert found == [True]
    # a further process of the same run does not wait for the first one
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    with first.held(), first.held() as run:
        assert run == first
