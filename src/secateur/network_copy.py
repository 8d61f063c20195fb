"""Copies of networks, also of those that hold something that cannot be copied."""

from __future__ import annotations

import copy
from collections import OrderedDict
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
        return _deep_copy(model, dict(kept))
    except Exception:  # whatever an attribute raises that does not want to be copied
        memo = dict(kept)
        for module in model.modules():
            for value in vars(module).values():
                _share(value, memo)
        return _deep_copy(model, memo)


def _deep_copy(model: Network, memo: dict[int, Any]) -> Network:
    """``copy.deepcopy``, which spends a tenth of a millisecond on the empty parts of a module.

    A module has some twenty attributes of its own, most of them empty dictionaries of hooks;
    those that are plain need no protocol of pickling to be copied.
    """
    kinds = {kind for kind in map(type, model.modules()) if _is_plain(kind)}
    plain = [module for module in model.modules() if type(module) in kinds]
    for module in plain:
        memo[id(module)] = object.__new__(type(module))
    for module in plain:
        state = {name: _copy_attribute(value, memo) for name, value in vars(module).items()}
        memo[id(module)].__setstate__(state)
    return copy.deepcopy(model, memo)


def _copy_attribute(value: Any, memo: dict[int, Any]) -> Any:  # noqa: ANN401
    kind = type(value)
    if kind in _ATOMIC:
        return value
    if id(value) in memo:
        return memo[id(value)]
    if kind in (dict, OrderedDict):
        made = memo[id(value)] = kind()
        for key, item in value.items():
            made[_copy_attribute(key, memo)] = _copy_attribute(item, memo)
        return made
    if kind is list:
        items: list[Any] = []
        memo[id(value)] = items
        items += [_copy_attribute(item, memo) for item in value]
        return items
    if kind in (set, tuple) and all(type(item) in _ATOMIC for item in value):
        return kind(value)
    return copy.deepcopy(value, memo)


def _is_plain(kind: type[nn.Module]) -> bool:
    """Whether a kind of module is copied attribute by attribute, as `nn.Module` is."""
    own = any(getattr(kind, name, None) is not getattr(nn.Module, name, None) for name in _PROTOCOL)
    return not own and not any(vars(base).get("__slots__") for base in kind.__mro__)


_ATOMIC = frozenset({int, float, bool, str, type(None)})

_PROTOCOL = ("__deepcopy__", "__getnewargs__", "__getnewargs_ex__", "__getstate__", "__new__",
             "__reduce__", "__reduce_ex__")  # fmt: skip


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
