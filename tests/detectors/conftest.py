"""Golden pictures and published networks."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor, nn

from secateur.data.preprocessing import RGB_MINUS_MEAN
from secateur.detectors.eresfd import EResFD
from secateur.detectors.extd import EXTD
from secateur.weights.detector_weights import identify, load_weights, read_weights


@pytest.fixture(scope="session")
def golden_input(reference: Path) -> Callable[[int, int], Tensor]:
    """Gives the network input (1, 3, S, S) of a golden picture."""

    @cache
    def load(index: int, size: int = 320) -> Tensor:
        with np.load(reference / f"golden/forward/inputs_{size}.npz") as pictures:
            return RGB_MINUS_MEAN(pictures[f"img{index}_u8"])[None]

    return load


@pytest.fixture
def published(reference: Path) -> Callable[[str], nn.Module]:
    """Gives a published network, ready to run, by the name of its file."""

    def load(name: str) -> nn.Module:
        path = reference / f"weights/{name}.safetensors"
        state = read_weights(path)
        found = identify(state)
        assert found is not None
        network = {"eresfd": EResFD, "extd": EXTD}[found.model](**found.arguments)
        load_weights(network, state, source=str(path))
        return network.eval()

    return load
