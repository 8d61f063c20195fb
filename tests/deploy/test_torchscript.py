from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from secateur.deploy.description import Description
from secateur.deploy.exported import open_exported
from secateur.deploy.folding import fold
from secateur.deploy.parity import compare_outputs
from secateur.deploy.torchscript import export_torchscript
from secateur.detectors.yunet import YuNet
from secateur.errors import InputError
from secateur.workflows.deploy.describing import describe
from secateur.workflows.loading import LoadedNetwork
from tests.deploy.conftest import randomized


@pytest.fixture(scope="module")
def loaded() -> LoadedNetwork:
    torch.manual_seed(0)
    network = randomized(YuNet(16, 16))
    architecture = {"name": "yunet", "arguments": {"width": 16, "early_width": 16}}
    return LoadedNetwork("yunet", "detection", network, architecture, {"kind": "weights"})


def written(loaded: LoadedNetwork, path: Path) -> Description:
    """Write a file; returns what it says about itself."""
    description = describe(loaded, "torchscript" if path.suffix == ".torchscript" else "lite")
    export_torchscript(fold(loaded.network), path, description)  # type: ignore[arg-type]
    return description


@pytest.mark.parametrize("suffix", [".torchscript", ".ptl"])
@torch.no_grad()
def test_a_file_says_what_it_is_and_computes_what_the_network_does(
    loaded: LoadedNetwork, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"model{suffix}"
    description = written(loaded, path)
    opened = open_exported(path)
    assert opened.description == description
    image = np.random.default_rng(0).uniform(0, 255, (2, 3, 64, 96)).astype(np.float32)
    expected = [output.numpy() for output in loaded.network(torch.from_numpy(image))]  # type: ignore[operator]
    assert max(compare_outputs([expected], [opened.run(image)])) < 1e-4


@pytest.mark.parametrize("suffix", [".torchscript", ".ptl"])
def test_a_file_with_a_damaged_part_is_refused(
    loaded: LoadedNetwork, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"model{suffix}"
    written(loaded, path)
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        parts = sorted(archive.infolist(), key=lambda part: -part.compress_size)[:8]
    for part in parts:
        lengths = struct.unpack_from("<HH", content, part.header_offset + 26)
        damaged = bytearray(content)
        damaged[part.header_offset + 30 + sum(lengths) + part.compress_size // 2] ^= 0xFF
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="is no intact TorchScript file"):
            open_exported(path)
