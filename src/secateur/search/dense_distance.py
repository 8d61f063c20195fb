"""Distance from the dense network on held-out pictures, and refitting to it within a trial."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from secateur.evaluation_mode import evaluation_mode
from secateur.filters import as_arguments
from secateur.pruning.reconstruction import reconstruct
from secateur.pruning.refitting.layer_fits import LayerFit
from secateur.slimming.graph.network_graph import NetworkGraph, trace

Distance = Callable[[nn.Module, Any, Any], Tensor]
"""Takes a network, its outputs for a batch and those of the dense network; gives a scalar."""


class DenseDistance:
    """Minus the mean distance between what a pruned and the dense network say about pictures.

    Args:
        dense: Network as it is before anything is masked; a copy is not needed, because its
            outputs are computed here and now.
        batches: Images (B, 3, H, W) of held-out pictures, in the networks' layout.
        forward: Runs a network on a batch.
        distance: Compares outputs.
    """

    def __init__(
        self,
        dense: nn.Module,
        batches: Sequence[Tensor],
        forward: Callable[[nn.Module, Tensor], Any],
        distance: Distance,
    ) -> None:
        self.batches = batches
        self.forward = forward
        self.distance = distance
        with evaluation_mode(dense), torch.no_grad():
            self.wanted = [forward(dense, images) for images in batches]

    @torch.no_grad()
    def __call__(self, network: nn.Module) -> float:
        """Minus the distance, at most 0; not a number for a network that diverged."""
        with evaluation_mode(network):
            distances = [
                self.distance(network, self.forward(network, images), wanted)
                for images, wanted in zip(self.batches, self.wanted, strict=True)
            ]
        return -float(torch.stack(distances).mean())


class DenseRefit:
    """Refits a masked network to the dense one in closed form, see ``pruning.reconstruction``.

    Args:
        dense: Network as it is before anything is masked; copied.
        pictures: Images (B, 3, S, S), all of one shape.
        exclude: Patterns of layers that stay as they are, such as the heads.
    """

    def __init__(
        self, dense: nn.Module, pictures: Sequence[Tensor], exclude: Sequence[str] = ()
    ) -> None:
        self.dense = copy.deepcopy(dense).eval()
        self.pictures = list(pictures)
        self.exclude = tuple(exclude)
        self._traced: NetworkGraph | None = None

    def __call__(self, network: nn.Module) -> list[LayerFit]:
        """Refit a network in place."""
        if self._traced is None:  # once per process: tracing takes as long as fitting
            self._traced = trace(self.dense, as_arguments(self.pictures[0]))
        return reconstruct(
            self.dense, network, self.pictures, exclude=self.exclude, traced=self._traced
        )

    def __getstate__(self) -> dict[str, Any]:
        """All but the operator graph, which cannot be handed to another process."""
        return {**self.__dict__, "_traced": None}
