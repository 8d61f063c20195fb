"""Alignment of faces by five landmarks: turn, scale and shift them to one common place."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

TEMPLATE = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ]
)
"""Where the landmarks lie in aligned pictures of 112 pixels (Deng et al., "ArcFace", CVPR 2019)."""

TEMPLATE_SIZE = 112


def estimate_similarity(
    points: NDArray[np.floating], targets: NDArray[np.floating]
) -> NDArray[np.float64]:
    """The turn, scale and shift that brings points nearest to targets, without a reflection.

    As complex numbers the points are mapped by ``a z + b``; the squares of the distances are least
    for a ratio of two sums (Umeyama, IEEE TPAMI 13(4), 1991, in two dimensions).

    Args:
        points: (N, 2) x and y, not all equal.
        targets: (N, 2) x and y.

    Returns:
        (2, 3) matrix of the map.

    Examples:
        >>> square = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
        >>> (estimate_similarity(square, 2 * square + 3) + 0.0).tolist()  # no minus zero
        [[2.0, 0.0, 3.0], [0.0, 2.0, 3.0]]
    """
    source = points[:, 0] + 1j * points[:, 1]
    target = targets[:, 0] + 1j * targets[:, 1]
    centered = source - source.mean()
    factor = np.vdot(centered, target - target.mean()) / np.vdot(centered, centered).real
    shift = target.mean() - factor * source.mean()
    return np.array(
        [[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]]
    )


def align_face(
    pixels: NDArray[np.uint8], landmarks: NDArray[np.floating], size: int = TEMPLATE_SIZE
) -> NDArray[np.uint8]:
    """The square around a face, its landmarks as near to the template as they can be.

    Args:
        pixels: (H, W, 3) picture.
        landmarks: (5, 2) x and y in pixels of it, in the order of ``landmarks``.
        size: Side of the result.

    Returns:
        (size, size, 3), black beyond the picture.
    """
    matrix = estimate_similarity(landmarks, TEMPLATE * (size / TEMPLATE_SIZE))
    aligned = cv2.warpAffine(pixels, matrix, (size, size), flags=cv2.INTER_LINEAR)
    return np.asarray(aligned, dtype=np.uint8)
