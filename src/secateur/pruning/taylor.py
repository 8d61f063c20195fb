"""Taylor scores, gathered from the forward and backward passes of mini-batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from secateur.errors import InputError
from secateur.filters import filters_of
from secateur.pruning.criteria import taylor_weight


class TaylorStatistics:
    """Mean Taylor scores of mini-batches, gathered while a network is trained.

    A context manager: hooks are there inside only. ``taylor`` needs memory for a copy of every
    layer's output, because an activation behind the layer may overwrite it in place.

    Args:
        layers: Layers to score, by name.
        criterion: ``taylor`` or ``taylor_weight``.

    Example:
        >>> layer = nn.Conv2d(1, 2, 1)
        >>> with TaylorStatistics({"layer": layer}, "taylor") as statistics:
        ...     layer(torch.ones(1, 1, 2, 2)).sum().backward()
        ...     statistics.end_batch()
        >>> statistics.means()["layer"].shape
        torch.Size([2])
    """

    def __init__(self, layers: Mapping[str, nn.Module], criterion: str) -> None:
        if criterion not in ("taylor", "taylor_weight"):
            raise ValueError(f"statistics are for taylor and taylor_weight, not {criterion}")
        self.layers = dict(layers)
        self.criterion = criterion
        self.batches = 0
        self._sums: dict[str, Tensor] = {}
        self._batch: dict[str, Tensor] = {}  # sums of the present mini-batch
        self._positions: dict[str, int] = {}
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> TaylorStatistics:
        """Put hooks on the layers."""
        for name, layer in self.layers.items():
            if self.criterion == "taylor":
                handle = layer.register_forward_hook(partial(self._watch, name))
            else:
                handle = _on_gradient(layer.weight, partial(self._see_weight, name))
            self._handles.append(handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the hooks away; what was gathered stays."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._batch.clear()
        self._positions.clear()

    def end_batch(self) -> None:
        """Turn the sums of one mini-batch into scores; call it after each backward."""
        if not self._batch:
            return
        self.batches += 1
        for name, value in self._batch.items():
            if self.criterion == "taylor":
                # The mean over all positions of all calls, per picture: criteria.taylor.
                value = (value / self._positions[name]).abs().mean(0)
            self._sums[name] = self._sums.get(name, 0) + value.double()
        self._batch.clear()
        self._positions.clear()

    def means(self, add_up: Callable[[Tensor], Tensor] | None = None) -> dict[str, Tensor]:
        """Mean scores of all mini-batches.

        Args:
            add_up: Sums a tensor over processes, if there are several; each process then
                contributes every one of its mini-batches with the same weight.

        Returns:
            Per layer (n_filters,), float32; layers that no gradient has reached score zero.

        Raises:
            InputError: If there was no mini-batch.
        """
        add_up = add_up or (lambda tensor: tensor)
        device = filters_of(next(iter(self.layers.values()))).device
        batches = float(add_up(torch.tensor(float(self.batches), device=device)))
        if not batches:
            raise InputError(
                f"criterion {self.criterion} scores filters by what happens in training, and no "
                "batch has been trained on yet: use a schedule that trains before it prunes"
            )
        found = {}
        for name, layer in self.layers.items():
            zeros = torch.zeros(len(filters_of(layer)), dtype=torch.float64, device=device)
            found[name] = (add_up(self._sums.get(name, zeros)) / batches).float()
        return found

    def _watch(self, name: str, layer: nn.Module, inputs: object, output: Tensor) -> None:
        if output.requires_grad:
            _on_gradient(output, partial(self._see_output, name, output.detach().clone()))

    def _see_output(self, name: str, activation: Tensor, gradient: Tensor) -> None:
        """Add one call: (batch, n_filters) sums over the positions of activation x gradient."""
        product = (activation.float() * gradient.float()).flatten(2)
        self._batch[name] = self._batch.get(name, 0) + product.sum(2)
        self._positions[name] = self._positions.get(name, 0) + product.shape[2]

    def _see_weight(self, name: str, gradient: Tensor) -> None:
        layer = self.layers[name]
        score = taylor_weight(filters_of(layer).detach(), filters_of(layer, gradient))
        self._batch[name] = self._batch.get(name, 0) + score


def _on_gradient(tensor: Tensor | nn.Module, see: Callable[[Tensor], None]) -> RemovableHandle:
    """Call ``see`` with the gradient of a tensor, once in every backward."""
    handle: RemovableHandle = tensor.register_hook(see)  # type: ignore[operator]
    return handle
