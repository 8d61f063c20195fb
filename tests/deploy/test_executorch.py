"""Files for ExecuTorch; most of it needs the package executorch, which is no part of CI."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import fx, nn

from secateur.deploy.description import PixelFormat, beside, write_beside
from secateur.deploy.executorch import (
    LARGEST_SIDE,
    export_executorch,
    infer_sizes,
    open_executorch,
    own_parameters,
)
from secateur.deploy.exported import open_exported
from secateur.deploy.face_detector import FaceDetector
from secateur.deploy.parity import compare_outputs
from secateur.detectors.eresfd import EResFD
from secateur.detectors.extd import EXTD
from secateur.detectors.yunet import YuNet
from secateur.errors import InputError
from secateur.workflows.deploy.describing import describe, exportable
from secateur.workflows.loading import LoadedNetwork
from tests.deploy.conftest import randomized

INSTALLED = importlib.util.find_spec("executorch") is not None
needs_executorch = pytest.mark.skipif(not INSTALLED, reason="needs the package executorch")


def small(name: str) -> LoadedNetwork:
    """A detector with weights that move its outputs."""
    torch.manual_seed(0)
    networks = {"yunet": lambda: YuNet(16, 16), "eresfd": EResFD, "extd_32": lambda: EXTD(32)}
    network = networks[name]()
    architecture = {"name": name, "arguments": {}}
    return LoadedNetwork(name, "detection", randomized(network), architecture, {"kind": "weights"})


def pictures(*sizes: tuple[int, int]) -> list[np.ndarray]:
    """Inputs (1, 3, H, W) in 0..255."""
    generator = np.random.default_rng(0)
    return [generator.uniform(0, 255, (1, 3, *size)).astype(np.float32) for size in sizes]


def test_a_reshape_to_one_computed_size_infers_it() -> None:
    graph = fx.Graph()
    image = graph.placeholder("image")
    size = graph.call_function(torch.ops.aten.sym_size.int, (image, 2))
    cells = graph.call_function(torch.ops.aten.view_copy.default, (image, [1, 3, size]))
    other = graph.call_function(torch.ops.aten.view_copy.default, (image, [3, 8]))
    graph.output((cells, other))
    module = infer_sizes(fx.GraphModule({}, graph)).graph_module
    views = [node.args[1] for node in module.graph.nodes if node.op == "call_function"]
    assert views == [[1, 3, -1], [3, 8]]
    assert [tuple(out.shape) for out in module(torch.zeros(1, 3, 8))] == [(1, 3, 8), (3, 8)]


def test_two_computed_sizes_stay() -> None:
    graph = fx.Graph()
    image = graph.placeholder("image")
    sizes = [graph.call_function(torch.ops.aten.sym_size.int, (image, dim)) for dim in (1, 2)]
    graph.output(graph.call_function(torch.ops.aten.view_copy.default, (image, [1, *sizes])))
    module = infer_sizes(fx.GraphModule({}, graph)).graph_module
    assert module(torch.zeros(1, 3, 8)).shape == (1, 3, 8)


@torch.no_grad()
def test_a_layer_that_runs_three_times_gets_parameters_for_each_time() -> None:
    class Repeated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 3, 1)
            self.head = nn.Linear(3, 3)

        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return self.head(self.layer(self.layer(self.layer(features))).mean((2, 3)))

    image = torch.rand(1, 3, 8, 8)
    network = Repeated()
    graph = torch.export.export(network, (image,)).module()
    assert isinstance(graph, fx.GraphModule)
    changed = own_parameters(graph)
    layers = [node for node in changed.graph.nodes if "conv2d" in str(node.target)]
    assert len({node.args[1] for node in layers}) == 3
    assert len({node.args[2] for node in layers}) == 3
    assert len(list(changed.parameters())) == 8
    torch.testing.assert_close(changed(image), network(image))


@pytest.mark.skipif(INSTALLED, reason="ExecuTorch is installed")
def test_without_executorch_the_remedy_is_told(tmp_path: Path) -> None:
    loaded = small("yunet")
    description = describe(loaded, "executorch")
    with pytest.raises(InputError, match=r"needs ExecuTorch: pip install 'secateur\[mobile\]'"):
        export_executorch(exportable(loaded, description), tmp_path / "a.pte", description)


@needs_executorch
@pytest.mark.slow
@pytest.mark.parametrize("name", ["yunet", "eresfd"])
@torch.no_grad()
def test_one_file_takes_pictures_of_any_height_and_width(name: str, tmp_path: Path) -> None:
    loaded = small(name)
    description = describe(loaded, "executorch")
    path = tmp_path / "model.pte"
    export_executorch(exportable(loaded, description), path, description)
    _, run = open_executorch(path)
    network = loaded.network
    for image in pictures((320, 448), (192, 448), (480, 448), (320, 640), (1280, 256)):
        expected = [out.numpy() for out in network(torch.from_numpy(image))]  # type: ignore[operator]
        assert max(compare_outputs([expected], [run(image)])) < 1e-4
    with pytest.raises(InputError, match="cannot take a picture of 1312x1312 pixels"):
        run(pictures((1312, 1312))[0])


@needs_executorch
@pytest.mark.slow
def test_files_run_on_as_many_threads_as_they_are_opened_with(tmp_path: Path) -> None:
    from executorch.extension.pybindings import portable_lib

    loaded = small("yunet")
    description = describe(loaded, "executorch")
    path = tmp_path / "model.pte"
    export_executorch(exportable(loaded, description), path, description)
    for threads in (1, 2, 1):
        open_exported(path, threads)
        assert portable_lib._threadpool_get_thread_count() == threads


@needs_executorch
@pytest.mark.slow
def test_a_file_says_what_it_is_and_is_held_against_its_json(tmp_path: Path) -> None:
    loaded = small("yunet")
    description = dataclasses.replace(describe(loaded, "executorch"), figures={"ap_hard": 0.5})
    path = tmp_path / "model.pte"
    export_executorch(exportable(loaded, description), path, description)
    assert open_exported(path).description == dataclasses.replace(description, figures={})
    write_beside(path, description)
    assert open_exported(path).description == description
    write_beside(path, dataclasses.replace(description, pixels=PixelFormat(order="rgb")))
    with pytest.raises(InputError, match=r"order is 'rgb' in the JSON and 'bgr' in the file"):
        open_exported(path)
    beside(path).unlink()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"model.pte was damaged"):
        open_exported(path)


@needs_executorch
@pytest.mark.slow
@pytest.mark.parametrize("name", ["yunet", "eresfd", "extd_32"])
@torch.no_grad()
def test_a_file_of_eight_bits_comes_near_the_network_at_any_size(name: str, tmp_path: Path) -> None:
    loaded = small(name)
    description = describe(loaded, "executorch", quantization="int8")
    path = tmp_path / "model.pte"
    export_executorch(
        exportable(loaded, description), path, description, pictures((320, 448), (320, 448))
    )
    _, run = open_executorch(path)
    for image in pictures((320, 448), (192, 640)):
        expected = [out.numpy() for out in loaded.network(torch.from_numpy(image))]  # type: ignore[operator]
        for ours, theirs in zip(expected, run(image), strict=True):
            assert ours.shape == theirs.shape
            assert np.linalg.norm(ours - theirs) < 0.25 * np.linalg.norm(ours - ours.mean())


def test_a_file_looks_at_no_larger_sides_than_it_takes() -> None:
    looks = FaceDetector(lambda images: [], torch.from_numpy, backend="executorch").protocol
    (view,) = looks("single").views(3000, 4000)
    assert round(view.factor * 4000) == LARGEST_SIDE
