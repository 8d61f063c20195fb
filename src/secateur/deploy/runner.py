"""Run an exported file in a process of its own, without this project and, for ONNX, without torch.

    python -I runner.py FORMAT FILE INPUTS.npz OUTPUTS.npz

Inputs are the arrays ``0``, ``1``, ...; output number ``j`` of input ``i`` becomes ``i_j``.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np


def run_onnx(path: str, arrays: list[Any]) -> list[list[Any]]:
    """Outputs of ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return [session.run(None, {name: array}) for array in arrays]


def run_torchscript(path: str, arrays: list[Any]) -> list[list[Any]]:
    """Outputs of TorchScript, or of the lite interpreter."""
    import torch

    if path.endswith(".ptl"):
        from torch.jit.mobile import _load_for_lite_interpreter

        network: Any = _load_for_lite_interpreter(path)  # type: ignore[no-untyped-call]
    else:
        network = torch.jit.load(path)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        found = [network(torch.from_numpy(array)) for array in arrays]
    return [_arrays(outputs) for outputs in found]


def run_executorch(path: str, arrays: list[Any]) -> list[list[Any]]:
    """Outputs of ExecuTorch."""
    import torch
    from executorch.runtime import Runtime

    method: Any = Runtime.get().load_program(path).load_method("forward")
    return [_arrays(method.execute([torch.from_numpy(array)])) for array in arrays]


def _arrays(outputs: Any) -> list[Any]:  # noqa: ANN401  (a tensor or several)
    outputs = outputs if isinstance(outputs, tuple | list) else (outputs,)
    return [output.numpy().copy() for output in outputs]


RUNNERS = {
    "onnx": run_onnx,
    "torchscript": run_torchscript,
    "lite": run_torchscript,
    "executorch": run_executorch,
}

if __name__ == "__main__":
    kind, file, inputs, results = sys.argv[1:]
    with np.load(inputs, allow_pickle=False) as stored:
        batches = [stored[str(index)] for index in range(len(stored.files))]
    named = {
        f"{i}_{j}": array
        for i, found in enumerate(RUNNERS[kind](file, batches))
        for j, array in enumerate(found)
    }
    np.savez(results, **named)
