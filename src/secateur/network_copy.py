"""Copies of networks, also of those that hold something that cannot be copied."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any, TypeVar

from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


def copy_network(model: Network, *, shared: Iterable[Tensor] = ()) -> Network:
    """A deep copy of a network; what cannot be copied in it is shared.

    Implementations keep Python modules, open files or locks as attributes, and the hook of
    ``torch.nn.utils.weight_norm`` keeps a computed tensor, which ``copy.deepcopy`` refuses
    (pytorch/pytorch#103001).

    Args:
        model: Network; it is not changed.
        shared: Tensors of it that the copy has too, because nothing will write to them.

    Example:
        >>> layer = nn.Linear(2, 3)
        >>> layer.library = copy  # a Python module
        >>> copy_network(layer).library is copy
        True
    """
    kept: dict[int, Any] = {id(tensor): tensor for tensor in shared}
    try:
        return copy.deepcopy(model, dict(kept))
    except Exception:  # whatever an attribute raises that does not want to be copied
        memo = dict(kept)
        for module in model.modules():
            for value in vars(module).values():
                _share(value, memo)
        return copy.deepcopy(model, memo)


def _share(value: object, memo: dict[int, Any]) -> None:
    """Enter what cannot be copied, alone or in containers, as its own copy."""
    if isinstance(value, dict):
        for item in value.values():
            _share(item, memo)
    elif isinstance(value, list | tuple | set):
        for item in value:
            _share(item, memo)
    elif isinstance(value, Tensor):
        if not value.is_leaf:
            memo[id(value)] = value.detach().clone()
    elif not isinstance(value, nn.Module):
        try:
            copy.deepcopy(value)
        except Exception:
            memo[id(value)] = value
