from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from secateur.errors import InputError
from secateur.slimming.graph.network_graph import batchnorm_after, is_convolution, trace


class Shared(nn.Module):
    """One convolution and batch norm used twice, the batch norm registered under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.conv = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.alias = self.norm
        self.cache: Tensor | None = None

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        x = self.norm(self.conv(x))
        x = self.alias(self.conv(x.relu_()))
        self.cache = x
        return x


class ValueDependent(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


def test_tensors_have_one_name_and_the_model_is_untouched() -> None:
    model = Shared().train()
    traced = trace(model, torch.zeros(1, 3, 8, 8))
    assert {"norm.weight", "norm.running_var", "conv.weight", "stem.bias"} <= set(
        traced.names.values()
    )
    assert "alias.weight" not in traced.names.values()
    assert traced.tensors["conv.weight"] is model.conv.weight
    assert model.training
    assert model.norm.training
    assert model.cache is None


def test_batchnorm_after_shared_convolution() -> None:
    assert batchnorm_after(trace(Shared(), torch.zeros(1, 3, 8, 8))) == {"conv": "norm"}


def test_in_place_operators_become_functional() -> None:
    traced = trace(Shared(), torch.zeros(1, 3, 8, 8))
    targets = [str(n.target) for n in traced.nodes if "aten" in str(n.target)]
    assert "aten.relu.default" in targets
    assert not [t for t in targets if t.split(".")[1].endswith("_")]


def test_untraceable_forward_is_refused_with_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="ValueDependent cannot be traced") as caught:
        trace(ValueDependent(), torch.zeros(1, 3))
    assert len(str(caught.value)) < 400
    assert capsys.readouterr() == ("", "")


class Mutating(nn.Module):
    """Changes a view in place, and computes something that reaches no output."""

    def __init__(self, view: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.unused = nn.Conv2d(4, 2, 1)
        self.view = view

    def forward(self, images: Tensor) -> Tensor:
        x = self.conv(images)
        self.unused(x)
        y = x.relu_()
        if self.view:
            x[:, :2] += 1
        return x + y


@pytest.mark.parametrize("view", [False, True])
def test_in_place_changes_are_followed(view: bool) -> None:
    model = Mutating(view).eval()
    images = torch.randn(1, 3, 4, 4)
    traced = trace(model, images)
    values: dict[object, object] = {traced.inputs[0]: images}
    values |= {node: traced.tensors[name] for node, name in traced.names.items()}
    for node in traced.nodes:
        if node.op == "call_function":
            arguments = torch.fx.node.map_arg(node.args, lambda n: values[n])
            values[node] = node.target(*arguments, **node.kwargs)  # type: ignore[operator]
    result = torch.fx.node.map_arg(traced.output.args[0], lambda n: values[n])
    torch.testing.assert_close(result[0], model(images))
    # Only the exporter's own treatment of views drops the unused layer.
    assert sum(is_convolution(node) for node in traced.nodes) == (1 if view else 2)


def test_input_of_the_wrong_shape_is_refused() -> None:
    with pytest.raises(InputError, match="pass the part"):
        trace(nn.Conv2d(3, 4, 1), torch.zeros(1, 2, 4, 4))


class Counting(nn.Module):
    """Counts its calls in a buffer and keeps what it computed last."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.register_buffer("calls", torch.zeros(()))
        self.last = torch.zeros(())

    def forward(self, images: Tensor) -> Tensor:
        assert isinstance(self.calls, Tensor)
        self.calls += 1
        self.last = self.conv(images)
        return self.last + self.calls


def test_a_forward_that_writes_to_its_own_tensors_leaves_the_model_as_it_was() -> None:
    model = Counting().eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    last = model.last
    traced = trace(model, torch.randn(1, 3, 4, 4))
    assert model.last is last
    assert traced.tensors["conv.weight"].data_ptr() == model.conv.weight.data_ptr()
    for name, tensor in model.state_dict().items():
        assert type(tensor) is Tensor
        assert torch.equal(tensor, before[name])
