from __future__ import annotations

from pathlib import Path

import pytest

from secateur.workflows.loading import run_name


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("outputs/eresfd-l1-0.3/2026-01-02_03-04-05", "eresfd-l1-0.3"),
        ("outputs/mine", "mine"),
        ("outputs/multirun/train-rate-1a2b3c4d/7", "train-rate-1a2b3c4d-7"),
        ("outputs/mine/steps/03", "mine step 03"),
    ],
)
def test_a_run_is_called_after_what_made_it(folder: str, name: str, tmp_path: Path) -> None:
    assert run_name(tmp_path / folder) == name
