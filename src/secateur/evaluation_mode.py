"""Evaluation mode for the length of a with-statement."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluation_mode(*models: nn.Module) -> Iterator[None]:
    """Put networks in evaluation mode, and each of their modules back to what it was in.

    Args:
        models: Networks, changed in place.
    """
    was = {module: module.training for model in models for module in model.modules()}
    for model in models:
        model.eval()
    try:
        yield
    finally:
        for module, training in was.items():
            module.training = training
