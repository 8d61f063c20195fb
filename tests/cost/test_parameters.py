from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from secateur.cost.parameters import count_nonzero, count_parameters, sparsity
from secateur.detectors.eresfd import EResFD
from secateur.detectors.extd import EXTD


def test_every_kind_of_parameter_counts_once() -> None:
    shared = nn.Linear(4, 4)
    model = nn.Sequential(shared, nn.ReLU(), shared, nn.BatchNorm1d(4), nn.PReLU())
    assert count_parameters(model) == 16 + 4 + 8 + 1
    with torch.no_grad():
        shared.weight[0] = 0
        shared.bias.fill_(-0.0)
    assert count_nonzero(model) == 29 - (4 + 4 + 4)  # the shift of a new batch norm is zero
    assert sparsity(model) == pytest.approx(12 / 29)


def test_network_without_parameters() -> None:
    assert sparsity(nn.ReLU()) == 0


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("bfpgm_eresfd_30_pruned", 29_135 / 92_208),
        ("bfpgm_eresfd_original", 80 / 92_208),
        ("bfpgm_extd_20_pruned", 32_960 / 162_352),
        ("clovaai_extd_64", 0),
    ],
)
def test_sparsity_of_published_checkpoints(reference: Path, file: str, expected: float) -> None:
    model: nn.Module = EResFD("bfpgm") if "eresfd" in file else EXTD(64)
    state = load_file(reference / "weights" / f"{file}.safetensors")
    model.load_state_dict({name: state[name] for name in model.state_dict()})
    assert sparsity(model) == pytest.approx(expected, abs=1e-12)
