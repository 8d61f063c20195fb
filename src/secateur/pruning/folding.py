"""Move the constant effect of removed channels into biases and batch norms, exactly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from secateur.pruning.liveness import Reader
from secateur.pruning.operators import bind
from secateur.pruning.trace import Trace, is_batch_norm


@dataclass(frozen=True, slots=True)
class Fold:
    """A constant per filter that a layer no longer gets from the channels it reads.

    Args:
        weight: Name of the layer's weight.
        target: Name of the bias or running mean that takes the constant over.
        amount: What to add to it, (filters,), in double precision.
        channels: How many channels' effect it is.
    """

    weight: str
    target: str
    amount: Tensor
    channels: int


def folds(
    traced: Trace, readers: Mapping[str, Reader], kept: Tensor, tensors: Mapping[str, Tensor]
) -> list[Fold]:
    """Constants that removed channels contributed, and where each of them goes.

    A layer without a bias passes its constant on to the running mean of the batch norm behind it;
    where there is none, or not one alone, it gets a new bias.

    Args:
        traced: The operator graph.
        readers: The layers by weight.
        kept: Classes that stay, (classes,) bool.
        tensors: Parameters and buffers of the network by name.
    """
    found: list[Fold] = []
    for weight, reader in readers.items():
        constants = reader.constants.nan_to_num(nan=0.0)
        lost = torch.where(kept[reader.inputs], torch.zeros_like(constants), constants)
        if not bool(lost.any()):
            continue
        amount = reader.layout.effect(tensors[weight], lost)
        channels = int(lost.count_nonzero())
        target, sign = reader.calls[0].bias, 1.0
        if target not in tensors and (mean := _mean_behind(traced, reader)) is not None:
            target, sign = mean, -1.0
        assert target is not None
        found.append(Fold(weight, target, sign * amount, channels))
    return found


def _mean_behind(traced: Trace, reader: Reader) -> str | None:
    """Running mean of the batch norm that alone reads the layer, and nothing else does."""
    calls = {call.node for call in reader.calls}
    means: set[str | None] = set()
    for call in calls:
        norms = [user for user in call.users if is_batch_norm(user) and user.args[0] is call]
        if len(norms) != 1 or len(call.users) != 1:
            return None
        means.add(traced.name(bind(norms[0])["running_mean"]))
    mean = means.pop() if len(means) == 1 else None
    others = [
        node
        for node in traced.nodes
        if is_batch_norm(node)
        and node.args[0] not in calls
        and traced.name(bind(node)["running_mean"]) == mean
    ]
    return None if others else mean
