"""The state machine of pruning."""

from __future__ import annotations

import pytest

from secateur.pruning.schedule import Schedule


def test_soft_schedule_prunes_as_published_every_fifth_epoch_and_last() -> None:
    schedule = Schedule("soft", dense_epochs=0, prune_epochs=200, every_n_epochs=5)
    pruned = [epoch for epoch in range(200) if schedule.prunes_after(epoch)]
    assert pruned == [*range(0, 200, 5), 199]


def test_phases_follow_each_other() -> None:
    schedule = Schedule("soft", dense_epochs=2, prune_epochs=3, finetune_epochs=1)
    assert [schedule.phase(epoch) for epoch in range(schedule.total_epochs)] == [
        "dense",
        "dense",
        "prune",
        "prune",
        "prune",
        "hold",
    ]
    assert [schedule.holds_during(epoch) for epoch in range(6)] == [False] * 5 + [True]


def test_oneshot_masks_before_the_first_epoch_after_the_dense_phase() -> None:
    schedule = Schedule("oneshot", dense_epochs=1, prune_epochs=0, finetune_epochs=2)
    assert [schedule.prunes_before(epoch) for epoch in range(3)] == [False, True, False]
    assert not any(schedule.prunes_after(epoch) for epoch in range(3))
    assert schedule.holds_during(1)
    assert schedule.total_epochs == 3


@pytest.mark.parametrize("kind", ["gradual", "iterative"])
def test_rising_schedules_end_at_the_full_rate(kind: str) -> None:
    schedule = Schedule(kind, dense_epochs=3, prune_epochs=5)  # type: ignore[arg-type]
    fractions = [schedule.fraction(epoch) for epoch in range(3, 8)]
    assert fractions == sorted(fractions)
    assert 0 < fractions[0] < 1
    assert fractions[-1] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"kind": "sometimes"}, "soft, gradual, oneshot, iterative, held"),
        ({"every_n_epochs": 0}, "every_n_epochs"),
        ({"dense_epochs": -1}, "negative"),
        ({"prune_epochs": 0}, "prune_epochs of at least 1"),
    ],
)
def test_impossible_numbers_are_refused(arguments: dict[str, object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        Schedule(**arguments)  # type: ignore[arg-type]
