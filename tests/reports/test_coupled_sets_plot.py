from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image

from secateur.pruning.coupled_groups import CoupledGroup, coupled_groups
from secateur.pruning.coupled_sets import find_coupled_sets
from secateur.reports.coupled_sets_plot import plot_coupled_sets
from tests.pruning.networks import Residual


def test_layers_of_a_sum_are_one_group() -> None:
    groups = coupled_groups(find_coupled_sets(Residual(), torch.zeros(1, 3, 16, 16)))
    tied = max(groups, key=lambda group: len(group.layers))
    assert len(tied.layers) > 1
    assert tied.removable == tied.channels
    assert not tied.reason
    held = [group for group in groups if not group.removable]
    assert all("output of the network" in group.reason for group in held)


def test_the_picture_of_groups_is_written(tmp_path: Path) -> None:
    groups = [
        CoupledGroup((f"block.{i}", "shared"), 8, 8 if i else 0, "" if i else "it is an output")
        for i in range(60)
    ]
    path = plot_coupled_sets(tmp_path / "sets.png", groups, title="sets")
    assert min(Image.open(path).size) > 200
