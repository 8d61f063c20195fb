"""ONNX: one file that ONNX Runtime and most other runtimes take."""

from __future__ import annotations

import dataclasses
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from secateur.deploy.checksum import write_checksum
from secateur.deploy.description import KEY, Description, PixelFormat, Suppression
from secateur.errors import InputError
from secateur.files import replacing

_EXAMPLE_SIDE = 128
_LEAST_SIDE = 64
_REMEDY = "pip install 'secateur[export]'"


def export_onnx(network: nn.Module, path: Path, description: Description) -> None:
    """Write a network as one ONNX file with batch, height and width left open.

    Args:
        network: In evaluation mode; what ``fold`` or one of the classes of ``pixels`` gives.
        path: The file; written whole or not at all.
        description: What it says about itself, as metadata of that name; names the outputs.

    Raises:
        InputError: If the packages that this takes are not installed.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401  (torch writes with it and would say so less clearly)
    except ImportError as error:
        raise InputError(f"format=onnx needs onnx and onnxscript: {_REMEDY}") from error
    suppression = description.suppression
    inside = suppression is not None and suppression.inside
    landmarks = description.points is not None and description.points.landmarks
    inner = ("boxes", "scores", "landmarks") if landmarks else ("boxes", "scores")
    outputs = inner if inside else description.outputs
    pixels = description.pixels
    if inside and description.points is not None:
        pixels = dataclasses.replace(pixels, type="float32")
    model = _trace(network, pixels, outputs)
    if pixels != description.pixels:
        _prepend_preprocessing(model, pixels)
    if inside:
        assert suppression is not None
        _append_suppression(model, suppression, landmarks)
    _write(model, path, description)


def describe_onnx(path: Path, description: Description) -> None:
    """Let an ONNX file say something else about itself."""
    import onnx

    _write(onnx.load(str(path)), path, description)


def _write(model: Any, path: Path, description: Description) -> None:  # noqa: ANN401  (a ModelProto)
    """Check and write a graph with its description, whole or not at all."""
    import onnx

    _forget_sources(model)
    del model.metadata_props[:]
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, description.text()
    model.producer_name, model.doc_string = "secateur", description.name
    onnx.checker.check_model(model)
    with replacing(path) as temporary:
        onnx.save(model, temporary)
        write_checksum(temporary)


def _forget_sources(model: Any) -> None:  # noqa: ANN401
    """Take out where every node comes from: stack traces with the paths of this machine."""
    graph = model.graph
    del graph.value_info[:]
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""


def example_input(pixels: PixelFormat) -> torch.Tensor:
    """An input of two pictures, to trace with: sizes of one would be taken for constants."""
    height, width = pixels.size or (_EXAMPLE_SIDE, _EXAMPLE_SIDE + 32)
    if pixels.type == "uint8":
        return torch.zeros(2, height, width, 3, dtype=torch.uint8)
    return torch.zeros(2, 3, height, width)


def dynamic_shapes(
    pixels: PixelFormat, largest_side: int | None = None
) -> tuple[dict[int, Any], ...]:
    """What of an input is left open.

    Args:
        pixels: What the network takes.
        largest_side: Pixels of a side, at most.
    """
    dim = torch.export.Dim
    shapes: dict[int, Any] = {0: dim.AUTO}
    if pixels.size:
        return (shapes,)
    sides = (1, 2) if pixels.type == "uint8" else (2, 3)
    for side, name in zip(sides, ("rows", "columns"), strict=True):
        if pixels.multiple > 1 and pixels.type == "float32":  # torch cannot find this out by itself
            most = largest_side // pixels.multiple if largest_side else None
            shapes[side] = pixels.multiple * dim(name, min=1, max=most)
        elif largest_side:  # AUTO raises the least side where a level would be of one cell
            shapes[side] = dim.AUTO(min=_LEAST_SIDE, max=largest_side)
        else:
            shapes[side] = dim.AUTO
    return (shapes,)


def _trace(network: nn.Module, pixels: PixelFormat, outputs: Sequence[str]) -> Any:  # noqa: ANN401
    """The graph, as a ``ModelProto``."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of what torch itself deprecates
        for name in ("torch.onnx", "onnxscript", "onnx_ir"):  # they count what they remove
            logging.getLogger(name).setLevel(logging.ERROR)
        exported = torch.export.export(
            network, (example_input(pixels),), dynamic_shapes=dynamic_shapes(pixels)
        )
        program = torch.onnx.export(
            exported,
            dynamo=True,
            input_names=["images" if pixels.type == "float32" else "pixels"],
            output_names=list(outputs),
            external_data=False,
            verbose=False,
        )
    assert program is not None
    return program.model_proto


def _prepend_preprocessing(model: Any, pixels: PixelFormat) -> None:  # noqa: ANN401  (a ModelProto)
    """Let a graph of preprocessed ``images`` take ``pixels`` (B, H, W, 3), RGB bytes of any size.

    torch cannot follow sizes through padding to a multiple, so this part is put together by hand.
    """
    from onnx import TensorProto, helper, numpy_helper

    def constant(name: str, values: object, dtype: torch.dtype) -> str:
        array = torch.tensor(values, dtype=dtype).numpy()
        model.graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    nodes = [
        helper.make_node("Cast", ["pixels"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["values"], ["planes"], perm=[0, 3, 1, 2]),
    ]
    last = "planes"

    def append(kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> None:  # noqa: ANN401
        nonlocal last
        nodes.append(helper.make_node(kind, [last, *inputs], [output], **attributes))
        last = output

    def per_channel(name: str, values: Sequence[float]) -> str:
        return constant(name, [[[value]] for value in values], torch.float32)

    if any(pixels.mean):
        append("Sub", [per_channel("mean", pixels.mean)], "centered")
    if set(pixels.scale) != {1.0}:
        append("Div", [per_channel("scale", pixels.scale)], "scaled")
    multiple = constant("multiple", pixels.multiple, torch.int64)
    before = constant("no_padding", [0] * 6, torch.int64)
    nodes += [
        helper.make_node("Shape", ["planes"], ["sides"], start=2),
        helper.make_node("Neg", ["sides"], ["negative_sides"]),
        helper.make_node("Mod", ["negative_sides", multiple], ["missing"]),
        helper.make_node("Concat", [before, "missing"], ["padding"], axis=0),
    ]
    append("Pad", ["padding"], "padded")
    order = [2, 1, 0] if pixels.order == "bgr" else [0, 1, 2]
    append("Gather", [constant("channel_order", order, torch.int64)], "images", axis=1)
    graph = model.graph
    body = list(graph.node)
    del graph.node[:], graph.input[:]
    graph.node.extend([*nodes, *body])
    shape: list[str | int | None] = ["batch", "rows_of_picture", "columns_of_picture", 3]
    graph.input.append(helper.make_tensor_value_info("pixels", TensorProto.UINT8, shape))


def _append_suppression(
    model: Any,  # noqa: ANN401  (a ModelProto)
    suppression: Suppression,
    landmarks: bool,
) -> None:
    """Let a graph that ends in boxes, scores and maybe landmarks end in faces.

    Outputs become ``faces`` (K, 5), x1, y1, x2, y2 in pixels and score, or (K, 15) with x and y of
    five landmarks after it, the best first within each picture, and ``pictures`` (K,), which
    picture of the batch each face is on.
    """
    from onnx import TensorProto, helper, numpy_helper

    def constant(name: str, values: object, dtype: torch.dtype) -> str:
        array = torch.tensor(values, dtype=dtype).numpy()
        model.graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    limits = (
        constant("max_faces", [suppression.max_faces], torch.int64),
        constant("iou_threshold", [suppression.iou_threshold], torch.float32),
        constant("score_threshold", [suppression.score_threshold], torch.float32),
    )
    first, last = (constant(f"axis_{i}", [i], torch.int64) for i in (0, 1))
    end = constant("end", [3], torch.int64)
    two = constant("two", [2], torch.int64)
    columns = ["chosen_boxes", "score_column"]
    chosen = []
    if landmarks:
        columns.append("chosen_landmarks")
        chosen = [helper.make_node("GatherND", ["landmarks", "places"], ["chosen_landmarks"])]
    nodes = [
        helper.make_node("Unsqueeze", ["scores", last], ["scores_of_class"]),
        helper.make_node("NonMaxSuppression", ["boxes", "scores_of_class", *limits], ["selected"]),
        # columns of the selection: picture, class (always 0), anchor
        helper.make_node("Slice", ["selected", first, last, last], ["picture_column"]),
        helper.make_node("Slice", ["selected", two, end, last], ["anchor_column"]),
        helper.make_node("Concat", ["picture_column", "anchor_column"], ["places"], axis=1),
        helper.make_node("GatherND", ["boxes", "places"], ["chosen_boxes"]),
        helper.make_node("GatherND", ["scores", "places"], ["chosen_scores"]),
        *chosen,
        helper.make_node("Unsqueeze", ["chosen_scores", last], ["score_column"]),
        helper.make_node("Concat", columns, ["faces"], axis=1),
        helper.make_node("Squeeze", ["picture_column", last], ["pictures"]),
    ]
    model.graph.node.extend(nodes)
    del model.graph.output[:]
    model.graph.output.extend(
        [
            helper.make_tensor_value_info(
                "faces", TensorProto.FLOAT, ["faces", 15 if landmarks else 5]
            ),
            helper.make_tensor_value_info("pictures", TensorProto.INT64, ["faces"]),
        ]
    )
