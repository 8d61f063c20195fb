from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from secateur.cost.parameters import count_parameters
from secateur.errors import InputError
from secateur.pruning import prune
from secateur.pruning.taylor import TaylorStatistics
from tests.pruning.networks import Residual, settle_statistics

IMAGES = torch.randn(1, 3, 12, 12, generator=torch.Generator().manual_seed(1))


def test_five_lines_prune_a_network_and_leave_it_untouched() -> None:
    torch.manual_seed(0)
    model = Residual().train()
    before = copy.deepcopy(model.state_dict())
    slim, report = prune(model, IMAGES, criterion="fpgm", rate=0.5, scope="coupled")
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert model.training
    assert slim.stem.out_channels == slim.outer.out_channels == 4
    assert slim.inner.out_channels == 3
    total = report.account.total
    assert total.parameters_slim == count_parameters(slim)
    assert total.filters - total.kept == 11
    assert "11 of 24 filters masked" in str(report)
    slim(IMAGES)


@pytest.mark.parametrize("criterion", ["l1", "l2", "random"])
def test_every_criterion_of_weights_works(criterion: str) -> None:
    slim, _ = prune(Residual(), IMAGES, criterion, 0.25)
    assert slim.stem.out_channels == 6


def test_taylor_takes_statistics() -> None:
    model = Residual()
    layers = {name: module for name, module in model.named_modules() if name}
    with TaylorStatistics(layers, "taylor") as statistics:
        model(IMAGES).square().mean().backward()
        statistics.end_batch()
    slim, _ = prune(model, IMAGES, "taylor", 0.25, statistics=statistics.means())
    assert slim.stem.out_channels == 6
    with pytest.raises(InputError, match="has nothing to score layer stem by"):
        prune(model, IMAGES, "taylor", 0.25)


def test_random_is_the_same_for_one_seed() -> None:
    model = Residual()
    kept = [prune(model, IMAGES, "random", 0.5, seed=seed)[1].keep["inner"] for seed in (3, 3, 4)]
    assert torch.equal(kept[0], kept[1])
    assert not torch.equal(kept[0], kept[2])


def test_batchnorm_reads_the_scales() -> None:
    model = nn.Sequential(nn.Conv2d(3, 6, 1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 2, 1))
    settle_statistics(model)
    _, report = prune(model, IMAGES, "batchnorm", 0.5, exclude=["3"])
    gone = ~report.keep["0"]
    assert model[1].weight[gone].abs().max() < model[1].weight[~gone].abs().min()
    with pytest.raises(InputError, match="no batch norm follows it"):
        prune(model, IMAGES, "batchnorm", 0.5)


def test_align_keeps_multiples() -> None:
    slim, report = prune(Residual(), IMAGES, "l1", 0.6, align=4)
    assert slim.stem.out_channels == 4
    assert int(report.keep["stem"].sum()) == 4


@pytest.mark.slow
def test_readme_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torchvision")
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (example,) = [block for block in blocks if "import prune" in block]
    names: dict[str, Any] = {}
    exec(example, names)
    account = names["report"].account.total
    assert account.parameters_slim == count_parameters(names["slim"])
    assert account.parameters_slim < 0.3 * count_parameters(names["model"])
    assert names["report"].slimming.max_abs_diff < 1e-4
    assert names["slim"](torch.randn(2, 3, 64, 64)).shape == (2, 1000)
    assert "2400 of 5800 filters masked" in capsys.readouterr().out


class Attentive(nn.Module):
    """Convolutions whose last one an attention reads, which writes channels without a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.last = nn.Conv2d(8, 16, 3, padding=1)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.head = nn.Linear(16, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = self.last(self.first(images).relu()).flatten(2).transpose(1, 2)
        attended = self.attention(tokens, tokens, tokens, need_weights=False)[0]
        result: torch.Tensor = self.head(attended.mean(1))
        return result


@pytest.mark.parametrize("scope", ["coupled", "independent"])
def test_attention_stays_and_what_is_before_it_goes(scope: str) -> None:
    torch.manual_seed(0)
    slim, _ = prune(Attentive().eval(), IMAGES, "l1", 0.5, scope=scope)
    assert slim.first.out_channels == 4
    assert slim.last.out_channels == 16
