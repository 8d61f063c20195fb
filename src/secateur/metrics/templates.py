"""Templates: several images of one face that are compared as one."""

from __future__ import annotations

import torch
from torch import Tensor

from secateur.errors import InputError


def average_templates(embeddings: Tensor, images: Tensor, sizes: Tensor) -> Tensor:
    """Average the embeddings of each template, each scaled to unit length before.

    Args:
        embeddings: ``(N, D)``.
        images: ``(M,)`` rows of the images of all templates, one template after the other.
        sizes: ``(T,)`` number of images of each template, at least 1; their sum is M.

    Returns:
        ``(T, D)`` float32 means, not scaled again.

    Raises:
        InputError: A template is empty, or the sizes do not add up to M.
    """
    if int(sizes.sum()) != len(images) or (len(sizes) and int(sizes.min()) < 1):
        raise InputError("Every template needs at least one image, and every image a template.")
    device = embeddings.device
    members = torch.nn.functional.normalize(embeddings[images.to(device)].float(), dim=1)
    return torch.segment_reduce(members, "mean", lengths=sizes.to(device), axis=0)
