"""YuNet as a baseline to compare with, run from its ONNX file by ONNX Runtime.

Wu et al., "YuNet: A Tiny Millisecond-level Face Detector" (2023). It is given the interface of
our detectors, so that protocols and post-processing are the same for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from secateur.data.preprocessing import BGR, Preprocessing
from secateur.detectors.points import STRIDES, decode_faces
from secateur.errors import InputError
from secateur.runtime.denormals import are_denormals_zero


class OnnxYuNet:
    """YuNet in ONNX Runtime, under the protocol of ``detection.Detector``.

    Args:
        path: ONNX file of libfacedetection.train with dynamic sides.

    Raises:
        InputError: If ONNX Runtime is not installed, or the file is no such network.
    """

    preprocessing: ClassVar[Preprocessing] = BGR
    output_names: ClassVar[tuple[str, ...]] = ("cls", "bbox", "obj", "kps")

    def __init__(self, path: str | Path) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise InputError(
                "model=yunet_onnx needs ONNX Runtime: pip install 'secateur[export]'"
            ) from error
        if not Path(path).is_file():
            raise InputError(f"{path} is no file; give the path of the ONNX file of YuNet")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = torch.get_num_threads()
        # A session sets this anew for the thread that opens it, which may have chosen already:
        # https://github.com/microsoft/onnxruntime/issues/17011
        as_zero = str(int(are_denormals_zero()))
        options.add_session_config_entry("session.set_denormal_as_zero", as_zero)
        try:
            self.session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime raises many kinds
            raise InputError(f"{path} is no ONNX file that can be run; fetch it again") from error
        wanted = [f"{kind}_{s}" for kind in self.output_names for s in STRIDES]
        missing = {*wanted} - {output.name for output in self.session.get_outputs()}
        if missing:
            raise InputError(
                f"{path} is not YuNet: it has no output {sorted(missing)[0]}; "
                "give yunet_n or yunet_s of libfacedetection.train"
            )
        self._input = self.session.get_inputs()[0].name
        self._outputs = wanted

    def __call__(self, images: Tensor) -> tuple[Tensor, ...]:
        """Detect.

        Args:
            images: (B, 3, H, W), BGR in 0..255, of sides that 32 divides.

        Returns:
            Class probabilities (B, P, 1), boxes (B, P, 4), objectness (B, P, 1) and landmarks
            (B, P, 10), boxes and landmarks relative to the cell.
        """
        raw: list[Any] = self.session.run(self._outputs, {self._input: images.cpu().numpy()})
        levels = len(STRIDES)
        return tuple(
            torch.from_numpy(np.concatenate(raw[start : start + levels], axis=1)).to(images.device)
            for start in range(0, len(raw), levels)
        )

    def losses(
        self, outputs: Sequence[Tensor], size: tuple[int, int], faces: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        """An ONNX file cannot be trained.

        Raises:
            InputError: Always.
        """
        raise InputError(
            "an ONNX file cannot be trained: take model=yunet_n or model=yunet_s with weights= of "
            "libfacedetection.train"
        )

    def scores(self, outputs: Sequence[Tensor]) -> Tensor:
        """Scores (B, P) as OpenCV computes them."""
        classes, objectness = outputs[0][..., 0].clamp(0, 1), outputs[2][..., 0].clamp(0, 1)
        return (classes * objectness).sqrt()

    def decode(self, outputs: Sequence[Tensor], chosen: Tensor, size: tuple[int, int]) -> Tensor:
        """Corners and landmarks (B, K, 14) in fractions of the input."""
        return decode_faces(outputs[1], outputs[3], chosen, size)


def count_parameters_of(path: str | Path) -> int | None:
    """Floating-point values in an ONNX file; None without the package that reads it."""
    try:
        import onnx
    except ImportError:
        return None
    tensors = onnx.load(str(path)).graph.initializer
    weights = [tensor for tensor in tensors if tensor.data_type == onnx.TensorProto.FLOAT]
    return sum(int(np.prod(tensor.dims)) for tensor in weights)
