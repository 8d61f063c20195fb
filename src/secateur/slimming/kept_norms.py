"""Layer norms and group norms whose statistics run over the channels that stay.

A channel that is zero still counts in the mean and variance of a layer norm, so that no slim
network can compute what the masked one does. What can be proved is equality with the masked
network in which these norms leave the removed channels out of their statistics.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from secateur.network_copy import copy_network
from secateur.slimming.graph.network_graph import NetworkGraph, module_name
from secateur.slimming.graph.operators import operator_name
from secateur.slimming.surgery import Cut


@dataclass(frozen=True, slots=True)
class NarrowedNorm:
    """A norm that lost channels of which its statistics were made.

    Args:
        kept: Channels that stay, in the numbering of the masked network.
        dim: Dimension of the channels in what the norm takes.
    """

    kept: tuple[int, ...]
    dim: int

    def then(self, other: NarrowedNorm) -> NarrowedNorm:
        """This norm after it has lost further channels, numbered as they are behind this."""
        return NarrowedNorm(tuple(self.kept[i] for i in other.kept), self.dim)


class NormOverKept(nn.Module):
    """A norm over some channels; the others are zero behind it.

    Args:
        norm: The norm of the slim network.
        kept: Channels that stay, (kept,).
        dim: Dimension of the channels in what the norm takes.
    """

    kept: Tensor

    def __init__(self, norm: nn.Module, kept: Tensor, dim: int) -> None:
        """Take the norm as it is."""
        super().__init__()
        self.norm = norm
        self.dim = dim
        self.register_buffer("kept", kept)

    def forward(self, values: Tensor) -> Tensor:
        """Normalise a tensor with all channels along ``dim``."""
        found = self.norm(values.index_select(self.dim, self.kept))
        return torch.zeros_like(values).index_copy(self.dim, self.kept, found)


def narrowed_norms(
    traced: NetworkGraph, cut: Cut, norms: set[str], model: nn.Module
) -> dict[str, NarrowedNorm]:
    """Find the norms that lose channels of which their statistics were made.

    Args:
        traced: Operator graph of the masked network.
        cut: What stays of it.
        norms: Names of the layer norms and group norms with an entry per channel.
        model: The masked network.

    Returns:
        Name -> what stays of it.
    """
    moved = {module_name(n) for n in traced.nodes if operator_name(n) in ("permute", "transpose")}
    found = {}
    for name in sorted(norms):
        kept = cut.kept.get((f"{name}.weight", 0))
        # Where whole groups go, each has statistics of its own.
        if name in cut.groups or kept is None:
            continue
        if len(kept) < len(traced.tensors[f"{name}.weight"]):
            # A layer norm takes channels last, unless it moves them there itself.
            last = isinstance(model.get_submodule(name), nn.LayerNorm) and name not in moved
            found[name] = NarrowedNorm(tuple(kept.tolist()), -1 if last else 1)
    return found


def normalized_over_kept(
    masked: nn.Module, slimmed: nn.Module, narrowed: Mapping[str, NarrowedNorm]
) -> nn.Module:
    """A copy of the masked network whose norms leave the removed channels out.

    Args:
        masked: The masked network.
        slimmed: The slim one, whose norms are taken.
        narrowed: As ``narrowed_norms`` returns it.
    """
    reference = copy_network(masked)
    for name, norm in narrowed.items():
        small = slimmed.get_submodule(name)
        owner, _, attribute = name.rpartition(".")
        device = next(small.parameters()).device
        over_kept = NormOverKept(
            copy_network(small), torch.tensor(norm.kept, device=device), norm.dim
        )
        setattr(reference.get_submodule(owner), attribute, over_kept)
    return reference
