from __future__ import annotations

import pytest
from torch import nn

from secateur.evaluation_mode import evaluation_mode


def fail_within(model: nn.Module) -> None:
    with evaluation_mode(model):
        assert not any(module.training for module in model.modules())
        raise RuntimeError("on purpose")


def test_every_module_goes_back_to_its_own_mode() -> None:
    model = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout()).train()
    model[0].eval()
    with pytest.raises(RuntimeError, match="on purpose"):
        fail_within(model)
    assert (model.training, model[0].training, model[1].training) == (True, False, True)
