"""Processor: denormal numbers count as zero, in every thread, and stay so beside ONNX Runtime."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    platform.machine() not in {"x86_64", "AMD64"}, reason="PyTorch flushes on x86 alone"
)

# In a process of its own, because threads that run already keep what they were started with.
COUNT_DENORMALS = """
import torch
from secateur.deploy.processor import prepare_processor
{call}
torch.set_num_threads(2)
products = torch.full((2**20,), 1e-30) * 1e-10
print(int(products.count_nonzero()))
"""
OPEN_SESSION = """
import sys
import torch
from secateur.deploy.processor import prepare_processor
from secateur.deploy.yunet import YuNet
prepare_processor()
YuNet(sys.argv[1])
print(int((torch.full((8,), 1e-30) * 1e-10).count_nonzero()))
"""


def printed(code: str, *arguments: str) -> int:
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True
    )
    return int(result.stdout)


def test_denormal_numbers_are_zero_in_every_thread() -> None:
    assert printed(COUNT_DENORMALS.format(call="prepare_processor()")) == 0
    assert printed(COUNT_DENORMALS.format(call="")) == 2**20


def test_onnx_runtime_leaves_it_so(reference: Path) -> None:
    pytest.importorskip("onnxruntime")
    path = reference / "weights" / "peers" / "yunet_n_dynamic.onnx"
    assert printed(OPEN_SESSION, str(path)) == 0
