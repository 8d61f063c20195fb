"""ExecuTorch: a ``.pte`` file with the XNNPACK delegate, for phones."""

from __future__ import annotations

import dataclasses
import logging
import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.fx.passes.infra.pass_base import PassResult

from secateur.deploy.checksum import write_checksum
from secateur.deploy.description import KEY, Description
from secateur.deploy.onnx import dynamic_shapes
from secateur.deploy.sessions import Array
from secateur.errors import InputError
from secateur.files import replacing

_REMEDY = "pip install 'secateur[mobile]'"
_EXAMPLE = (320, 448)
LARGEST_SIDE = 1280
"""ExecuTorch plans its memory ahead: for one picture of up to this side, however small it is."""


def largest_side(backend: str) -> float:
    """Largest side of a picture that files of a format take, in pixels."""
    return LARGEST_SIDE if backend == "executorch" else math.inf


def export_executorch(
    network: nn.Module, path: Path, description: Description, inputs: Sequence[Array] = ()
) -> None:
    """Write a network for ExecuTorch.

    Args:
        network: In evaluation mode; what ``fold`` gives.
        path: The file; written whole or not at all.
        description: What the network takes, and what the file says about itself but for the
            figures, as a constant of that name.
        inputs: Pictures (1, 3, H, W) that ranges of features come from, for a file whose layers
            compute with eight bits; none for one that computes with floats.

    Raises:
        InputError: If ExecuTorch is not installed.
    """
    try:
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower
    except ImportError as error:
        raise InputError(f"format=executorch needs ExecuTorch: {_REMEDY}") from error
    (shapes,) = dynamic_shapes(description.pixels, LARGEST_SIDE)
    # no level of one cell: torch would take its side for a constant, and with it the picture's
    image = torch.zeros(1, 3, *(description.pixels.size or _EXAMPLE))
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of what torch itself deprecates
        logging.getLogger("executorch").setLevel(logging.ERROR)
        dynamic = ({**shapes, 0: torch.export.Dim.STATIC},)
        exported = torch.export.export(network, (image,), dynamic_shapes=dynamic)
        if inputs:
            quantized = _quantized(own_parameters(exported.module()), inputs)
            exported = torch.export.export(quantized, (image,), dynamic_shapes=dynamic)
        lowered = to_edge_transform_and_lower(
            exported,
            transform_passes=[infer_sizes],
            partitioner=[XnnpackPartitioner()],
            constant_methods={KEY: dataclasses.replace(description, figures={}).text()},
        )
        program = lowered.to_executorch()
    with replacing(path) as temporary:
        temporary.write_bytes(program.buffer)
        write_checksum(temporary)


def infer_sizes(module: fx.GraphModule) -> PassResult:
    """Let reshapes of one computed size find it by themselves.

    torch computes the number of cells from the sizes of an earlier result, often of a convolution.
    XNNPACK takes neither a reshape to computed sizes nor a convolution of eight bits that has a
    second reader; ExecuTorch has no operator for what is then left of its weights ("Missing out
    variants: quantized_decomposed::dequantize_per_channel").

    Args:
        module: Graph of an edge program; changed in place.
    """
    for node in module.graph.nodes:
        if node.op != "call_function" or "view_copy" not in str(node.target):
            continue
        source, sizes = node.args
        computed = [isinstance(size, fx.Node) for size in sizes]
        if sum(computed) == 1:
            inferred = [-1 if c else size for c, size in zip(computed, sizes, strict=True)]
            node.args = (source, inferred)
    module.graph.eliminate_dead_code()
    module.recompile()
    return PassResult(module, modified=True)


def own_parameters(network: fx.GraphModule) -> fx.GraphModule:
    """Give every layer that runs several times parameters of its own for each time.

    EXTD runs its blocks six times. The quantizer takes weights that it has seen for done and leaves
    the other five times in float; and a bias of eight-bit layers is stored in steps of the features
    that a layer reads times those of its weights, so each time has another one, where ExecuTorch
    would store the first alone ("Failed to create convolution node"). Weights that are equal bytes
    are stored once.

    Args:
        network: Graph of an exported program; changed in place.

    Returns:
        The same graph.
    """
    for node in list(network.graph.nodes):
        if node.op != "get_attr" or len(node.users) < 2:
            continue
        owner, _, name = str(node.target).rpartition(".")
        module = network.get_submodule(owner)
        if not isinstance(getattr(module, name), nn.Parameter):
            continue
        for number, user in enumerate(list(node.users)[1:], start=2):
            copied = getattr(module, name).detach().clone()
            module.register_parameter(f"{name}_{number}", nn.Parameter(copied, requires_grad=False))
            with network.graph.inserting_before(user):
                own = network.graph.get_attr(f"{node.target}_{number}")
            own.meta = dict(node.meta)
            user.replace_input_with(node, own)
    network.recompile()
    return network


def _quantized(network: nn.Module, inputs: Sequence[Array]) -> nn.Module:
    """A graph whose layers compute with eight bits: weights per channel, ranges from histograms.

    XNNPACK quantizes what it can compute, and leaves the rest in float.
    """
    try:
        from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
            XNNPACKQuantizer,
            get_symmetric_quantization_config,
        )
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    except ImportError as error:
        raise InputError(f"quantize=int8 for ExecuTorch needs torchao: {_REMEDY}") from error
    quantizer = XNNPACKQuantizer().set_global(
        get_symmetric_quantization_config(is_per_channel=True)
    )
    observed = prepare_pt2e(network, quantizer)
    for array in inputs:
        observed(torch.from_numpy(array))
    quantized: nn.Module = convert_pt2e(observed)
    return quantized


def open_executorch(
    path: Path, threads: int = 1
) -> tuple[str | None, Callable[[Array], Sequence[Array]]]:
    """What a ``.pte`` file says about itself, and how it is run.

    Args:
        path: The file.
        threads: Threads of one operator, from now on of all ExecuTorch files of this process.

    Raises:
        InputError: If ExecuTorch is not installed, or the file is none of its programs.
    """
    try:
        from executorch.extension.pybindings import portable_lib
        from executorch.runtime import Runtime
    except ImportError as error:
        raise InputError(f"{path} needs ExecuTorch: {_REMEDY}") from error
    if portable_lib._threadpool_get_thread_count() != threads:
        portable_lib._unsafe_reset_threadpool(threads)  # unsafe while another file is running
    try:
        program = Runtime.get().load_program(path)
        method = program.load_method("forward")
        text = None
        if KEY in program.method_names and (constant := program.load_method(KEY)) is not None:
            text = str(constant.execute([])[0])
    except RuntimeError as error:
        raise InputError(
            f"{path} is no intact ExecuTorch program, or one with operators that this ExecuTorch "
            "cannot load: export it again, without quantize=int8 or with format=onnx if that fails"
        ) from error
    assert method is not None

    def run(images: Array) -> list[Array]:
        found = [_run_one(method, images[index : index + 1], path) for index in range(len(images))]
        return [np.concatenate(outputs) for outputs in zip(*found, strict=True)]

    return text, run


def _run_one(method: Any, image: Array, path: Path) -> list[Array]:  # noqa: ANN401
    """Outputs of one picture, copied out of the memory that the next one will use.

    Raises:
        InputError: If the picture is of a size that the file was not planned for.
    """
    try:
        found = method.execute([torch.from_numpy(np.ascontiguousarray(image))])
    except RuntimeError as error:
        height, width = image.shape[2:]
        raise InputError(
            f"{path} cannot take a picture of {width}x{height} pixels: sides have to be above 128 "
            f"and at most {LARGEST_SIDE} for most detectors, and those of its JSON where they are "
            "fixed; say protocol=vga, which resizes every picture, or export with format=onnx"
        ) from error
    return [output.numpy().copy() for output in found]
