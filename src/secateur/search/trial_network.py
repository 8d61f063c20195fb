"""The network of a search: masked for a trial and put back exactly as it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from secateur.pruning.masks import MaskHolder
from secateur.search.levels import Levels


class TrialNetwork:
    """A network in its start state, and the order in which its filters go.

    Args:
        network: Network; changed within ``masked`` only.
        scores: Per layer (n_filters,), low = goes first.
        batchnorms: Name of the batch norm that is masked with a layer.
        levels: Levels per group.
    """

    def __init__(
        self,
        network: nn.Module,
        scores: Mapping[str, Tensor],
        batchnorms: Mapping[str, str],
        levels: Mapping[str, Levels],
    ) -> None:
        self.network = network
        self.batchnorms = dict(batchnorms)
        self.levels = dict(levels)
        self._ranks = {
            name: scores[name].argsort(stable=True).argsort()
            for group in levels.values()
            for name in group.layers
        }
        self._state = {name: tensor.clone() for name, tensor in _tensors(network).items()}

    def filters_removed(self, rates: Mapping[str, float]) -> dict[str, int]:
        """How many filters each layer loses, the identity of a pruned network."""
        return {
            name: int(count)
            for group, levels in self.levels.items()
            for name, count in zip(
                levels.layers, levels.filters[levels.of_rate(rates[group])], strict=True
            )
        }

    @contextmanager
    def masked(self, rates: Mapping[str, float]) -> Iterator[MaskHolder]:
        """Mask the network for the length of a with-statement.

        Args:
            rates: Rate per group.

        Yields:
            What puts pruned filters back to zero if training moves them.
        """
        keep = {
            name: self._ranks[name] >= count for name, count in self.filters_removed(rates).items()
        }
        holder = MaskHolder(self.network, keep, self.batchnorms)
        holder.apply()
        try:
            yield holder
        finally:
            self.restore()

    @torch.no_grad()
    def restore(self) -> None:
        """Put every parameter and buffer back to its start value."""
        for name, tensor in _tensors(self.network).items():
            tensor.copy_(self._state[name])


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers, buffers that are not saved included."""
    return {
        **{name: parameter.detach() for name, parameter in network.named_parameters()},
        **dict(network.named_buffers()),
    }
