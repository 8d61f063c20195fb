"""Runs of a W&B project, from a client that answers like the real one."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from secateur.errors import InputError
from secateur.workflows.tracking.wandb_project import fetch_runs

RUN = SimpleNamespace(
    name="eresfd-fpgm-0.3",
    url="https://example.invalid/me/secateur/runs/1",
    job_type="train",
    summary={"final/ap_hard": 0.9, "dense/ap_hard": 0.95, "params_slim": 50, "_step": 3},
    config={"model": {"name": "eresfd"}, "pruning": {"criterion": "fpgm"}, "rate": 0.3},
    scan_history=lambda: [{"epoch": 0, "val/ap_hard": 0.5}, {"epoch": None}],
)


def test_the_record_is_that_of_the_slim_network() -> None:
    (run,) = fetch_runs("me/secateur", SimpleNamespace(runs=lambda _: [RUN]))
    assert run.record["ap_hard"] == 0.9
    assert run.record["model"] == "eresfd"
    assert run.kind == "training"
    assert run.curves == {"val/ap_hard": ([0.0], [0.5])}


def test_a_project_that_cannot_be_read_is_said_in_one_sentence() -> None:
    def runs(_: str) -> None:
        raise ValueError("no such project")

    with pytest.raises(InputError, match="no such project"):
        fetch_runs("me/none", SimpleNamespace(runs=runs))
