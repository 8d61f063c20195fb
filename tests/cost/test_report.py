from __future__ import annotations

import json
from dataclasses import asdict

import pytest
import torch
from torch import nn

from secateur.cost.report import compare_costs
from secateur.pruning.masks import apply_masks


def network(hidden: int, with_branch: bool = True) -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, hidden, 3, padding=1),
        nn.BatchNorm2d(hidden),
        nn.Conv2d(hidden, 2, 1, bias=False),
    )
    if with_branch:
        model.append(nn.Conv2d(2, 2, 1))
    return model


def test_account() -> None:
    masked, slim = network(8), network(5, with_branch=False)
    nn.init.ones_(masked[1].bias)
    keep = {"0": torch.arange(8) > 2}
    apply_masks(masked, keep, {"0": "1"})
    report = compare_costs(
        masked,
        slim,
        torch.zeros(1, 3, 4, 4),
        keep=keep,
        rates={"0": 0.4},
        scores={"0": torch.arange(8.0)},
        groups={"g": ["0"]},
    )
    first, second, branch = report.layers
    assert asdict(first) == {
        "name": "0",
        "group": "g",
        "rate": 0.4,
        "filters": 8,
        "kept": 5,
        "slim": 5,
        "parameters": 8 * 28,
        "nonzero": 5 * 28,
        "parameters_slim": 5 * 28,
        "macs": 16 * 27 * 8,
        "macs_slim": 16 * 27 * 5,
        "activation_bytes": 4 * 16 * (3 + 8),
        "activation_bytes_slim": 4 * 16 * (3 + 5),
        "score_min": 0.0,
        "score_max": 7.0,
    }
    assert (second.name, second.group, second.rate, second.score_max) == ("2", None, None, None)
    assert (second.kept, second.parameters, second.parameters_slim) == (2, 16, 10)
    assert (branch.kept, branch.slim, branch.macs_slim, branch.parameters_slim) == (2, 0, 0, 0)
    total = report.total
    assert (total.filters, total.kept, total.slim) == (12, 9, 7)
    assert total.parameters == 8 * 28 + 16 + 16 + 6
    assert total.nonzero == 5 * 28 + 10 + 16 + 6
    assert total.parameters_slim == 5 * 28 + 10 + 10
    assert total.sparsity == pytest.approx(1 - total.nonzero / total.parameters)
    assert total.macs == 16 * (27 * 8 + 16 + 4)
    assert total.macs_slim == 16 * (27 * 5 + 10)
    assert total.activation_bytes == 4 * 16 * 11
    json.dumps(asdict(report))
