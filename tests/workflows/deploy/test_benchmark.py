from __future__ import annotations

from secateur.cost.timing import Timing
from secateur.workflows.deploy.benchmark import busy


def timing(median: float, processor: float) -> Timing:
    return Timing({"p10": median, "median": median, "p90": median}, processor, 5)


def test_a_busy_machine_is_told() -> None:
    results = {"a": timing(20, 10), "b": timing(45, 20), "c": timing(30, 15)}
    assert str(busy(results)).startswith("the machine is busy: calls took 2.0 times as long as")


def test_a_quiet_machine_and_several_threads_are_nothing_to_tell_of() -> None:
    assert busy({"a": timing(10, 9.8), "b": timing(10, 20), "c": timing(10, 0)}) is None
