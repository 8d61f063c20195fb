"""Strict loading: copy tensors into a network, all or none, and name what does not fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from secateur.errors import InputError

_LISTED = 3


def load_strictly(
    network: nn.Module,
    tensors: Mapping[str, Tensor],
    source: str,
    remedy: Callable[[], str],
) -> None:
    """Copy tensors into a network if names and shapes are all the same.

    Args:
        network: Network; changed in place, unless something does not fit.
        tensors: Name to tensor.
        source: What to call the weights in an error message.
        remedy: Says at the end of the message what to do; asked only if something does not fit.

    Raises:
        InputError: If a tensor is missing, left over or of another shape.
    """
    expected = network.state_dict()
    misfits = [
        f"{name} should be {_shape(expected.get(name))} and is {_shape(tensors.get(name))}"
        for name in [*expected, *(name for name in tensors if name not in expected)]
        if _shape(expected.get(name)) != _shape(tensors.get(name))
    ]
    if misfits:
        rest = len(misfits) - _LISTED
        raise InputError(
            f"{source} does not fit {type(network).__name__}: {', '.join(misfits[:_LISTED])}"
            f"{f', and {rest} tensors more' if rest > 0 else ''}; {remedy()}"
        )
    network.load_state_dict(dict(tensors))


def _shape(tensor: Tensor | None) -> str:
    """Shape for an error message."""
    return "absent" if tensor is None else str(tuple(tensor.shape))
