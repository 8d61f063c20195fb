"""Threads: how many of them one operator of this process may use."""

from __future__ import annotations

import cv2
import torch


def use_threads(count: int | None) -> None:
    """Let PyTorch and OpenCV use so many threads, and what takes PyTorch's number.

    Args:
        count: At least 1; None leaves it at one for every core.
    """
    if count is not None:
        torch.set_num_threads(count)
        cv2.setNumThreads(count)
