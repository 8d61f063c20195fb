"""Nothing here runs without a Slurm."""

from __future__ import annotations

import os
import shutil

import pytest


@pytest.fixture(autouse=True)
def _cluster() -> None:
    if shutil.which("sbatch") is None or "SLURM_CONF" not in os.environ:
        pytest.skip("no Slurm: run `make test-cluster`")
