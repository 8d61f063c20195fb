"""Embeddings: of pictures, of templates of several pictures, and how alike two of them are."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from secateur.errors import InputError

Measure = Literal["cosine", "euclidean"]


def compare_pairs(
    embeddings: Tensor,
    first: Tensor,
    second: Tensor,
    measure: Measure = "cosine",
    block: int = 512,
) -> Tensor:
    """Score pairs of embeddings.

    Beside its arguments and its result this holds two blocks of embeddings, ``2 * block * D``
    float32 numbers, and one norm for each embedding.

    Args:
        embeddings: ``(N, D)`` floats of any precision; they are compared as float32.
        first: ``(P,)`` row of one face of each pair.
        second: ``(P,)`` row of the other.
        measure: ``cosine`` or ``euclidean``.
        block: Pairs that are compared at once.

    Returns:
        ``(P,)`` float32 scores on the device of the embeddings, higher for faces more alike.

    Raises:
        InputError: A row is out of range, or the measure is unknown.
    """
    check_measure(measure)
    if first.shape != second.shape:
        raise InputError(f"Pairs need two faces each, got {len(first)} and {len(second)}.")
    rows = torch.stack([first, second]).to(embeddings.device)
    lowest, highest = (int(row) for row in rows.aminmax()) if len(first) else (0, -1)
    if lowest < 0 or highest >= len(embeddings):
        raise InputError(
            f"The pairs name rows {lowest} to {highest}, but there are only {len(embeddings)} "
            "embeddings."
        )
    embeddings = embeddings.detach()
    scores = torch.empty(len(first), device=embeddings.device)
    inverse_norms = inverse_lengths(embeddings) if measure == "cosine" else None
    for start in range(0, len(first), block):
        one, other = rows[:, start : start + block]
        a, b = embeddings[one].float(), embeddings[other].float()
        if inverse_norms is None:
            scores[start : start + block] = -torch.linalg.vector_norm(a.sub_(b), dim=1)
        else:
            dots = a.mul_(b).sum(dim=1)
            scores[start : start + block] = dots * inverse_norms[one] * inverse_norms[other]
    return scores


def inverse_lengths(embeddings: Tensor) -> Tensor:
    """Compute 1 / length of each embedding.

    Args:
        embeddings: ``(N, D)``.

    Returns:
        ``(N,)`` float32; 0 for an embedding of zeros, which is then like nothing.
    """
    lengths = torch.linalg.vector_norm(embeddings, dim=1, dtype=torch.float32)
    return torch.where(lengths > 0, 1 / lengths, 0.0)


def check_measure(measure: str) -> None:
    """Refuse a measure that does not exist.

    Args:
        measure: Its name.

    Raises:
        InputError: It is unknown.
    """
    if measure not in get_args(Measure):
        raise InputError(f"Unknown measure '{measure}': choose {' or '.join(get_args(Measure))}.")


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


def embed(network: nn.Module, images: Tensor, flip: bool = False) -> Tensor:
    """Compute embeddings.

    Args:
        network: Gives ``(B, D)`` for ``(B, 3, H, W)``.
        images: ``(B, 3, H, W)`` network input.
        flip: Whether to take the mean over each image and its mirror image.

    Returns:
        ``(B, D)`` embeddings.
    """
    embeddings: Tensor = network(images)
    if flip:
        embeddings = (embeddings + network(images.flip(-1))) / 2
    return embeddings
