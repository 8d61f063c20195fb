"""A slim network that is saved, read back and proved on real inputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from secateur.pruning.artifact import Builders, load_slim, save_slim
from secateur.pruning.equality import TOLERANCE, Probe, compare, outputs
from secateur.pruning.scattering import scatter_zero_filters
from secateur.pruning.slimming import slim

PICTURES = 4  # real ones that whoever proves takes
TRACE_SIZE = 128  # pixels; what a channel depends on does not depend on the size of the picture


class ProvedSlim(NamedTuple):
    """A slim network as a fresh process rebuilds it.

    Args:
        network: The network, in evaluation mode.
        difference: Largest absolute difference of its outputs from those of the masked network.
    """

    network: nn.Module
    difference: float


def save_proved_slim(
    folder: Path,
    masked: nn.Module,
    architecture: Mapping[str, Any],
    builders: Builders,
    example: Tensor,
    inputs: Iterable[Sequence[Any]],
    *,
    scatter: bool = False,
) -> ProvedSlim:
    """Slim a network, save it, and prove what a fresh process will rebuild.

    Args:
        folder: Where ``model.safetensors`` and ``model.json`` go.
        masked: Network in evaluation mode on the CPU; its zeros say what is to be removed.
        architecture: ``name`` and ``arguments`` that build the dense network.
        builders: Architecture name -> what builds it.
        example: (1, 3, H, W) of the training size; the network is traced on a part of it.
        inputs: Real inputs, positional arguments of the forward.
        scatter: Whether convolutions leave out zero filters that have to stay, where that is
            measured to be faster on the example.

    Raises:
        RuntimeError: If the two networks differ.
    """
    small = slim(masked, (example[..., :TRACE_SIZE, :TRACE_SIZE],)).model
    if scatter:
        small = scatter_zero_filters(small, example).model
    save_slim(folder, small, architecture)
    slimmed = load_slim(folder, builders)
    probes = (Probe(tuple(args), outputs(masked, args)) for args in inputs)
    difference = compare(slimmed, probes)
    # Outputs far above 1, as of a network that barely trained, carry rounding of their size.
    if min(difference.absolute, difference.relative) > TOLERANCE:
        raise RuntimeError(
            f"the slim network differs from the masked one by {difference.absolute:.2g} on real "
            f"pictures, more than {TOLERANCE}: this is a defect of slimming, please report it"
        )
    return ProvedSlim(slimmed, difference.absolute)
