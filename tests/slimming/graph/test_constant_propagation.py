from __future__ import annotations

import torch
from torch import Tensor, nn

from secateur.slimming.graph.constant_propagation import (
    channel_values,
    constant_values,
    input_free_tensors,
)
from secateur.slimming.graph.network_graph import NetworkGraph, trace
from tests.pruning.networks import Plain, Scaled, SqueezeExcite, mask, settle_statistics

IMAGES = torch.zeros(2, 3, 9, 9)


def channels_before(model: nn.Module, layer: str, images: Tensor = IMAGES) -> Tensor:
    """Abstract value of each channel that a layer reads, by following the network."""
    traced = trace(model, images)
    found = constant_values(traced, input_free_tensors(traced))
    (node,) = [n for n in traced.nodes if _reads(traced, n, f"{layer}.weight")]
    source = node.args[0]
    assert isinstance(source, torch.fx.Node)
    return channel_values(found[source][0], 1)


def _reads(traced: NetworkGraph, node: torch.fx.Node, name: str) -> bool:
    return any(traced.names.get(operand) == name for operand in node.all_input_nodes)


def actual_channels(model: nn.Module, layer: str) -> Tensor:
    """What the layer reads on random pictures; NaN where it differs between places."""
    seen: list[Tensor] = []
    handle = model.get_submodule(layer).register_forward_pre_hook(
        lambda _, args: seen.append(args[0])
    )
    with torch.no_grad():
        model(torch.randn(2, 3, 9, 9))
    handle.remove()
    rows = seen[0].transpose(0, 1).flatten(1)
    return torch.where((rows == rows[:, :1]).all(1), rows[:, 0], float("nan"))


def check(model: nn.Module, layer: str) -> Tensor:
    found = channels_before(model, layer)
    torch.testing.assert_close(
        found.float(), actual_channels(model, layer), rtol=1e-5, atol=1e-6, equal_nan=True
    )
    return found


def test_image_varies_and_zero_filters_are_constant() -> None:
    torch.manual_seed(0)  # of a filter that no picture excites the actual channel is constant
    model = settle_statistics(Plain())
    mask(model.first, [1, 4])
    mask(model.first, [2], model.norm)
    found = check(model, "second")
    assert found.isnan().tolist() == [i not in (1, 2, 4) for i in range(8)]
    assert found[2] == 0


def test_scale_of_zero_makes_a_constant() -> None:
    model = settle_statistics(Plain())
    model.norm.weight.data[5] = 0
    model.norm.bias.data[5] = 0.25
    assert check(model, "second")[5] == 0.25


def test_constants_run_through_gates_slopes_and_fusion() -> None:
    gated = SqueezeExcite().eval()
    mask(gated.excite, [7])
    gated.excite.bias.data[7] = -10.0
    assert check(gated, "head")[7] == 0
    scaled = Scaled().eval()
    mask(scaled.a, [1, 2])
    mask(scaled.b, [1])
    scaled.a.bias.data[1] = -0.5
    scaled.b.bias.data[1] = 2.0
    assert check(scaled, "head").isnan().tolist() == [True, False, True, True, True, True]


class Spatial(nn.Module):
    """Constant channels through operators that look around."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 1)
        self.head = nn.Conv2d(4, 2, 1)
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        functional = nn.functional
        if self.kind == "max_pool":
            x = functional.max_pool2d(x, 3, 1, 1)
        elif self.kind == "avg_pool":
            x = functional.avg_pool2d(x, 3, 1, 1)
        elif self.kind == "avg_pool_inside":
            x = functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        elif self.kind == "upsample":
            x = functional.interpolate(x, scale_factor=2, mode="nearest")
        elif self.kind == "pad":
            x = functional.pad(x, (1, 1, 1, 1))
        elif self.kind == "pad_two":
            x = functional.pad(x, (1, 1, 1, 1), value=2.0)
        elif self.kind == "mean":
            x = x.mean((2, 3), keepdim=True)
        elif self.kind == "sum":
            x = x.sum((2, 3), keepdim=True)
        elif self.kind == "softmax":
            x = x.softmax(dim=1)
        return self.head(x)


def test_what_keeps_a_constant_and_what_does_not() -> None:
    kept = {
        "none": (0.0, 2.0), "max_pool": (0.0, 2.0), "avg_pool_inside": (0.0, 2.0),
        "upsample": (0.0, 2.0), "mean": (0.0, 2.0), "pad_two": (None, 2.0), "pad": (0.0, None),
        "avg_pool": (0.0, None), "sum": (0.0, None), "softmax": (None, None),
    }  # fmt: skip
    for kind, expected in kept.items():
        model = Spatial(kind).eval()
        mask(model.first, [0, 1])
        model.first.bias.data[1] = 2.0
        found = channels_before(model, "head").tolist()
        assert [None if v != v else v for v in found] == [*expected, None, None], kind
