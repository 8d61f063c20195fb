"""Balancing: a loss is a mean over what was counted, partly over the batch, partly per picture."""

from __future__ import annotations

from torch import Tensor

_LEAST = 1.0  # a picture in which nothing is counted is divided by this, not by zero


def balanced(
    sums: Tensor, counts: Tensor, picture_share: float, total: Tensor | None = None
) -> Tensor:
    """Mean over a batch, partly per counted item and partly per picture.

    Args:
        sums: (B,) a loss summed over each picture.
        counts: (B,) how many items each picture has; at least 1 is counted.
        picture_share: Share of the mean over pictures, in which a lone large face counts as much
            as a crowd, in [0, 1].
        total: Items of the batch, if it is not the sum of the counts, as in a distributed run.

    Returns:
        A scalar.

    Examples:
        >>> import torch
        >>> balanced(torch.tensor([8.0, 1.0]), torch.tensor([8.0, 1.0]), 0.5)
        tensor(1.)
        >>> balanced(torch.tensor([8.0, 3.0]), torch.tensor([8.0, 1.0]), 1.0)
        tensor(2.)
    """
    total = counts.sum() if total is None else total
    by_item = sums.sum() / total.clamp(min=_LEAST)
    if picture_share == 0:
        return by_item
    by_picture = (sums / counts.clamp(min=_LEAST)).mean()
    return (1 - picture_share) * by_item + picture_share * by_picture
