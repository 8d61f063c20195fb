"""Export a network to a file for devices, and prove that the file computes the same."""

from __future__ import annotations

import dataclasses
import logging
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from torch import nn

from secateur.deploy.description import Description, beside, write_beside
from secateur.deploy.executorch import export_executorch
from secateur.deploy.onnx import describe_onnx, export_onnx
from secateur.deploy.parity import (
    BOX_TOLERANCE,
    SCORE_TOLERANCE,
    TOLERANCE,
    Parity,
    check_fresh_process,
    check_parity,
)
from secateur.deploy.quantization import Quantization, quantize
from secateur.deploy.torchscript import export_torchscript
from secateur.errors import InputError
from secateur.files import replacing, write_json
from secateur.reports import tables
from secateur.reports.model_card import write_model_card
from secateur.workflows.deploy.calibration import Calibration, find_calibration
from secateur.workflows.deploy.describing import describe, exportable, torch_network
from secateur.workflows.deploy.output_folder import output_folder, writable
from secateur.workflows.deploy.sample_pictures import sample_pictures
from secateur.workflows.loading import LoadedNetwork, network_of
from secateur.workflows.model_cards import FORMATS, card_of_export
from secateur.workflows.run_records import read_config

log = logging.getLogger(__name__)

SUFFIXES = {"onnx": ".onnx", "executorch": ".pte", "torchscript": ".torchscript", "lite": ".ptl"}
_NEEDED = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "executorch": ("executorch",)}
_THROUGH = {
    "openvino": ("onnx", "run ovc on it, from the package openvino"),
    "litert": ("onnx", "run onnx2tf on it, from the package of that name"),
    "tflite": ("onnx", "run onnx2tf on it, from the package of that name"),
    "tensorrt": ("onnx", "run trtexec on it, which comes with TensorRT"),
    "coreml": ("torchscript", "give it to coremltools.convert, from the package coremltools"),
}
"""Formats that others convert to: what from, and how."""


def export(config: DictConfig) -> Path:
    """Export the network of the configuration.

    Args:
        config: Composed ``conf/export.yaml``.

    Returns:
        The exported file; its description, parity report and model card lie beside it.

    Raises:
        InputError: If the network, the format or the pictures are of no use, or the file does not
            compute what PyTorch computes.
    """
    _check(config)
    loaded = network_of(config)
    network = torch_network(loaded)
    limits = cast("dict[str, Any]", OmegaConf.to_container(config.limits))
    description = describe(
        loaded, str(config.format), inside=bool(config.postprocess), limits=limits
    )
    path = _file(config, loaded)
    with writable(path.parent):
        description, parity = _exported(config, loaded, network, description, path)
        write_beside(path, description)
        write_json(path.with_name(f"{path.name}.parity.json"), parity)
        made_by = read_config(loaded.run) if loaded.run is not None else None
        card = card_of_export(description, path, made_by, parity)
        write_model_card(path.with_name(f"{path.name}.MODEL_CARD.md"), card)
    log.info("%s", _agreement(parity, eight_bits=description.quantization == "int8"))
    size = f"{path.stat().st_size / 1024:,.0f} KiB"
    log.info("%s (%s), described by %s", path, size, beside(path).name)
    return path


def _exported(
    config: DictConfig,
    loaded: LoadedNetwork,
    network: nn.Module,
    description: Description,
    path: Path,
) -> tuple[Description, Parity]:
    """Write the file if it computes what PyTorch does; returns what it says, and how near it is.

    Raises:
        InputError: If it does not, or eight bits cost too much.
    """
    quantized = str(config.quantize) == "int8"
    calibration = find_calibration(config, loaded, description) if quantized else None
    pictures = sample_pictures(config, loaded)
    with tempfile.TemporaryDirectory() as folder, replacing(path) as temporary:
        single = Path(folder) / f"single{path.suffix}" if quantized else temporary
        write_file(exportable(loaded, description), single, description)
        parity = check_parity(network, description, single, pictures)
        if not parity.agrees:
            raise InputError(_disagreement(path, parity))
        if calibration is not None:
            description = _write_int8(config, loaded, description, single, temporary, calibration)
            check_fresh_process(description, temporary, pictures)
    return description, parity


def _write_int8(
    config: DictConfig,
    loaded: LoadedNetwork,
    description: Description,
    single: Path,
    target: Path,
    found: Calibration,
) -> Description:
    """Write the int8 form of a file and say what it costs; returns what it says about itself.

    Raises:
        InputError: If it costs too much.
    """
    options = config.calibration
    description = dataclasses.replace(description, quantization="int8")
    log.info("%s", found.about)
    if description.format == "executorch":
        # the delegate decides by itself what it computes with eight bits
        export_executorch(exportable(loaded, description), target, description, found.inputs)
        of_int8 = found.judge(target)
        result = Quantization(
            found.figure, found.judge(single), of_int8, {"histogram": of_int8}, "histogram"
        )
    else:
        result = quantize(
            single,
            target,
            found.inputs,
            found.judge,
            figure=found.figure,
            tolerance=float(options.tolerance),
            methods=[str(method) for method in options.methods],
        )
    report = {**dataclasses.asdict(result), "cost": result.cost, "about": found.about}
    log.info(
        "int8 by %s: %s %.4f in place of %.4f, %s in float%s",
        result.method,
        result.figure,
        result.of_int8,
        result.of_float,
        tables.counted(len(result.in_float), "layer"),
        f" ({', '.join(result.in_float)})" if result.in_float else "",
    )
    if result.cost > float(options.largest_cost):
        raise InputError(
            f"int8 costs {result.cost:.4f} of {result.figure} (allowed: "
            f"{float(options.largest_cost):g}): export with quantize=none, or allow more with "
            "calibration.largest_cost"
        )
    description = dataclasses.replace(
        description, figures={**description.figures, "quantization_report": report}
    )
    if description.format == "onnx":
        describe_onnx(target, description)
    return description


def write_file(network: nn.Module, path: Path, description: Description) -> None:
    """Write a network in the format that its description names."""
    writers = {"onnx": export_onnx, "executorch": export_executorch}
    writers.get(description.format, export_torchscript)(network, path, description)


def _check(config: DictConfig) -> None:
    """Refuse what cannot be exported before anything is loaded."""
    kind = str(config.format)
    if kind in _THROUGH:
        start, how = _THROUGH[kind]
        raise InputError(
            f"format={kind} is reached through {FORMATS[start]}: export with format={start} and "
            f"{how}"
        )
    if kind not in SUFFIXES:
        known = ", ".join([*SUFFIXES, *_THROUGH])
        raise InputError(f"format={kind} does not exist; choose from {known}")
    needed = [name for name in _NEEDED.get(kind, ()) if find_spec(name) is None]
    if needed:
        extra = "mobile" if kind == "executorch" else "export"
        raise InputError(
            f"format={kind} needs {' and '.join(needed)}, which this environment has not: "
            f"pip install 'secateur[{extra}]'"
        )
    if str(config.quantize) not in ("none", "int8"):
        raise InputError(
            f"quantize={config.quantize} does not exist: choose none or int8; half precision is "
            "slower than single on processors (see benchmarks/), and for a GPU "
            "onnxruntime.transformers.float16 converts the ONNX file"
        )
    if str(config.quantize) == "int8" and kind not in ("onnx", "executorch"):
        raise InputError(
            f"quantize=int8 is there for format=onnx and format=executorch, not for {kind}: export "
            "with quantize=none"
        )
    if bool(config.postprocess) and kind != "onnx":
        raise InputError(
            f"postprocess=true is there for format=onnx, not for {kind}, whose runtimes have no "
            "non-maximum suppression: leave it out, and decode as examples/ does"
        )


def _file(config: DictConfig, loaded: LoadedNetwork) -> Path:
    """Path of the exported file."""
    faces = ".faces" if config.postprocess and loaded.task == "detection" else ""
    quantized = ".int8" if str(config.quantize) == "int8" else ""
    name = f"model{faces}{quantized}{SUFFIXES[str(config.format)]}"
    if loaded.run is not None and config.output_dir is None:
        return loaded.run / "export" / name
    return output_folder(config, f"export-{loaded.name}") / name


def _agreement(parity: Parity, *, eight_bits: bool) -> str:
    """One line for the terminal."""
    file = "the file" if not eight_bits else "before its layers got eight bits, the file"
    sizes = " and ".join(f"{width}x{height}" for height, width in dict.fromkeys(parity.sizes))
    worst = (
        f"outputs differ by {max(parity.outputs):.1g}" if parity.outputs else "outputs are faces"
    )
    faces = ""
    if parity.faces is not None:
        found = tables.counted(parity.faces[0], "face")
        faces = f", the same {found} within {parity.box_difference:.1g} pixels"
    pictures = tables.counted(parity.pictures, "picture")
    agrees = "agreed" if eight_bits else "agrees"
    return f"{file} {agrees} with PyTorch on {pictures} of {sizes}: {worst}{faces}"


def _disagreement(path: Path, parity: Parity) -> str:
    """One sentence on what differs."""
    faces = ""
    if parity.faces is not None:
        faces = (
            f", {parity.faces[1]} faces in place of {parity.faces[0]}, boxes by up to "
            f"{parity.box_difference:.3g} pixels (allowed: {BOX_TOLERANCE}) and scores by up to "
            f"{parity.score_difference:.3g} (allowed: {SCORE_TOLERANCE})"
        )
    worst = max(parity.outputs, default=0.0)
    return (
        f"{path.name} does not compute what PyTorch does: outputs differ by up to {worst:.3g} "
        f"(allowed: {TOLERANCE}){faces}; it was not kept, choose another format"
    )
