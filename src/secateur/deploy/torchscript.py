"""TorchScript, and the file for the lite interpreter of existing Android apps."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from secateur.deploy.description import KEY, Description
from secateur.deploy.onnx import example_input
from secateur.deploy.sessions import Array
from secateur.errors import InputError
from secateur.files import replacing

_ENTRY = f"{KEY}.json"


def export_torchscript(network: nn.Module, path: Path, description: Description) -> None:
    """Write a network as TorchScript: ``.torchscript``, or ``.ptl`` for the lite interpreter.

    Args:
        network: In evaluation mode; what ``fold`` gives.
        path: The file; written whole or not at all.
        description: What it says about itself, as the extra file ``secateur.json``.
    """
    with warnings.catch_warnings(), torch.no_grad(), replacing(path) as temporary:
        warnings.simplefilter("ignore")  # torch calls its whole TorchScript deprecated
        # traced with sizes that stay open: shapes are computed by the graph
        traced: Any = torch.jit.trace(  # type: ignore[no-untyped-call]
            network, example_input(description.pixels), check_trace=False
        )
        frozen = torch.jit.freeze(traced.eval())
        extra = {_ENTRY: description.text()}
        if path.suffix == ".ptl":
            frozen._save_for_lite_interpreter(str(temporary), _extra_files=extra)
        else:
            torch.jit.save(frozen, str(temporary), _extra_files=extra)


def open_torchscript(path: Path) -> tuple[str | None, Callable[[Array], Sequence[Array]]]:
    """What a TorchScript file says about itself, and how it is run.

    Args:
        path: ``.torchscript`` or ``.ptl``.

    Raises:
        InputError: If it is no such file.
    """
    extra: dict[str, str | bytes] = {_ENTRY: ""}
    try:
        with zipfile.ZipFile(path) as archive:  # torch reads damaged weights without a word
            damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"{damaged} in it is damaged")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if path.suffix == ".ptl":
                from torch.jit.mobile import _load_for_lite_interpreter

                network: Any = _load_for_lite_interpreter(str(path))  # type: ignore[no-untyped-call]
                extra[_ENTRY] = torch._C.PyTorchFileReader(str(path)).get_record(f"extra/{_ENTRY}")
            else:
                network = torch.jit.load(  # type: ignore[no-untyped-call]
                    str(path), map_location="cpu", _extra_files=extra
                )
    except (RuntimeError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise InputError(
            f"{path} is no intact TorchScript file ({str(error).splitlines()[0]}): export it again"
        ) from error

    def run(images: Array) -> list[Array]:
        with torch.no_grad():
            found = network(torch.from_numpy(images))
        return [output.numpy() for output in (found if isinstance(found, tuple) else (found,))]

    text = extra[_ENTRY]
    return (text.decode() if isinstance(text, bytes) else text) or None, run
