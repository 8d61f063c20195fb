from __future__ import annotations

from collections.abc import Iterator

import cv2
import pytest
import torch

from secateur.runtime.threads import use_threads


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = torch.get_num_threads(), cv2.getNumThreads()
    yield
    torch.set_num_threads(before[0])
    cv2.setNumThreads(before[1])


def test_pytorch_and_opencv_use_as_many_threads_as_they_are_told() -> None:
    use_threads(3)
    assert (torch.get_num_threads(), cv2.getNumThreads()) == (3, 3)
    use_threads(None)
    assert (torch.get_num_threads(), cv2.getNumThreads()) == (3, 3)
