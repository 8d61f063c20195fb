"""Artifact: a slim network on disk, rebuilt without running anything that the files hold.

``model.safetensors`` holds the tensors, ``model.json`` the name and constructor arguments of the
dense architecture and what slimming changed in it. Names are looked up in a table that the caller
gives; no code, class path or attribute name is taken from a file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from safetensors.torch import save
from torch import Tensor, nn

from secateur.described_network import Builders, are_arguments, build_described, find_builder
from secateur.errors import InputError
from secateur.files import atomic_write
from secateur.readers import MEBI, read_bytes, read_json
from secateur.schema import check_version
from secateur.slimming.equivalence import TOLERANCE, Probe, compare, compare_in_double, outputs
from secateur.slimming.graph.network_graph import NetworkGraph
from secateur.slimming.kept_norms import normalized_over_kept
from secateur.slimming.scattered_conv import scatter_zero_filters
from secateur.slimming.slim import slim
from secateur.slimming.slim_description import (
    describe,
    is_description,
    resize,
    tensors_of,
)
from secateur.tensor_files import parse_safetensors, refuse_not_finite

FORMAT = "secateur-slim"

VERSION = 1

WEIGHTS = "model.safetensors"

SPECIFICATION = "model.json"

_REMEDY = "copy the folder of the run again, or slim the network again"
_LARGEST = 4096 * MEBI


def save_slim(folder: str | Path, model: nn.Module, architecture: Mapping[str, Any]) -> None:
    """Write a slim network; both files appear whole or not at all, the JSON last.

    Args:
        folder: Folder to write to; created if needed.
        model: A network that ``slim`` returned, or an untouched one.
        architecture: ``name`` and ``arguments`` (plain JSON values) that build the dense network.

    Raises:
        ValueError: If ``architecture`` is not made of those.
    """
    if set(architecture) != {"name", "arguments"}:
        raise ValueError(f"architecture needs name and arguments, got {sorted(architecture)}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    weights = save({n: t.detach().cpu().contiguous() for n, t in tensors_of(model).items()})
    specification = {
        "format": FORMAT,
        "version": VERSION,
        "architecture": dict(architecture),
        "sha256": hashlib.sha256(weights).hexdigest(),
        **describe(model),
    }
    text = json.dumps(specification, indent=2, allow_nan=False)
    atomic_write(folder / WEIGHTS, weights)
    atomic_write(folder / SPECIFICATION, text.encode())


def record_about(folder: str | Path, about: Mapping[str, Any]) -> None:
    """Write what is known about a slim network into its description, so that it travels along.

    Args:
        folder: Folder that ``save_slim`` wrote.
        about: Flat: texts, numbers, truth values or None by name; it takes the place of what was
            there.

    Raises:
        InputError: If the description is missing or damaged.
        ValueError: If ``about`` is something else.
    """
    if not _is_flat(dict(about)):
        raise ValueError("about= takes texts, numbers, truth values and None by name")
    path = _folder(folder) / SPECIFICATION
    specification = {**_read_specification(path), "about": dict(about)}
    atomic_write(path, json.dumps(specification, indent=2, allow_nan=False).encode())


def read_about(folder: str | Path) -> dict[str, Any]:
    """What ``record_about`` wrote; empty if nothing.

    Raises:
        InputError: If the description is missing or damaged.
    """
    return dict(_read_specification(_folder(folder) / SPECIFICATION)["about"])


def load_slim(folder: str | Path, builders: Builders) -> nn.Module:
    """Rebuild a slim network, in evaluation mode.

    Args:
        folder: Folder that ``save_slim`` wrote, or one of its two files.
        builders: Architecture name -> what builds the dense network from its arguments.

    Raises:
        InputError: If files are missing, damaged, of another kind or of an unknown architecture.
    """
    folder = _folder(folder)
    specification = _read_specification(folder / SPECIFICATION)
    weights = read_bytes(folder / WEIGHTS, _REMEDY, _LARGEST)
    if hashlib.sha256(weights).hexdigest() != specification["sha256"]:
        raise InputError(
            f"{folder / WEIGHTS} is not the file that {SPECIFICATION} beside it describes; "
            "copy both from the run folder again"
        )
    tensors, _ = parse_safetensors(weights, folder / WEIGHTS, _REMEDY)
    refuse_not_finite(tensors, folder / WEIGHTS, _REMEDY)
    architecture = specification["architecture"]
    builder = find_builder(builders, architecture["name"], folder / SPECIFICATION)
    try:
        model = build_described(builder, architecture["arguments"])
        resize(model, specification, tensors)
    except (TypeError, ValueError, AttributeError, KeyError, IndexError, RuntimeError) as error:
        raise InputError(f"{folder / SPECIFICATION} does not fit its architecture: {error}") from (
            error
        )
    return model.eval()


def is_slim(path: str | Path) -> bool:
    """Whether a path is a folder that ``save_slim`` wrote, or one of its two files."""
    try:
        _read_specification(_folder(path) / SPECIFICATION)
    except InputError:
        return False
    return Path(path).is_dir() or Path(path).name in (WEIGHTS, SPECIFICATION)


def read_slim_architecture(folder: str | Path) -> dict[str, Any]:
    """Name and arguments that build the dense network of a slim one.

    Args:
        folder: As of ``load_slim``.

    Raises:
        InputError: If the description is missing or damaged.
    """
    architecture = _read_specification(_folder(folder) / SPECIFICATION)["architecture"]
    return {"name": architecture["name"], "arguments": architecture["arguments"]}


def _folder(path: str | Path) -> Path:
    path = Path(path)
    return path.parent if path.name in (WEIGHTS, SPECIFICATION) else path


def _read_specification(path: Path) -> dict[str, Any]:
    specification = read_json(path, _REMEDY, 16 * MEBI)
    if not isinstance(specification, dict) or specification.get("format") != FORMAT:
        raise InputError(f"{path} does not describe a slim network")
    check_version(specification, VERSION, str(path), "use the program that wrote it")
    architecture = specification.get("architecture")
    fits = (
        isinstance(architecture, dict)
        and isinstance(architecture.get("name"), str)
        and are_arguments(architecture.get("arguments"))
        and isinstance(specification.get("sha256"), str)
        and _is_flat(specification.setdefault("about", {}))
        and is_description(specification)
    )
    if not fits:
        raise InputError(f"{path} is incomplete; write the slim network again")
    return specification


def _is_flat(about: object) -> bool:
    return isinstance(about, dict) and all(
        isinstance(name, str) and (value is None or isinstance(value, str | bool | int | float))
        for name, value in about.items()
    )


PICTURES = 4  # real pictures on which the slim network is compared with the masked one

TRACE_SIZE = 128  # pixels; dependencies between channels are the same at every size


def trace_input(example: Tensor) -> Tensor:
    """The part of an example picture (1, 3, H, W) on which a network is traced."""
    return example[..., :TRACE_SIZE, :TRACE_SIZE]


class ProvedSlim(NamedTuple):
    """A slim network as a fresh process rebuilds it.

    Args:
        network: The network, in evaluation mode.
        difference: Largest absolute difference of its outputs from those of the masked network.
        renormalized: Layer norms and group norms whose statistics run over fewer channels than in
            the masked network; if there are any, the difference is from the masked network with
            norms like that.
    """

    network: nn.Module
    difference: float
    renormalized: tuple[str, ...] = ()


def save_verified_slim(
    folder: Path,
    masked: nn.Module,
    architecture: Mapping[str, Any],
    builders: Builders,
    example: Tensor,
    inputs: Iterable[Sequence[Any]],
    *,
    scatter: bool = False,
    align: int = 1,
    equal: bool = True,
    traced: NetworkGraph | None = None,
) -> ProvedSlim:
    """Slim a network, save it, load it again and prove that it computes what the masked one does.

    Args:
        folder: Where ``model.safetensors`` and ``model.json`` go.
        masked: Network in evaluation mode on the CPU; its zeros say what is to be removed.
        architecture: ``name`` and ``arguments`` that build the dense network.
        builders: Architecture name -> what builds it.
        example: (1, 3, H, W) of the training size; the network is traced on a part of it.
        inputs: Real inputs, positional arguments of the forward.
        scatter: Whether convolutions leave out zero filters that have to stay, where that is
            measured to be faster on the example.
        align: Numbers of filters become multiples of this, or stay whole.
        equal: False lets layer norms and group norms lose channels, see ``slim``.
        traced: Operator graph of the network for `trace_input` of the example, if it is at hand.

    Raises:
        RuntimeError: If the two networks differ.
    """
    small, report = slim(masked, (trace_input(example),), align=align, equal=equal, traced=traced)
    if scatter:
        small = scatter_zero_filters(small, example).model
    save_slim(folder, small, architecture)
    slimmed = load_slim(folder, builders)
    exact = masked
    if report.renormalized:
        exact = normalized_over_kept(masked, slimmed, report.renormalized)
    calls = [tuple(arguments) for arguments in inputs]
    difference = compare(slimmed, (Probe(call, outputs(exact, call)) for call in calls))
    # Outputs far above 1, as of a network that barely trained, carry rounding of their size.
    if (
        min(difference.absolute, difference.relative) > TOLERANCE
        and compare_in_double(exact, slimmed, calls).relative > TOLERANCE
    ):
        raise RuntimeError(
            f"the slim network differs from the masked one by {difference.absolute:.2g} on real "
            f"pictures, more than {TOLERANCE}: this is a defect of slimming, please report it"
        )
    return ProvedSlim(slimmed, difference.absolute, tuple(report.renormalized))
