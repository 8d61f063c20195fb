"""Fixtures that every test may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from secateur.runtime.denormals import are_denormals_zero

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("MPLBACKEND", "agg")
# How long an example takes says how busy the machine is, and nothing about the code.
settings.register_profile("secateur", deadline=None)
settings.load_profile("secateur")


@pytest.fixture(autouse=True)
def denormals_stay() -> Iterator[None]:
    """No test may leave the thread computing with zero instead of denormal numbers."""
    yield
    left = are_denormals_zero()
    torch.set_flush_denormal(False)
    assert not left, "the setting for denormal numbers was not put back"


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder with golden numbers, published weights and real pictures, or a skip."""
    folder = os.environ.get("SECATEUR_REFERENCE")
    if not folder:
        pytest.skip("SECATEUR_REFERENCE is not set: golden numbers and real pictures are absent")
    path = Path(folder)
    if not (path / "golden").is_dir():
        pytest.skip(f"SECATEUR_REFERENCE={folder} has no golden/ folder")
    return path
