"""YuNet, a peer to compare with, run from its ONNX file by ONNX Runtime.

Wu et al., "YuNet: A Tiny Millisecond-level Face Detector" (2023). It is given the interface of
our detectors, so that protocols and post-processing are the same for all.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from secateur.data.preprocessing import MEAN
from secateur.detectors.boxes import VARIANCE
from secateur.errors import InputError
from secateur.runtime.denormals import are_denormals_zero

STRIDES = (8, 16, 32)


class YuNet:
    """Locations and logits of pictures, as a detector of this project gives them.

    YuNet takes BGR in 0..255 with sides that 32 divides, and tells boxes relative to the corner
    of their cell: that is an anchor of one stride at this corner.

    Args:
        path: ONNX file of libfacedetection.train with dynamic sides.

    Raises:
        InputError: If ONNX Runtime is not installed, or the file is no such network.
    """

    def __init__(self, path: str | Path) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise InputError(
                "model=yunet needs ONNX Runtime: pip install 'secateur[export]'"
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
        wanted = [f"{kind}_{s}" for kind in ("cls", "obj", "bbox") for s in STRIDES]
        missing = {*wanted} - {output.name for output in self.session.get_outputs()}
        if missing:
            raise InputError(
                f"{path} is not YuNet: it has no output {sorted(missing)[0]}; "
                "give yunet_n or yunet_s of libfacedetection.train"
            )
        self._input = self.session.get_inputs()[0].name
        self._outputs = wanted

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Detect.

        Args:
            images: (B, 3, H, W), RGB minus the mean, of any size.

        Returns:
            Locations (B, N, 4) and logits (B, N, 2), in the order of ``anchors``.
        """
        height, width = images.shape[-2:]
        bgr = (images.cpu() + torch.tensor(MEAN)[:, None, None]).flip(1)
        bgr = functional.pad(bgr, (0, -width % STRIDES[-1], 0, -height % STRIDES[-1]))
        raw: list[Any] = self.session.run(self._outputs, {self._input: bgr.numpy()})
        parts = [torch.from_numpy(np.concatenate(raw[i : i + 3], axis=1)) for i in (0, 3, 6)]
        classes, objects, boxes = (part.to(images.device) for part in parts)
        score = (classes.clamp(0, 1) * objects.clamp(0, 1)).sqrt().double()
        face = torch.logit(score, eps=1e-12).float()
        logits = torch.cat([torch.zeros_like(face), face], dim=2)
        return boxes / boxes.new_tensor([*[VARIANCE[0]] * 2, *[VARIANCE[1]] * 2]), logits

    def anchors(self, height: int, width: int) -> Tensor:
        """Anchors (N, 4) of an input of that size: cx, cy, w, h in fractions of it."""
        return _cells(height, width)


@lru_cache(maxsize=16)
def _cells(height: int, width: int) -> Tensor:
    """One anchor per cell of the padded picture, its centre on the corner of the cell."""
    levels = []
    for stride in STRIDES:
        sides = (-(-side // STRIDES[-1]) * STRIDES[-1] // stride for side in (height, width))
        y, x = torch.meshgrid(*(torch.arange(side) for side in sides), indexing="ij")
        corners = torch.stack([x.flatten(), y.flatten()], dim=1)
        levels.append(torch.cat([corners, torch.ones_like(corners)], dim=1) * stride)
    return torch.cat(levels) / torch.tensor([width, height, width, height])


def count_parameters_of(path: str | Path) -> int | None:
    """Floating-point values in an ONNX file; None without the package that reads it."""
    try:
        import onnx
    except ImportError:
        return None
    tensors = onnx.load(str(path)).graph.initializer
    weights = [tensor for tensor in tensors if tensor.data_type == onnx.TensorProto.FLOAT]
    return sum(int(np.prod(tensor.dims)) for tensor in weights)
