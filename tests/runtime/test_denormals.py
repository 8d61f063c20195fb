"""Denormals: such numbers count as zero, in every thread, and stay so beside ONNX Runtime."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from secateur.cost.parameters import count_nonzero
from secateur.runtime.denormals import are_denormals_zero, denormals_as_zero

pytestmark = pytest.mark.skipif(
    platform.machine() not in {"x86_64", "AMD64"}, reason="PyTorch flushes on x86 alone"
)

# In processes of their own, because threads that run already keep what they were started with.
COUNT_IN_THREADS = """
import contextlib, torch
from secateur.runtime.denormals import denormals_as_zero
torch.set_num_threads(2)
with {context}:
    print(int((torch.full((2**20,), 1e-30) * 1e-10).count_nonzero()))
"""
COUNT_BESIDE_ONNX_RUNTIME = """
import contextlib, sys
from secateur.runtime.denormals import are_denormals_zero, denormals_as_zero
from secateur.deploy.yunet_onnx import OnnxYuNet
with {context}:
    OnnxYuNet(sys.argv[1])
    print(int(not are_denormals_zero()))
"""


def printed(code: str, context: str, *arguments: str) -> int:
    """What a script prints under a context."""
    command = [sys.executable, "-c", code.format(context=context), *arguments]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def test_denormal_numbers_are_zero_in_every_thread() -> None:
    assert printed(COUNT_IN_THREADS, "denormals_as_zero()") == 0
    assert printed(COUNT_IN_THREADS, "contextlib.nullcontext()") == 2**20


def test_onnx_runtime_leaves_it_as_it_is(reference: Path) -> None:
    pytest.importorskip("onnxruntime")
    path = str(reference / "weights" / "peers" / "yunet_n_dynamic.onnx")
    assert printed(COUNT_BESIDE_ONNX_RUNTIME, "denormals_as_zero()", path) == 0
    assert printed(COUNT_BESIDE_ONNX_RUNTIME, "contextlib.nullcontext()", path) == 1


def test_it_ends_with_the_context() -> None:
    assert not are_denormals_zero()
    with denormals_as_zero():
        assert are_denormals_zero()
        with denormals_as_zero():
            pass
        assert are_denormals_zero()
    assert not are_denormals_zero()


def test_sparsity_counts_denormal_numbers_as_they_are() -> None:
    layer = nn.Linear(4, 4, bias=False)
    with torch.no_grad():
        layer.weight[:] = torch.tensor([0.0, -0.0, 1e-40, -1e-40])
    with denormals_as_zero():
        assert count_nonzero(layer) == 8
    for dtype in (torch.float64, torch.bfloat16):
        assert count_nonzero(layer.to(dtype)) == 8
