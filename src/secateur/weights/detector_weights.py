"""Weights of detectors: read official, published and own files, identify and load them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from secateur.detectors.eresfd import Topology
from secateur.errors import InputError
from secateur.tensor_files import read_safetensors, read_torch, refuse_not_finite
from secateur.weights.known import KNOWN, Identity
from secateur.weights.strict_loading import load_strictly

_RELEASE_NAME = re.compile(r"(?P<stem>.+\.pth)\.(?:base|act_loc|act_conf|loc|conf)\.pth")

_RELEASE_PARTS = ("base", "loc", "conf")  # the files of the activations hold no tensors

_ALIAS = re.compile(r"base\.m0\.layer(?P<layer>\d+)\.|(?P<head>loc|conf)(?P<level>\d)\.")

_FINITE = "such a network computes nothing, so take an earlier checkpoint"

_YUNET = "bbox_head."
_OWN = "network."  # of the LightningModule around a network


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read tensors from a file, or from the five files of the official EResFD release.

    Nothing in a file is executed. Names stay as they are stored; ``identify`` and
    ``load_weights`` understand the doubled names of the B-FPGM files.

    Args:
        path: A ``.safetensors`` file; a ``.pth`` or ``.pt`` file with a state dict, alone or under
            ``weight`` or ``state_dict``; the folder of the official release or one of its files.

    Returns:
        Name to tensor, on the CPU.

    Raises:
        InputError: If there is no such file or it holds something else.
    """
    path = Path(path)
    stem = _release_stem(path)
    if stem is not None:
        return {
            f"{part}.{name}": tensor
            for part in _RELEASE_PARTS
            for name, tensor in _read_file(stem.with_name(f"{stem.name}.{part}.pth")).items()
        }
    return _read_file(path)


def identify(state: Mapping[str, Tensor]) -> Identity | None:
    """Tell what weights are: by their content if it is known, else by names and shapes.

    Args:
        state: What ``read_weights`` returned.

    Returns:
        The identity, or None if they belong to none of the detectors.

    Raises:
        InputError: If two names of one tensor disagree.
    """
    own = network_part(state)
    tensors = fold_aliases(own)
    known = KNOWN.get(fingerprint(tensors))
    if known is not None:
        return known
    found = _by_names(tensors, state, of_a_run=own is not state)
    if found is not None and own is not state:
        return replace(found, origin="checkpoint of a run", licence="licence of its data")
    return found


def _by_names(
    tensors: Mapping[str, Tensor], state: Mapping[str, Tensor], *, of_a_run: bool
) -> Identity | None:
    """What weights that nobody published are, by names and shapes of their tensors."""
    if "base.m0.fpn.w1" in tensors:
        if of_a_run:  # names of a run are the same for any topology
            return Identity("eresfd", {})
        # The B-FPGM code alone registers layers twice, so doubled names betray its topology.
        topology: Topology = "standard" if tensors.keys() == state.keys() else "bfpgm"
        return Identity("eresfd", {"topology": topology, "anchor_ratio": 1.0})
    if "upfeat.0.1.weight" in tensors:
        return Identity("extd", {"width": tensors["upfeat.0.1.weight"].shape[0]})
    if f"{_YUNET}multi_level_cls.0.conv1.weight" in tensors:
        return Identity("yunet", _yunet_arguments(tensors))
    return None


def _yunet_arguments(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """What builds the YuNet of these tensors."""
    return {
        "width": tensors["neck.lateral_convs.0.conv1.weight"].shape[0],
        "early_width": tensors["backbone.model1.conv2.conv1.weight"].shape[0],
        "head_units": f"{_YUNET}multi_level_share_convs.0.0.conv1.weight" in tensors,
        "landmarks": f"{_YUNET}multi_level_kps.0.conv1.weight" in tensors,
    }


def load_weights(network: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Copy weights into a network, all or none.

    Args:
        network: EResFD, EXTD or YuNet.
        state: What ``read_weights`` returned.
        source: What to call the weights in an error message.

    Raises:
        InputError: If a tensor is missing, left over or of another shape.
    """
    found = fold_aliases(network_part(state))

    def remedy() -> str:
        identity = identify(state)
        guess = f"looks like {identity}" if identity else "is neither EResFD, EXTD nor YuNet"
        return f"it {guess}, so choose the model that it belongs to, or other weights"

    load_strictly(network, found, source, remedy)


def network_part(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The network's tensors in a checkpoint of a run; any other state dict itself."""
    if not any(name.startswith(_OWN) for name in state):
        return state
    return {name.removeprefix(_OWN): t for name, t in state.items() if name.startswith(_OWN)}


def fold_aliases(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give every tensor the one name that the networks of this project use.

    Args:
        state: Tensors by canonical name, by a second name of the B-FPGM code, or by both.

    Returns:
        Canonical name to tensor.

    Raises:
        InputError: If two names of one tensor disagree.
    """
    tensors: dict[str, Tensor] = {}
    names: dict[str, str] = {}
    for name, tensor in state.items():
        canonical = _ALIAS.sub(_canonical_prefix, name, count=1) if _ALIAS.match(name) else name
        if canonical in tensors and not torch.equal(tensors[canonical], tensor):
            raise InputError(
                f"the weights hold two different versions of one tensor, {names[canonical]} and "
                f"{name}; save them again from one network"
            )
        tensors.setdefault(canonical, tensor)
        names.setdefault(canonical, name)
    return tensors


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of names and values of all floating-point tensors, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        if tensors[name].is_floating_point():
            digest.update(f"{name} {tuple(tensors[name].shape)} ".encode())
            digest.update(tensors[name].detach().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _read_file(path: Path) -> dict[str, Tensor]:
    """Tensors of one file."""
    if not path.is_file():
        raise InputError(f"{path} is no file; give the path of a weights file")
    if path.suffix == ".safetensors":
        tensors = read_safetensors(path, "fetch it again")[0]
        refuse_not_finite(tensors, path, _FINITE)
        return tensors
    content = read_torch(path, "fetch it again, or ask for a file with tensors alone")
    for key in ("weight", "state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    ):
        raise InputError(
            f"{path} holds no state dict; save network.state_dict() and name that file"
        )
    refuse_not_finite(content, path, _FINITE)
    return {name: tensor.detach() for name, tensor in content.items()}


def _release_stem(path: Path) -> Path | None:
    """Common path of the five files of the official release, or None if it is something else."""
    if not path.is_dir():
        parts = _RELEASE_NAME.fullmatch(path.name)
        return path.with_name(parts["stem"]) if parts else None
    stems = sorted(
        {m["stem"] for file in path.iterdir() if (m := _RELEASE_NAME.fullmatch(file.name))}
    )
    if len(stems) != 1:
        raise InputError(
            f"{path} is a folder with {len(stems) or 'no'} sets of the files *.pth.base.pth to "
            "*.pth.conf.pth of the official EResFD release; name a file in it"
        )
    return path / stems[0]


def _canonical_prefix(alias: re.Match[str]) -> str:
    """First part of the canonical name of a tensor that the B-FPGM code names otherwise."""
    if alias["head"]:
        return f"{alias['head']}.{alias['level']}."
    layer = int(alias["layer"])
    if layer == 6:
        return "base.m0.fpn."
    return f"base.m0.b2_{layer}." if layer < 6 else f"base.m0.FEM_{layer - 7}."
