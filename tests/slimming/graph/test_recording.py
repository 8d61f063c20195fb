from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from secateur.slimming.graph import network_graph
from secateur.slimming.graph.network_graph import NetworkGraph, module_name, source_line, trace
from secateur.slimming.graph.operators import shapes_of
from secateur.slimming.graph.recording import UnrecordableError, record


class Branches(nn.Module):
    """Layers called twice, in-place changes, splits, a constant, a made-up tensor, a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(True))
        self.conv = nn.Conv2d(4, 4, 1)
        self.alias = self.conv
        self.register_buffer("shift", torch.ones(8, 1, 1))
        self.scale = torch.tensor(2.0)
        self.head = nn.Linear(12, 5)

    def forward(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        x = self.stem(images)
        x += self.shift
        left, right = x.chunk(2, 1)
        both = torch.cat([self.conv(left), self.alias(right)], 1) * self.scale
        values, places = functional.max_pool2d(both, 2, return_indices=True)
        up = functional.interpolate(values, scale_factor=2.0)
        more = torch.zeros(len(up), 4, *up.shape[2:])
        mean = torch.cat([up, more], 1).mean((2, 3))
        return self.head(mean), {"gate": torch.sigmoid(both), "places": places}


def _calls(model: nn.Module, traced: NetworkGraph) -> list[tuple[object, ...]]:
    """What a graph calls, from which results, in which module."""
    number = {node: place for place, node in enumerate(_live(traced))}
    return [
        (
            str(node.target),
            [number.get(operand, traced.names.get(operand)) for operand in node.all_input_nodes],
            [tuple(shape) for shape in shapes_of(node)],
            model.get_submodule(module_name(node)),
        )
        for node in number
    ]


def _live(traced: NetworkGraph) -> list[torch.fx.Node]:
    return [node for node in traced.nodes if node.op == "call_function" and node.users]


def test_a_record_is_what_the_exporter_says(monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = Branches().eval(), torch.zeros(2, 3, 8, 8)
    recorded = trace(model, images)
    monkeypatch.setattr(network_graph, "_recorded", lambda *_: None)
    exported = trace(model, images)
    assert _calls(model, recorded) == _calls(model, exported)
    assert len(recorded.constants) == len(exported.constants) == 1
    outputs = [node.name for node in recorded.output.all_input_nodes]
    assert len(outputs) == len(exported.output.all_input_nodes) == 3


def test_a_record_names_the_line_of_the_model() -> None:
    lines = [source_line(node) for node in _live(trace(Branches().eval(), torch.zeros(1, 3, 8, 8)))]
    assert all(line.startswith("test_recording.py:") for line in lines)
    assert any(line.endswith("left, right = x.chunk(2, 1)") for line in lines)


class Reading(nn.Module):
    """Does something with the values of a tensor."""

    def __init__(self, read: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.read = read

    def forward(self, images: Tensor) -> Tensor:
        x: Tensor = self.conv(images)
        self.read(x)
        return x


@pytest.mark.parametrize(
    "read",
    [
        lambda x: x.sum().item(),
        lambda x: bool(x.max() > 0),
        lambda x: x.tolist(),
        lambda x: x.numpy(),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: torch.equal(x, x),
        lambda x: x.unsqueeze_(0),
        lambda x: torch.add(x, x, out=torch.empty(1)),
    ],
)
def test_a_forward_that_reads_values_is_not_recorded(read: Callable[[Tensor], object]) -> None:
    model = Reading(read).eval()
    record(Reading(lambda x: None).eval(), (torch.zeros(1, 3, 4, 4),), {})  # all else is recorded
    # PyTorch itself refuses most of these on a tensor without values, each with an error of its own
    with pytest.raises((UnrecordableError, RuntimeError, NotImplementedError, TypeError)):
        record(model, (torch.zeros(1, 3, 4, 4),), {})


class Autocast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast("cpu"):
            return self.conv(images)


def test_types_of_autocast_are_left_to_the_exporter() -> None:
    model, images = Autocast().eval(), torch.zeros(1, 3, 4, 4)
    with pytest.raises(UnrecordableError, match="precision"):
        record(Autocast().eval(), (images,), {})
    assert [str(node.target) for node in _live(trace(model, images))] == ["aten.conv2d.default"]


def test_several_inputs_and_numbers_have_a_placeholder_each() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor, factor: float, y: Tensor) -> Tensor:
            return x * factor + y

    traced = trace(Two(), (torch.zeros(2, 3), 3.0, torch.zeros(3)))
    assert len(traced.inputs) == 3
    assert [tuple(shapes_of(node)[0]) for node in _live(traced)] == [(2, 3), (2, 3)]
