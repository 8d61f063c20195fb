from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from secateur.deploy.description import beside, write_beside
from secateur.deploy.exported import ExportedDetector, ExportedFaces, open_exported
from secateur.deploy.folding import fold
from secateur.deploy.onnx import export_onnx
from secateur.deploy.parity import check_parity, compare_outputs, match_faces
from secateur.deploy.pixels import BoxesFromPixels, preprocess
from secateur.deploy.sessions import open_session
from secateur.detectors.eresfd import EResFD
from secateur.errors import InputError
from secateur.workflows.deploy.describing import describe
from secateur.workflows.loading import LoadedNetwork
from tests.deploy.conftest import randomized

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def loaded() -> LoadedNetwork:
    architecture = {"name": "eresfd", "arguments": {"anchor_ratio": 1.25}}
    return LoadedNetwork(
        "eresfd", "detection", randomized(EResFD(anchor_ratio=1.25)), architecture, {"kind": "run"}
    )


@pytest.fixture(scope="module")
def exported(loaded: LoadedNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that takes pixels and gives faces: all that an export can hold."""
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    description = describe(loaded, "onnx", inside=True, limits={"score_threshold": 0.011})
    assert description.anchors is not None
    network = BoxesFromPixels(fold(loaded.network), description.pixels, description.anchors)
    export_onnx(network.eval(), path, description)
    write_beside(path, description)
    return path


def test_file_agrees_with_pytorch_in_a_fresh_process(
    loaded: LoadedNetwork, exported: Path, picture: NDArray[np.uint8]
) -> None:
    description = open_exported(exported).description
    pictures = [picture, np.ascontiguousarray(picture[:64, :96])]
    parity = check_parity(loaded.network, description, exported, pictures)
    assert parity.agrees
    assert parity.faces is not None
    assert parity.faces[0] == parity.faces[1] > 0
    assert parity.box_difference < 1e-2


def test_batch_gives_what_its_pictures_give_alone(
    exported: Path, picture: NDArray[np.uint8]
) -> None:
    network = open_exported(exported)
    assert isinstance(network, ExportedFaces)
    batch = torch.from_numpy(np.stack([picture, picture[::-1]]))
    together = network.detect(batch)
    alone = [network.detect(one[None])[0] for one in batch]
    for first, second in zip(together, alone, strict=True):
        assert first.shape == second.shape
        assert torch.allclose(first, second, atol=1e-5)


def test_an_input_that_a_file_does_not_take_is_refused_in_a_sentence(exported: Path) -> None:
    with pytest.raises(
        InputError, match=r"model.onnx cannot take an input of 2x3 .*export it again"
    ):
        open_session(exported).run(np.zeros((2, 3), np.uint8))


def test_file_holds_no_path_of_the_machine_that_wrote_it(exported: Path) -> None:
    content = exported.read_bytes()
    assert b"site-packages" not in content
    assert str(Path.cwd()).encode() not in content


def test_session_is_opened_once_and_anew_for_a_new_file(exported: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(exported.read_bytes())
    assert open_session(copy) is open_session(copy)
    before = open_session(copy)
    copy.write_bytes(exported.read_bytes())
    copy.touch()
    assert open_session(copy) is not before


def test_damaged_file_somebody_elses_and_a_json_that_does_not_fit_are_refused(
    exported: Path, tmp_path: Path, reference: Path
) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(exported.read_bytes()[:1000])
    with pytest.raises(InputError, match="no ONNX file that can be run"):
        open_exported(broken)
    with pytest.raises(InputError, match=r"was not written by export\.py"):
        open_exported(next((reference / "weights" / "peers").glob("*.onnx")))
    moved = tmp_path / "moved.onnx"
    moved.write_bytes(exported.read_bytes())
    description = open_exported(exported).description
    write_beside(moved, dataclasses.replace(description, name="another"))
    with pytest.raises(InputError, match="name is 'another' in the JSON and 'eresfd' in the file"):
        open_exported(moved)
    beside(moved).unlink()
    assert open_exported(moved).description == description
    with pytest.raises(InputError, match="no exported network"):
        open_exported(tmp_path / "model.safetensors")


def test_a_file_whose_weights_were_damaged_is_refused_without_its_json(
    exported: Path, tmp_path: Path
) -> None:
    content = bytearray(exported.read_bytes())
    content[len(content) // 2] ^= 0xFF
    damaged = tmp_path / "model.onnx"
    damaged.write_bytes(content)
    with pytest.raises(InputError, match=r"model.onnx was damaged, or changed .*copy it again"):
        open_exported(damaged)


def test_a_change_of_one_s_own_is_accepted_as_the_refusal_says(
    exported: Path, tmp_path: Path
) -> None:
    changed = tmp_path / "model.onnx"
    model = onnx.load(str(exported))
    model.doc_string = "simplified by another program"
    onnx.save(model, str(changed))
    with pytest.raises(InputError, match=r"python -m (\S+) (\S+)$") as refusal:
        open_exported(changed)
    command = str(refusal.value).partition("python -m ")[2].split()
    subprocess.run([sys.executable, "-m", *command], check=True)
    assert open_exported(changed).description == open_exported(exported).description


def test_onnx_runtime_prints_nothing_of_its_own_about_a_damaged_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model.onnx").write_bytes(b"\x0a\x9e nothing")
    with pytest.raises(InputError, match="no ONNX file that can be run"):
        open_exported(tmp_path / "model.onnx")
    assert capfd.readouterr() == ("", "")


def test_raw_outputs_are_decoded_like_those_of_the_network(
    loaded: LoadedNetwork, picture: NDArray[np.uint8], tmp_path: Path
) -> None:
    description = describe(loaded, "onnx")
    network = loaded.network
    outputs = network(preprocess(picture, description.pixels))
    stand_in = ExportedDetector(
        tmp_path / "model.onnx", description, lambda _: [o.detach().numpy() for o in outputs]
    )
    chosen = torch.arange(5)[None]
    size = (picture.shape[0], picture.shape[1])
    assert torch.equal(
        stand_in.decode(outputs, chosen, size),
        network.decode(outputs, chosen, size),  # type: ignore[operator]
    )
    assert stand_in.preprocessing == network.preprocessing


def test_differences_are_seen() -> None:
    one, other = [[np.zeros((1, 4))]], [[np.full((1, 4), 0.5)]]
    assert compare_outputs(one, other) == (0.5,)
    assert compare_outputs(one, [[np.zeros((1, 5))]]) == (float("inf"),)
    faces = np.array([[10, 10, 20, 20, 0.9], [40, 40, 50, 50, 0.0501]], np.float32)
    assert match_faces(faces, faces[:1], 0.05) == (0.0, 0.0, True)  # at the threshold
    assert match_faces(faces, faces + np.array([1, 0, 0, 0, 0], np.float32), 0.05)[2] is False
    assert match_faces(faces[:1], faces[:0], 0.05)[2] is False


def test_an_even_decision_of_suppression_is_no_difference() -> None:
    ours = np.array([[0, 0, 10, 10, 0.9], [40, 40, 50, 50, 0.8]], np.float32)
    theirs = ours.copy()
    theirs[0] = [2, 0, 12, 10, 0.9004]  # the other of two boxes of nearly one score
    assert match_faces(ours, theirs, 0.05, 0.3) == (0.0, 0.0, True)
    theirs[0, 4] = 0.95
    assert match_faces(ours, theirs, 0.05, 0.3)[2] is False
    at_the_limit = np.array([[0, 5, 10, 15, 0.5]], np.float32)  # 50 of 150 shared
    assert match_faces(ours, np.concatenate([ours, at_the_limit]), 0.05, 1 / 3)[2] is True
    assert match_faces(ours, np.concatenate([ours, at_the_limit]), 0.05, 0.4)[2] is False
