"""Small sets of pictures."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from secateur.data.annotations import Annotation


@pytest.fixture
def annotated(tmp_path: Path) -> list[Annotation]:
    """A face each in ``a/1.jpg`` and ``b/2.jpg`` of ``tmp_path``, beside ``other/3.jpg``."""
    generator = np.random.default_rng(0)
    for name in ("a/1.jpg", "b/2.jpg", "other/3.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / name), generator.integers(0, 255, (80, 90, 3), dtype=np.uint8))
    boxes = np.array([[20.0, 20.0, 30.0, 40.0]], np.float32)
    return [Annotation(name, boxes) for name in ("a/1.jpg", "b/2.jpg")]
