from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from secateur.deploy.description import parse
from secateur.deploy.parity import match_faces
from secateur.deploy.pixels import preprocess
from secateur.detectors.eresfd import EResFD
from secateur.detectors.postprocess import select_faces
from secateur.workflows.deploy.describing import describe
from secateur.workflows.loading import LoadedNetwork
from tests.deploy.conftest import randomized

pytest.importorskip("onnxruntime")
EXAMPLE = Path(__file__).parents[2] / "examples" / "onnxruntime" / "detect.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("example_detect", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@torch.no_grad()
def test_example_gives_the_faces_of_the_project(example: ModuleType, picture: np.ndarray) -> None:
    network = randomized(EResFD(anchor_ratio=1.25))
    architecture = {"name": "eresfd", "arguments": {"anchor_ratio": 1.25}}
    loaded = LoadedNetwork("eresfd", "detection", network, architecture, {"kind": "run"})
    limits = {"score_threshold": 0.011, "max_faces": 50}
    description = describe(loaded, "onnx", limits=limits)
    values = json.loads(description.text())
    assert parse(description.text(), "it") == description
    image = preprocess(picture, description.pixels)
    assert np.allclose(example.preprocess(picture, values["pixels"]), image.numpy())
    outputs = network(image)
    size = (picture.shape[0], picture.shape[1])
    (rows,) = select_faces(
        network.scores(outputs),  # type: ignore[operator]
        lambda chosen: network.decode(outputs, chosen, size),  # type: ignore[operator]
        **limits,  # type: ignore[arg-type]
    )
    expected = rows.numpy() * [size[1], size[0], size[1], size[0], 1]
    found = example.decode(outputs[0][0].numpy(), outputs[1][0].numpy(), values, *size)
    assert len(found) == len(expected) > 0
    assert match_faces(expected.astype(np.float32), found.astype(np.float32), 0.0)[2]
