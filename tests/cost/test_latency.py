from __future__ import annotations

import re
import time

import pytest
import torch
from torch import Tensor, nn

from secateur.cost.latency import machine_name, measure_side_by_side


class Sleep(nn.Module):
    """Takes a known time and remembers how it was called."""

    def __init__(self, milliseconds: float, log: list[tuple[float, bool, bool, int]]) -> None:
        super().__init__()
        self.milliseconds = milliseconds
        self.log = log

    def forward(self, images: Tensor) -> Tensor:
        time.sleep(self.milliseconds / 1e3)
        inference = torch.is_inference_mode_enabled()
        self.log.append((self.milliseconds, self.training, inference, torch.get_num_threads()))
        return images


def test_networks_take_turns_in_evaluation_mode() -> None:
    log: list[tuple[float, bool, bool, int]] = []
    models = {"slow": Sleep(4, log), "fast": Sleep(1, log)}
    before = torch.get_num_threads()
    result = measure_side_by_side(models, torch.zeros(1), runs=6, warmup=1, threads=before + 1)
    assert [entry[0] for entry in log] == [4, 1, *[4, 1, 1, 4] * 3]
    assert {entry[1:] for entry in log} == {(False, True, before + 1)}
    assert torch.get_num_threads() == before
    assert models["slow"].training
    assert list(result) == ["slow", "fast"]
    slow, fast = result["slow"], result["fast"]
    assert (slow.runs, slow.threads, slow.device) == (6, before + 1, "cpu")
    assert 4 <= slow.low_ms <= slow.median_ms <= slow.high_ms
    assert 1 <= fast.low_ms <= fast.median_ms <= fast.high_ms


def test_figures_are_those_of_the_clock() -> None:
    seconds = 0.0

    class Work(nn.Module):
        def __init__(self, milliseconds: float) -> None:
            super().__init__()
            self.milliseconds = milliseconds

        def forward(self, images: Tensor) -> Tensor:
            nonlocal seconds
            seconds += self.milliseconds / 1e3
            return images

    models = {"slow": Work(4), "fast": Work(1)}
    result = measure_side_by_side(models, torch.zeros(1), runs=6, clock=lambda: seconds)
    assert result["slow"].low_ms == pytest.approx(4)
    assert result["slow"].high_ms == pytest.approx(4)
    assert result["fast"].median_ms == pytest.approx(1)


def test_time_is_bounded() -> None:
    log: list[tuple[float, bool, bool, int]] = []
    result = measure_side_by_side(
        {"a": Sleep(5, log)}, (torch.zeros(1),), runs=1000, warmup=0, max_seconds=0.01
    )
    assert result["a"].runs == 5


@pytest.mark.parametrize("numbers", [{"runs": 0}, {"threads": 0}, {"warmup": -1}])
def test_impossible_numbers(numbers: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be at least"):
        measure_side_by_side({"a": nn.Identity()}, torch.zeros(1), **numbers)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_waits_for_the_result() -> None:
    model = nn.Conv2d(64, 64, 3).cuda()
    result = measure_side_by_side({"a": model}, torch.zeros(8, 64, 256, 256).cuda(), runs=5)
    assert result["a"].device.startswith("cuda")
    assert result["a"].median_ms > 0.05


def test_the_machine_has_a_name() -> None:
    assert re.fullmatch(r".+, \d+ cores", machine_name())
