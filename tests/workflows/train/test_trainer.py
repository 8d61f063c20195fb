"""The trainer of a run, built from its configuration."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from secateur.workflows.command_line.arguments import CONF
from secateur.workflows.run_folder import RunFolder
from secateur.workflows.train.trainer import step_saver


@pytest.mark.parametrize(
    ("overrides", "align"),
    [(["pruning=none"], 1), (["pruning.scope=coupled", "pruning.align=8"], 8)],
)
def test_steps_are_slimmed_with_the_alignment_of_the_run(
    overrides: list[str], align: int, tmp_path: Path
) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", overrides)
    saver = step_saver(config, RunFolder(tmp_path, None, finished=False), {"name": "eresfd"})
    assert saver.align == align
