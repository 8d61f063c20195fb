"""Which epochs count as the dense network's, and which as the pruned one's."""

from __future__ import annotations

from pathlib import Path

import pytest

from secateur.callbacks.phase_checkpoint import PhaseCheckpoint
from secateur.pruning.schedule import Schedule


def epochs_of(network: str, schedule: Schedule | None, total: int) -> list[int]:
    checkpoint = PhaseCheckpoint(Path("x"), network, schedule, "val/ap_hard", "max")  # type: ignore[arg-type]
    return [epoch for epoch in range(total) if checkpoint.is_of(epoch)]


@pytest.mark.parametrize(
    ("schedule", "dense", "pruned"),
    [
        (Schedule("soft", 2, 3, 2), [0, 1], [4, 5, 6]),
        (Schedule("oneshot", 2, 0, 2), [0, 1], [2, 3]),
        (Schedule("held", 0, 0, 2), [], [0, 1]),
        (Schedule("iterative", 0, 2, 1), [], [1, 2]),
        (None, [0, 1, 2], []),
    ],
)
def test_an_epoch_whose_mask_still_changes_is_neither(
    schedule: Schedule | None, dense: list[int], pruned: list[int]
) -> None:
    total = schedule.total_epochs if schedule else 3
    assert epochs_of("dense", schedule, total) == dense
    assert epochs_of("pruned", schedule, total) == pruned


def test_the_two_have_states_of_their_own() -> None:
    keys = {
        PhaseCheckpoint(Path("x"), network, None, "val/ap_hard", "max").state_key
        for network in ("dense", "pruned")
    }
    assert len(keys) == 2
