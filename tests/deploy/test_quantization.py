from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from secateur.deploy.quantization import Int8Writer, quantize, relative_error
from secateur.deploy.sessions import OnnxSession
from secateur.errors import InputError

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

Floats = NDArray[np.float32]


@pytest.fixture(scope="module")
def inputs() -> list[Floats]:
    random = np.random.default_rng(0)
    sides = ((24, 32), (17, 21), (24, 32))
    return [random.normal(size=(1, 3, *side)).astype(np.float32) for side in sides]


def save_graph(path: Path, nodes: list[Any], channels: int, weights: dict[str, Floats]) -> Path:
    """Write a graph from ``x`` (n, 3, h, w) to ``y`` (n, channels, h, w); returns the file."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("y", kind, ["n", channels, "h", "w"])],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, str(path))
    return path


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two convolutions; the weights of the second are far apart within a channel."""
    helper = onnx.helper
    random = np.random.default_rng(1)
    first = random.normal(size=(8, 3, 3, 3)).astype(np.float32) / 5
    second = random.normal(size=(4, 8, 1, 1)).astype(np.float32)
    second[:, 0] *= 500  # takes nearly all of the 255 steps
    nodes = [
        helper.make_node("Conv", ["x", "a.weight"], ["a"], "one", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"], "relu"),
        helper.make_node("Conv", ["b", "c.weight"], ["c"], "two"),
        helper.make_node("Concat", ["c", "c"], ["y"], "after", axis=1),
    ]
    path = tmp_path_factory.mktemp("single") / "single.onnx"
    return save_graph(path, nodes, 8, {"a.weight": first, "c.weight": second})


def test_layers_are_quantized_and_what_follows_the_last_is_not(
    single: Path, inputs: list[Floats], tmp_path: Path
) -> None:
    writer = Int8Writer(single, inputs, tmp_path)
    assert writer.layers == ["a", "c"]
    writer.write(tmp_path / "int8.onnx", "minmax")
    nodes = {node.name: node for node in onnx.load(str(tmp_path / "int8.onnx")).graph.node}
    outputs = {name: node for node in nodes.values() for name in node.output}
    assert outputs[nodes["two"].input[1]].op_type == "DequantizeLinear"
    (after,) = [node for node in nodes.values() if node.op_type == "Concat"]
    readers = [node for node in nodes.values() if set(node.input) & set(after.output)]
    assert not readers
    expected, found = (
        OnnxSession(path, 1).run(inputs[0]) for path in (single, tmp_path / "int8.onnx")
    )
    assert 0 < relative_error([expected], [found]) < 0.05


def test_a_layer_that_runs_twice_is_quantized_both_times(
    inputs: list[Floats], tmp_path: Path
) -> None:
    helper, random = onnx.helper, np.random.default_rng(2)
    # the second time values are about thirty times as large, and so are the steps of its bias
    weights = random.normal(size=(3, 3, 3, 3)).astype(np.float32) * 6
    bias = np.array([20, -20, 5], np.float32)
    conv = {"pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Conv", ["x", "a.weight", "a.bias"], ["a"], "one", **conv),
        helper.make_node("Conv", ["a", "a.weight", "a.bias"], ["y"], "two", **conv),
    ]
    save_graph(tmp_path / "twice.onnx", nodes, 3, {"a.weight": weights, "a.bias": bias})
    writer = Int8Writer(tmp_path / "twice.onnx", inputs, tmp_path)
    assert writer.layers == ["a"]
    writer.write(tmp_path / "int8.onnx", "minmax")
    written = onnx.load(str(tmp_path / "int8.onnx")).graph.node
    outputs = {name: node for node in written for name in node.output}
    layers = [node for node in written if node.op_type == "Conv"]
    assert [outputs[node.input[1]].op_type for node in layers] == ["DequantizeLinear"] * 2
    expected, found = (
        OnnxSession(tmp_path / name, 1).run(inputs[0]) for name in ("twice.onnx", "int8.onnx")
    )
    assert 0 < relative_error([expected], [found]) < 0.03


@pytest.mark.parametrize("method", ["entropy", "percentile"])
def test_other_methods_take_pictures_of_any_sizes(
    single: Path, inputs: list[Floats], tmp_path: Path, method: str
) -> None:
    Int8Writer(single, inputs, tmp_path).write(tmp_path / "int8.onnx", method)
    assert OnnxSession(tmp_path / "int8.onnx", 1).run(inputs[1])[0].shape == (1, 8, 17, 21)


def test_sensitive_layers_go_back_to_float(
    single: Path, inputs: list[Floats], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = [OnnxSession(single, 1).run(array) for array in inputs]

    def judge(path: Path) -> float:
        found = [OnnxSession(path, 1).run(array) for array in inputs]
        return 1 - relative_error(expected, found)

    target = tmp_path / "int8.onnx"
    options = {"figure": "likeness", "methods": ("minmax", "percentile")}
    result = quantize(single, target, inputs, judge, tolerance=0.0, **options)  # type: ignore[arg-type]
    assert result.of_float == 1
    assert set(result.by_method) == {"minmax", "percentile"}
    assert result.by_method[result.method] == max(result.by_method.values())
    assert set(result.errors) == {"a", "c"}
    assert list(result.errors.values()) == sorted(result.errors.values(), reverse=True)
    assert result.in_float == (next(iter(result.errors)),)
    assert result.of_int8 == judge(target) > max(result.by_method.values())
    relaxed = quantize(single, target, inputs, judge, tolerance=1.0, **options)  # type: ignore[arg-type]
    assert (relaxed.in_float, relaxed.errors) == ((), {})
    assert capsys.readouterr().out == ""


def test_quantization_without_pictures_or_with_an_unknown_method_is_refused(
    single: Path, inputs: list[Floats], tmp_path: Path
) -> None:
    options = {"figure": "f", "tolerance": 0.0}
    with pytest.raises(InputError, match="pictures to calibrate on"):
        quantize(single, tmp_path / "a.onnx", [], lambda _: 0, **options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="none of minmax"):
        quantize(
            single,
            tmp_path / "a.onnx",
            inputs,
            lambda _: 0,
            methods=["magic"],
            **options,  # type: ignore[arg-type]
        )
