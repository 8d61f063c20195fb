"""Quantization: an ONNX file whose layers compute with integers of eight bits.

Static, with QuantizeLinear and DequantizeLinear around every layer ("QDQ"), weights per output
channel. Ranges of features come from pictures; which method turns pictures into ranges, and which
layers stay in float, is decided by what it does to the figure that counts.
"""

from __future__ import annotations

import io
import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from secateur.deploy.sessions import Array, OnnxSession
from secateur.errors import InputError

log = logging.getLogger(__name__)

METHODS = ("minmax", "entropy", "percentile")
"""How ranges come from pictures: all values, least divergence of histograms, all but a few."""

_PERCENTILE = 99.99
_LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# what lies between layers and passes eight bits on, so that nothing is converted on the way
_PASSING = ("Add", "Clip", "Concat", "GlobalAveragePool", "LeakyRelu", "MaxPool", "Relu", "Resize")
_REMEDY = "pip install 'secateur[export]'"


@dataclass(frozen=True, slots=True)
class Quantization:
    """What was decided, and what it costs.

    Attributes:
        figure: Name of the figure that decided, of which more is better.
        of_float: The figure of the float file.
        of_int8: The figure of the file that was written.
        by_method: The figure by method of calibration, all layers quantized.
        method: The method taken.
        errors: By layer, how far it moves the outputs when it alone is quantized: the norm of the
            difference over that of the outputs. The most sensitive first.
        in_float: Layers that stay in float.
    """

    figure: str
    of_float: float
    of_int8: float
    by_method: dict[str, float]
    method: str
    errors: dict[str, float] = field(default_factory=dict)
    in_float: tuple[str, ...] = ()

    @property
    def cost(self) -> float:
        """How much the figure falls."""
        return self.of_float - self.of_int8


class Int8Writer:
    """Writes int8 forms of one ONNX file.

    Args:
        path: The float file.
        inputs: What the network takes, one batch each: the pictures that ranges come from.
        folder: For what is kept between two calls.

    Raises:
        InputError: If the packages that this takes are not installed.
    """

    def __init__(self, path: Path, inputs: Sequence[Array], folder: Path) -> None:
        try:
            import onnx
            from onnxruntime.quantization.shape_inference import quant_pre_process
        except ImportError as error:
            raise InputError(f"quantize=int8 needs onnx and onnxruntime: {_REMEDY}") from error
        self._inputs, self._folder = list(inputs), folder
        self._source = folder / "prepared.onnx"
        with _quiet():
            quant_pre_process(str(path), str(self._source), skip_symbolic_shape=True)
        graph = onnx.load(str(self._source)).graph
        self._input = str(graph.input[0].name)
        self._nodes: dict[str, list[str]] = {}  # EXTD runs its layers six times
        for node in graph.node:
            if node.op_type in _LAYERS:
                layer = _layer_name(node.name, list(node.input))
                self._nodes.setdefault(layer, []).append(str(node.name))
        self._between = _nodes_before_layers(graph)

    @property
    def layers(self) -> list[str]:
        """Names of the layers in the order of the graph: those of their weights."""
        return list(self._nodes)

    def write(
        self,
        target: Path,
        method: str,
        *,
        in_float: Sequence[str] = (),
        only: Sequence[str] | None = None,
    ) -> None:
        """Write one form.

        Args:
            target: The file.
            method: One of ``METHODS``.
            in_float: Layers that stay in float.
            only: Quantize these layers alone, and nothing between layers.
        """
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

        layers = [name for name in only or self._nodes if name not in in_float]
        with _quiet():
            quantize_static(
                str(self._source),
                str(target),
                None,
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=[*_LAYERS, *_PASSING],
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_quantize=[node for name in layers for node in self._nodes[name]]
                + (self._between if only is None else []),
                calibrate_method=_method(method),
                calibration_cache_path=self._ranges(method),
                extra_options={"ActivationSymmetric": False, "WeightSymmetric": True},
            )

    def _ranges(self, method: str) -> Path:
        """Ranges of all features; pictures are shown one at a time, because all are kept."""
        from onnxruntime.quantization.calibrate import create_calibrator, save_tensors_data

        path = self._folder / f"{method}.json"
        if not path.is_file():
            options = {"percentile": _PERCENTILE} if method == "percentile" else {}
            with _quiet():
                calibrator = create_calibrator(
                    self._source,
                    [*_LAYERS, *_PASSING],
                    str(self._folder / "augmented.onnx"),
                    calibrate_method=_method(method),
                    extra_options=options,
                )
                for array in self._inputs:
                    calibrator.collect_data(_reader(self._input, array))
                save_tensors_data(calibrator.compute_data(), path)
        return path


def quantize(
    path: Path,
    target: Path,
    inputs: Sequence[Array],
    judge: Callable[[Path], float],
    *,
    figure: str,
    tolerance: float,
    methods: Sequence[str] = METHODS,
    largest_share: float = 0.25,
) -> Quantization:
    """Write the int8 form of an ONNX file that costs least.

    The method of calibration is the one with the best figure. Then every layer is quantized alone
    and the outputs are compared; the most sensitive layers, one, two, four and so on, go back to
    float until the figure is within the tolerance of the float file's.

    Args:
        path: The float file.
        target: What is written.
        inputs: What the network takes, one batch each; the first four also tell how sensitive
            layers are.
        judge: Figure of a file; more is better.
        figure: Its name.
        tolerance: How much of it may be lost.
        methods: Methods of calibration to try.
        largest_share: Share of the layers that may go back to float.

    Raises:
        InputError: If there are no inputs, or no such method.
    """
    unknown = [method for method in methods if method not in METHODS]
    if unknown or not methods:
        raise InputError(f"calibration method {unknown[:1]} is none of {', '.join(METHODS)}")
    if not inputs:
        raise InputError("quantize=int8 needs pictures to calibrate on: give some with source=")
    with tempfile.TemporaryDirectory() as name:
        writer = Int8Writer(path, inputs, Path(name))
        of_float = judge(path)
        by_method: dict[str, float] = {}
        for method in methods:
            writer.write(target, method)
            by_method[method] = judge(target)
            log.info(
                "int8 by %s: %s %.4f (float %.4f)", method, figure, by_method[method], of_float
            )
        method = max(by_method, key=lambda each: by_method[each])
        tried = {0: by_method[method]}
        errors: dict[str, float] = {}
        if of_float - tried[0] > tolerance:
            errors = _sensitivities(writer, path, inputs[:4], method)
            ranked, count = list(errors), 1
            while of_float - max(tried.values()) > tolerance:
                if count > max(1, round(largest_share * len(ranked))):
                    break
                writer.write(target, method, in_float=ranked[:count])
                tried[count] = judge(target)
                log.info("%d of %d layers in float: %.4f", count, len(ranked), tried[count])
                count *= 2
        enough = [count for count, value in tried.items() if of_float - value <= tolerance]
        kept = min(enough) if enough else max(tried, key=lambda count: (tried[count], -count))
        in_float = tuple(list(errors)[:kept])
        writer.write(target, method, in_float=in_float)
    return Quantization(figure, of_float, tried[kept], by_method, method, errors, in_float)


def _sensitivities(
    writer: Int8Writer, path: Path, inputs: Sequence[Array], method: str
) -> dict[str, float]:
    """How far each layer moves the outputs when it alone is quantized, the furthest first."""
    session = OnnxSession(path, 1)
    expected = [session.run(array) for array in inputs]
    errors = {}
    with tempfile.TemporaryDirectory() as folder:
        alone = Path(folder) / "alone.onnx"
        for layer in writer.layers:
            writer.write(alone, method, only=[layer])
            session = OnnxSession(alone, 1)
            found = [session.run(array) for array in inputs]
            errors[layer] = relative_error(expected, found)
    return dict(sorted(errors.items(), key=lambda item: -item[1]))


def relative_error(expected: Sequence[Sequence[Array]], found: Sequence[Sequence[Array]]) -> float:
    """Norm of the difference over the norm, of the output where that is largest.

    Args:
        expected: Outputs for every input.
        found: Likewise.

    Examples:
        >>> relative_error([[np.array([3.0, 4.0])]], [[np.array([3.0, 4.5])]])
        0.1
    """
    worst = 0.0
    for j in range(len(expected[0])):
        apart = sum(
            float(np.square(a[j] - b[j]).sum()) for a, b in zip(expected, found, strict=True)
        )
        length = sum(float(np.square(a[j]).sum()) for a in expected)
        worst = max(worst, (apart / max(length, 1e-30)) ** 0.5)
    return worst


def _nodes_before_layers(graph: Any) -> list[str]:  # noqa: ANN401  (a GraphProto)
    """Nodes that pass eight bits on and lead to another layer.

    What follows the last layers decodes boxes: values of far more than 256 steps.
    """
    wanted: set[str] = set()  # tensors that lead to a layer
    found = []
    for node in reversed(graph.node):
        if node.op_type in _LAYERS or not wanted.isdisjoint(node.output):
            if node.op_type in _PASSING:
                found.append(str(node.name))
            wanted.update(node.input)
    return found[::-1]


def _layer_name(node: str, inputs: Sequence[str]) -> str:
    """Name of a layer: that of its weights, or else that of the node."""
    weights = next((name for name in inputs if name.endswith(".weight")), None)
    return node if weights is None else weights.removesuffix(".weight")


def _method(name: str) -> Any:  # noqa: ANN401  (an enumeration of a package that may be missing)
    from onnxruntime.quantization import CalibrationMethod

    return {
        "minmax": CalibrationMethod.MinMax,
        "entropy": CalibrationMethod.Entropy,
        "percentile": CalibrationMethod.Percentile,
    }[name]


def _reader(name: str, array: Array) -> Any:  # noqa: ANN401  (of a package that may be missing)
    """One input as ONNX Runtime wants to be given it."""
    from onnxruntime.quantization import CalibrationDataReader

    class OneInput(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = iter([{name: array}])

        def get_next(self) -> dict[str, Array] | None:
            return next(self._left, None)

    return OneInput()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what ONNX Runtime's quantization says about itself at every step."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        root.setLevel(before)
