"""Sessions of ONNX Runtime, opened once per file and number of threads."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateur.errors import InputError
from secateur.runtime.denormals import denormals_as_zero

Array = NDArray[Any]

_REMEDY = "pip install 'secateur[export]'"


class OnnxSession:
    """An ONNX file in ONNX Runtime, on the processor.

    Args:
        path: The file.
        threads: Threads of one operator.

    Raises:
        InputError: If ONNX Runtime is not installed, or the file is no ONNX file that it can run.
    """

    def __init__(self, path: Path, threads: int) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise InputError(f"{path} needs ONNX Runtime: {_REMEDY}") from error
        if not path.is_file():
            raise InputError(f"{path} is no file; give the path of an ONNX file")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        # a thread that waits for the next picture by spinning takes a core from decoding
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Weight decay leaves denormal numbers, which cost many times more than others.
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        try:
            # Opening a session changes the setting of the thread that opens it, for good.
            with denormals_as_zero():
                self._session = onnxruntime.InferenceSession(
                    str(path),
                    options,
                    providers=["CPUExecutionProvider"],
                    enable_fallback=0,  # which would print what is said here, and try again
                )
        except Exception as error:  # ONNX Runtime raises many kinds
            first = str(error).splitlines()[0]
            raise InputError(
                f"{path} is no ONNX file that can be run ({first}): export it again"
            ) from error
        self.path = path
        self.input = str(self._session.get_inputs()[0].name)
        self.outputs = [str(output.name) for output in self._session.get_outputs()]
        self.metadata = dict(self._session.get_modelmeta().custom_metadata_map)

    def run(self, images: Array, outputs: Sequence[str] | None = None) -> list[Array]:
        """Outputs of a batch.

        Args:
            images: What the network takes; copied only where it is not contiguous.
            outputs: Names of the outputs to compute; None for all.

        Raises:
            InputError: If the network cannot take them.
        """
        names = None if outputs is None else list(outputs)
        try:
            with denormals_as_zero():  # the calling thread computes too
                found = self._session.run(names, {self.input: np.ascontiguousarray(images)})
        except Exception as error:  # ONNX Runtime raises many kinds
            size = "x".join(map(str, images.shape))
            reason = " ".join(str(error).split())
            raise InputError(
                f"{self.path} cannot take an input of {size} ({reason}): give pictures of the size "
                "that its JSON names, or export it again"
            ) from error
        return list(found)


def open_session(path: str | Path, threads: int = 1) -> OnnxSession:
    """The session of a file; the same one for the same file, as long as the file is the same.

    Args:
        path: ONNX file.
        threads: Threads of one operator.
    """
    resolved = Path(path).resolve()
    changed = resolved.stat().st_mtime_ns if resolved.is_file() else 0
    return _cached_session(resolved, threads, changed)


@lru_cache(maxsize=8)
def _cached_session(path: Path, threads: int, changed: int) -> OnnxSession:
    """Keyed by the time of change too, so that a file written anew is read anew."""
    return OnnxSession(path, threads)
