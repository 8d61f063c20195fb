from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from secateur.errors import InputError
from secateur.pruning.artifact import (
    is_slim,
    load_slim,
    read_about,
    record_about,
    save_slim,
    save_verified_slim,
    trace_input,
)
from secateur.recognizers.mobilefacenet import MobileFaceNet
from secateur.slimming.graph.network_graph import trace
from secateur.slimming.slim import slim
from tests.pruning.networks import Grouped, Plain, Shared, Unused, mask, settle_statistics

IMAGES = torch.randn(1, 3, 12, 12, generator=torch.Generator().manual_seed(1))
BUILDERS = {"plain": Plain, "shared": Shared, "grouped": Grouped, "unused": Unused}


def slimmed_plain(folder: Path) -> nn.Module:
    model = settle_statistics(Plain(padding=0))
    mask(model.first, [1, 4])  # their constants become a new bias
    result = slim(model, IMAGES).model
    save_slim(folder, result, {"name": "plain", "arguments": {"padding": 0}})
    return result


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_round_trip(name: str, tmp_path: Path) -> None:
    model = settle_statistics(BUILDERS[name]())
    mask(model.expand if name == "shared" else next(model.children()), [0, 5])
    result = slim(model, IMAGES).model
    save_slim(tmp_path, result, {"name": name, "arguments": {}})
    loaded = load_slim(tmp_path, BUILDERS)
    torch.testing.assert_close(loaded(IMAGES), result(IMAGES), rtol=0, atol=0)
    assert repr(loaded) == repr(result)
    assert not loaded.training


def test_a_fresh_process_rebuilds_the_network(tmp_path: Path) -> None:
    result = slimmed_plain(tmp_path)
    save_file({"images": IMAGES, "expected": result(IMAGES).detach()}, tmp_path / "proof")
    code = (
        "import sys, torch; from safetensors.torch import load_file; from networks import Plain;"
        "from secateur.pruning.artifact import load_slim; folder = sys.argv[1];"
        "proof = load_file(folder + '/proof'); m = load_slim(folder, {'plain': Plain});"
        "torch.testing.assert_close(m(proof['images']), proof['expected'], rtol=0, atol=0)"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], check=True, cwd=Path(__file__).parent
    )


def test_it_is_recognised_by_folder_and_by_file(tmp_path: Path) -> None:
    assert not is_slim(tmp_path)
    slimmed_plain(tmp_path)
    assert is_slim(tmp_path)
    assert is_slim(tmp_path / "model.safetensors")
    assert is_slim(tmp_path / "model.json")
    assert not is_slim(tmp_path / "other.pth")


def test_no_partial_files_are_left(tmp_path: Path) -> None:
    slimmed_plain(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.safetensors"]


def test_damage_is_told(tmp_path: Path) -> None:
    slimmed_plain(tmp_path)
    weights, specification = tmp_path / "model.safetensors", tmp_path / "model.json"
    text, content = specification.read_text(), weights.read_bytes()

    weights.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"copy both"):
        load_slim(tmp_path, BUILDERS)
    weights.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        load_slim(tmp_path, BUILDERS)
    weights.write_bytes(content)
    specification.write_text(text[:50])
    with pytest.raises(InputError, match="is not valid JSON"):
        load_slim(tmp_path, BUILDERS)
    for key, value, message in (
        ("format", "other", "does not describe"),
        ("version", 99, "use the program that wrote it"),
        ("groups", {"first": -1}, "incomplete"),
        ("identities", ["no.such.module"], "does not fit"),
        ("architecture", {"name": "os.system", "arguments": {}}, "known ones are grouped"),
        ("architecture", {"name": "plain", "arguments": {"width": 3}}, "does not fit"),
        ("architecture", {"name": "shared", "arguments": {}}, "does not fit"),
    ):
        specification.write_text(json.dumps(json.loads(text) | {key: value}))
        with pytest.raises(InputError, match=message):
            load_slim(tmp_path, BUILDERS)


def test_what_is_known_about_a_network_travels_along(tmp_path: Path) -> None:
    result = slimmed_plain(tmp_path)
    assert read_about(tmp_path) == {}
    record_about(tmp_path, {"licence": "Apache-2.0", "ap_hard": 0.5})
    record_about(tmp_path, {"licence": "MIT", "seed": None})
    assert read_about(tmp_path) == {"licence": "MIT", "seed": None}
    loaded = load_slim(tmp_path, BUILDERS)
    torch.testing.assert_close(loaded(IMAGES), result(IMAGES), rtol=0, atol=0)
    with pytest.raises(ValueError, match="takes texts, numbers, truth values and None"):
        record_about(tmp_path, {"figures": {"ap_hard": 0.5}})
    specification = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps({**specification, "about": {"a": [1]}}))
    with pytest.raises(InputError, match="is incomplete"):
        read_about(tmp_path)


def test_tied_tensors_are_stored_once(tmp_path: Path) -> None:
    def build() -> nn.Module:
        model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1))
        model[2].weight = model[1].weight
        return model

    model = build()
    save_slim(tmp_path, model, {"name": "tied", "arguments": {}})
    assert "2.weight" not in load_file(tmp_path / "model.safetensors")
    loaded = load_slim(tmp_path, {"tied": build})
    assert loaded[2].weight is loaded[1].weight
    torch.testing.assert_close(loaded(IMAGES), model(IMAGES))


def test_a_saved_slim_network_has_the_aligned_sizes_that_were_asked_for(tmp_path: Path) -> None:
    model = settle_statistics(Plain())
    mask(model.first, [1, 4, 6], model.norm)
    architecture = {"name": "plain", "arguments": {"padding": 1}}
    example = torch.zeros(1, 3, 12, 12)
    proved = save_verified_slim(
        tmp_path, model, architecture, {"plain": Plain}, example, [(example,)], align=4
    )
    assert proved.network.first.out_channels == 8


def test_a_graph_at_hand_is_taken_over(tmp_path: Path) -> None:
    model = settle_statistics(Plain())
    example = torch.zeros(1, 3, 12, 12)
    traced = trace(model, trace_input(example))
    mask(model.first, [1, 4, 6], model.norm)
    architecture = {"name": "plain", "arguments": {"padding": 1}}
    calls = (tmp_path, model, architecture, {"plain": Plain}, example, [(example,)])
    alone = save_verified_slim(*calls)
    with patch("secateur.slimming.slim.trace", side_effect=AssertionError):
        proved = save_verified_slim(*calls, traced=traced)
    assert repr(proved.network) == repr(alone.network)


def test_a_depthwise_layer_may_keep_one_channel(tmp_path: Path) -> None:
    def build() -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(3, 4, 1, bias=False), nn.Conv2d(4, 4, 3, groups=4, bias=False),
            nn.Conv2d(4, 2, 1),
        )  # fmt: skip

    model = build().eval()
    mask(model[0], [0, 1, 3])
    small = slim(model, IMAGES).model
    save_slim(tmp_path, small, {"name": "depthwise", "arguments": {}})
    loaded = load_slim(tmp_path, {"depthwise": build})
    torch.testing.assert_close(loaded(IMAGES), small(IMAGES), rtol=0, atol=0)


def test_lists_are_arguments_and_impossible_sizes_are_refused(tmp_path: Path) -> None:
    network = MobileFaceNet(scale=1, embedding_size=16, blocks=(1, 1, 1)).eval()
    arguments = {"scale": 1, "embedding_size": 16, "blocks": [1, 1, 1]}
    save_slim(tmp_path, network, {"name": "mobilefacenet", "arguments": arguments})
    known = {"mobilefacenet": MobileFaceNet}
    load_slim(tmp_path, known)
    path = tmp_path / "model.json"
    good = json.loads(path.read_text())
    for wrong in ({"scale": 60_000}, {"blocks": [10**6]}, {"scale": -1}, {"scale": "a"}, {"x": 1}):
        good["architecture"]["arguments"] = {**arguments, **wrong}
        path.write_text(json.dumps(good))
        with pytest.raises(InputError, match=r"model\.json"):
            load_slim(tmp_path, known)
