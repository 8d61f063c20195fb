"""Weights: every published file is read and recognised; bad files end in one sentence."""

from __future__ import annotations

import json
import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from secateur.detectors.eresfd import EResFD, Topology
from secateur.detectors.extd import EXTD
from secateur.errors import InputError
from secateur.weights.detector_weights import (
    fingerprint,
    fold_aliases,
    identify,
    load_weights,
    read_weights,
)
from secateur.weights.known import KNOWN


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return EResFD().state_dict()


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        assert torch.equal(tensor, expected[name]), name


def write_release(folder: Path, state: dict[str, Tensor]) -> Path:
    """The five files of the official release."""
    folder.mkdir()
    for part in ("base", "act_loc", "act_conf", "loc", "conf"):
        tensors = {
            name.removeprefix(f"{part}."): tensor
            for name, tensor in state.items()
            if name.startswith(f"{part}.")
        }
        torch.save(tensors, folder / f"eresfd_16.pth.{part}.pth")
    return folder


def with_aliases(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The doubled names of the B-FPGM code."""
    second: dict[str, Tensor] = {}
    for name, tensor in state.items():
        for stage in range(1, 6):
            name = name.replace(f"base.m0.b2_{stage}.", f"base.m0.layer{stage}.")
        for level in range(6):
            name = name.replace(f"base.m0.FEM_{level}.", f"base.m0.layer{level + 7}.")
            name = name.replace(f"loc.{level}.", f"loc{level}.")
            name = name.replace(f"conf.{level}.", f"conf{level}.")
        second[name.replace("base.m0.fpn.", "base.m0.layer6.")] = tensor
    return state | second


@pytest.mark.parametrize("wrap", ["plain", "weight", "state_dict"])
@pytest.mark.parametrize("suffix", [".pth", ".pt"])
def test_pickled_files(tmp_path: Path, state: dict[str, Tensor], wrap: str, suffix: str) -> None:
    path = tmp_path / f"some{suffix}"
    torch.save(state if wrap == "plain" else {"epoch": 300, wrap: OrderedDict(state)}, path)
    assert_equal(read_weights(path), state)


def test_safetensors_file(tmp_path: Path, state: dict[str, Tensor]) -> None:
    save_file(state, tmp_path / "some.safetensors")
    assert_equal(read_weights(str(tmp_path / "some.safetensors")), state)


@pytest.mark.parametrize(
    "name", ["", "eresfd_16.pth.base.pth", "eresfd_16.pth.act_loc.pth", "eresfd_16.pth.conf.pth"]
)
def test_official_release(tmp_path: Path, state: dict[str, Tensor], name: str) -> None:
    folder = write_release(tmp_path / "release", state)
    assert_equal(read_weights(folder / name), state)


def test_official_release_with_a_missing_part(tmp_path: Path, state: dict[str, Tensor]) -> None:
    folder = write_release(tmp_path / "release", state)
    (folder / "eresfd_16.pth.loc.pth").unlink()
    with pytest.raises(InputError, match=r"eresfd_16\.pth\.loc\.pth is no file"):
        read_weights(folder)


def test_folder_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a folder with no sets of the files"):
        read_weights(tmp_path)


def test_own_eresfd_is_identified_by_its_names(state: dict[str, Tensor]) -> None:
    found = identify(state)
    assert found is not None
    assert (found.model, found.arguments) == (
        "eresfd",
        {"topology": "standard", "anchor_ratio": 1.0},
    )


def test_doubled_names_mean_the_bfpgm_topology(state: dict[str, Tensor]) -> None:
    doubled = with_aliases(state)
    assert len(doubled) == 920
    assert_equal(fold_aliases(doubled), state)
    found = identify(doubled)
    assert found is not None
    assert found.arguments["topology"] == "bfpgm"
    network = EResFD("bfpgm")
    load_weights(network, doubled, source="doubled")
    assert_equal(network.state_dict(), state)


def test_doubled_names_that_disagree_are_refused(state: dict[str, Tensor]) -> None:
    doubled = with_aliases(state)
    doubled["base.m0.layer6.w1"] = doubled["base.m0.fpn.w1"] + 1
    with pytest.raises(InputError, match=r"base\.m0\.fpn\.w1 and base\.m0\.layer6\.w1"):
        identify(doubled)


@pytest.mark.parametrize("width", [64, 48, 32])
def test_extd_is_identified_by_its_shapes(width: int) -> None:
    found = identify(EXTD(width).state_dict())  # type: ignore[arg-type]
    assert found is not None
    assert (found.model, found.arguments) == ("extd", {"width": width})


def test_other_networks_are_not_identified() -> None:
    assert identify(nn.Linear(2, 2).state_dict()) is None


def test_another_model_is_refused_by_its_first_tensors() -> None:
    with pytest.raises(InputError) as error:
        load_weights(EXTD(48), EXTD(64).state_dict(), source="some.pth")
    sentence = str(error.value)
    assert sentence.startswith(
        "some.pth does not fit EXTD: base.1.conv.3.weight should be (48, 64, 1, 1) and is "
        "(64, 64, 1, 1), base.1.conv.4.weight should be (48,) and is (64,)"
    )
    assert "extd with width=64" in sentence
    assert "\n" not in sentence


def test_missing_and_left_over_tensors_are_refused(state: dict[str, Tensor]) -> None:
    network = EResFD()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    incomplete = dict(state)
    del incomplete["loc.5.bias"]
    incomplete["loc.6.bias"] = torch.zeros(4)
    with pytest.raises(InputError, match=r"loc\.5\.bias should be \(4,\) and is absent, loc\.6"):
        load_weights(network, incomplete, source="some.pth")
    assert_equal(network.state_dict(), before)


class Evil:
    """Asks for a command to be run when it is read."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


@pytest.mark.parametrize("plain", [True, False])
def test_a_pickle_that_runs_code_is_refused_unrun(tmp_path: Path, plain: bool) -> None:
    trace = tmp_path / "trace"
    path = tmp_path / "evil.pth"
    payload = {"base.conv1.0.weight": Evil(f"touch {trace}")}
    if plain:
        path.write_bytes(pickle.dumps(payload, protocol=2))
    else:
        torch.save(payload, path)
    with pytest.raises(InputError, match=r"evil\.pth asks to run \w+\.system while it is read"):
        read_weights(path)
    assert not trace.exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04", bytes(range(256)) * 9])
def test_damaged_files_are_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"some{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"some\.\w+ is no intact"):
        read_weights(path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_cut_files_are_refused(tmp_path: Path, state: dict[str, Tensor], suffix: str) -> None:
    path = tmp_path / f"some{suffix}"
    if suffix == ".pth":
        torch.save(state, path)
    else:
        save_file(state, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=r"some\.\w+ is no intact"):
        read_weights(path)


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, torch.zeros(3), {"weight": {"a": 1}}])
def test_files_without_a_state_dict_are_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "some.pth")
    with pytest.raises(InputError, match=r"some\.pth holds no state dict"):
        read_weights(tmp_path / "some.pth")


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.pth is no file"):
        read_weights(tmp_path / "absent.pth")


def test_every_published_file_is_recognised_and_loads(reference: Path) -> None:
    files = json.loads((reference / "weights/manifest.json").read_text())
    assert len(files) == 35
    met = set()
    for name in files:
        tensors = read_weights(reference / f"weights/{name}.safetensors")
        found = identify(tensors)
        assert found is not None
        met.add(fingerprint(fold_aliases(tensors)))
        assert found is KNOWN[fingerprint(fold_aliases(tensors))]
        repository, model, *_ = name.split("_")
        expected: dict[str, Any]
        if model.startswith("extd"):
            expected = {"width": int(name.split("_")[2]) if repository == "clovaai" else 64}
        else:
            expected = {
                "topology": "bfpgm" if repository == "bfpgm" else "standard",
                "anchor_ratio": 1.25 if repository == "clovaai" else 1.0,
            }
        assert found.arguments == expected
        assert ("non-commercial" in found.licence) == (repository != "clovaai")
        network = {"eresfd": EResFD, "extd": EXTD}[found.model](**expected)
        load_weights(network, tensors, source=name)
    assert met == {key for key, known in KNOWN.items() if known.model in ("eresfd", "extd")}


@pytest.mark.parametrize("topology", ["standard", "bfpgm"])
def test_checkpoint_of_a_run_loads_and_leaves_the_topology_to_its_architecture(
    topology: Topology,
) -> None:
    source, network = EResFD(topology=topology), EResFD(topology=topology)
    state = {f"network.{name}": tensor for name, tensor in source.state_dict().items()}
    found = identify(state)
    assert found is not None
    assert (found.model, found.arguments) == ("eresfd", {})
    assert found.origin == "checkpoint of a run"
    load_weights(network, state, "last.ckpt")
    assert torch.equal(
        network.state_dict()["base.conv1.0.weight"], state["network.base.conv1.0.weight"]
    )
