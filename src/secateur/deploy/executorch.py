"""ExecuTorch: a ``.pte`` file with the XNNPACK delegate, for phones."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

from secateur.deploy.description import Description
from secateur.deploy.onnx import dynamic_shapes, example_input
from secateur.deploy.sessions import Array
from secateur.errors import InputError
from secateur.files import replacing

_REMEDY = "pip install 'secateur[mobile]'"
LARGEST_SIDE = 2048
"""ExecuTorch plans its memory ahead, for pictures up to this side and this many at once."""
LARGEST_BATCH = 4


def export_executorch(network: nn.Module, path: Path, description: Description) -> None:
    """Write a network for ExecuTorch.

    Args:
        network: In evaluation mode; what ``fold`` gives.
        path: The file; written whole or not at all. It has no room for the description.
        description: What the network takes.

    Raises:
        InputError: If ExecuTorch is not installed.
    """
    try:
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower
    except ImportError as error:
        raise InputError(f"format=executorch needs ExecuTorch: {_REMEDY}") from error
    shapes = dynamic_shapes(description.pixels, LARGEST_BATCH, LARGEST_SIDE)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of what torch itself deprecates
        logging.getLogger("executorch").setLevel(logging.ERROR)
        exported = torch.export.export(
            network, (example_input(description.pixels),), dynamic_shapes=shapes
        )
        lowered = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
        program = lowered.to_executorch()
    with replacing(path) as temporary:
        temporary.write_bytes(program.buffer)


def open_executorch(path: Path) -> tuple[None, Callable[[Array], Sequence[Array]]]:
    """How a ``.pte`` file is run.

    Args:
        path: The file.

    Raises:
        InputError: If ExecuTorch is not installed, or the file is none of its programs.
    """
    try:
        from executorch.runtime import Runtime
    except ImportError as error:
        raise InputError(f"{path} needs ExecuTorch: {_REMEDY}") from error
    try:
        method = Runtime.get().load_program(path).load_method("forward")
    except RuntimeError as error:
        raise InputError(f"{path} is no intact ExecuTorch program: export it again") from error
    assert method is not None

    def run(images: Array) -> list[Array]:
        found = method.execute([torch.from_numpy(images)])
        return [output.numpy().copy() for output in found]

    return None, run
