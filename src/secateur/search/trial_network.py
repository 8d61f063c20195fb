"""The network of a search: masked for a trial and put back exactly as it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from secateur.pruning.masks import MaskHolder
from secateur.search.removal import Removal


class TrialNetwork:
    """A network in its start state, and what rates remove from it.

    Args:
        network: Network; changed within ``masked`` only.
        removal: Masks of rates.
    """

    def __init__(self, network: nn.Module, removal: Removal) -> None:
        self.network = network
        self.removal = removal
        self._state = {name: tensor.clone() for name, tensor in _tensors(network).items()}

    @contextmanager
    def masked(self, rates: Mapping[str, float]) -> Iterator[MaskHolder]:
        """Mask the network for the length of a with-statement.

        Args:
            rates: Rate per group.

        Yields:
            What puts pruned filters back to zero if training moves them.
        """
        holder = MaskHolder(self.network, self.removal.masks(rates), self.removal.batchnorms)
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
