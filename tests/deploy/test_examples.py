from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from secateur.deploy.description import parse, write_beside
from secateur.deploy.onnx import export_onnx
from secateur.deploy.parity import match_faces
from secateur.deploy.pixels import preprocess
from secateur.detectors.detection import detect
from secateur.detectors.eresfd import EResFD
from secateur.detectors.postprocess import select_faces
from secateur.detectors.yunet import YuNet
from secateur.workflows.deploy.describing import describe, exportable
from secateur.workflows.load import as_detector
from secateur.workflows.loading import LoadedNetwork, load_network
from tests.deploy.conftest import randomized

pytest.importorskip("onnxruntime")
# what an environment of these three packages holds, and nothing else
PLAIN = ("onnxruntime", "numpy", "numpy.libs", "PIL", "pillow.libs")
RUN = """
import importlib.util, runpy, sys
sys.path.insert(0, sys.argv[1])
for name in ("torch", "secateur", "cv2", "onnx", "google.protobuf"):
    try:
        assert importlib.util.find_spec(name) is None, name
    except ModuleNotFoundError:
        pass
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
EXAMPLE = Path(__file__).parents[2] / "examples" / "onnxruntime" / "detect.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("example_detect", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@torch.no_grad()
def test_example_gives_the_faces_of_the_project(example: ModuleType, picture: np.ndarray) -> None:
    network = randomized(EResFD(anchor_ratio=1.25))
    architecture = {"name": "eresfd", "arguments": {"anchor_ratio": 1.25}}
    loaded = LoadedNetwork("eresfd", "detection", network, architecture, {"kind": "run"})
    limits = {"score_threshold": 0.011, "max_faces": 50}
    description = describe(loaded, "onnx", limits=limits)
    values = json.loads(description.text())
    assert parse(description.text(), "it") == description
    image = preprocess(picture, description.pixels)
    assert np.allclose(example.preprocess(picture, values["pixels"]), image.numpy())
    outputs = network(image)
    size = (picture.shape[0], picture.shape[1])
    (rows,) = select_faces(
        network.scores(outputs),  # type: ignore[operator]
        lambda chosen: network.decode(outputs, chosen, size),  # type: ignore[operator]
        **limits,  # type: ignore[arg-type]
    )
    expected = rows.numpy() * [size[1], size[0], size[1], size[0], 1]
    found = example.decode([output.numpy() for output in outputs], values, *size)
    assert len(found) == len(expected) > 0
    assert match_faces(expected.astype(np.float32), found.astype(np.float32), 0.0)[2]


def yunet() -> LoadedNetwork:
    """A small detector without anchors."""
    torch.manual_seed(0)
    settings = {"width": 16, "early_width": 16}
    network = YuNet(16, 16).eval()
    architecture = {"name": "yunet", "arguments": settings}
    return LoadedNetwork("yunet", "detection", network, architecture, {"kind": "weights"})


@torch.no_grad()
def test_example_decodes_points_as_the_project_does(
    example: ModuleType, picture: np.ndarray
) -> None:
    loaded = yunet()
    limits = {"score_threshold": 0.3, "max_faces": 50}
    values = json.loads(describe(loaded, "onnx", limits=limits).text())
    images = torch.from_numpy(example.preprocess(picture, values["pixels"]))
    height, width = images.shape[2:]
    outputs = [output.numpy() for output in loaded.network(images)]  # type: ignore[operator]
    found = example.decode(outputs, values, height, width)
    (rows,) = detect(loaded.network, images, **limits)  # type: ignore[arg-type]
    expected = rows[:, :5].numpy() * [width, height, width, height, 1]
    assert len(found) == len(expected) > 0
    assert match_faces(expected.astype(np.float32), found.astype(np.float32), 0.0)[2]


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A folder of packages: ONNX Runtime, numpy and Pillow alone."""
    folder = tmp_path / "packages"
    folder.mkdir()
    for package in ("onnxruntime", "numpy", "PIL"):
        installed = importlib.util.find_spec(package)
        assert installed is not None
        assert installed.origin is not None
        around = Path(installed.origin).parents[1]
        for name in PLAIN:
            if (around / name).is_dir() and not (folder / name).exists():
                (folder / name).symlink_to(around / name)
    return folder


def printed(plain: Path, model: Path, *photos: Path) -> list[str]:
    """What the example prints in a Python that has nothing else."""
    command = [sys.executable, "-I", "-S", "-c", RUN, *map(str, (plain, EXAMPLE, model, *photos))]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def run_example(plain: Path, model: Path, photo: Path) -> np.ndarray:
    """Faces (K, 5) that the example prints."""
    rows = [[float(value) for value in line.split()] for line in printed(plain, model, photo)]
    return np.array(rows, np.float32).reshape(-1, 5)


@torch.no_grad()
def test_example_runs_without_torch_and_without_the_project(
    plain: Path, picture: np.ndarray, tmp_path: Path
) -> None:
    pytest.importorskip("onnxscript")
    loaded = yunet()
    description = describe(loaded, "onnx", limits={"score_threshold": 0.5, "max_faces": 50})
    model, photo = tmp_path / "model.onnx", tmp_path / "photo.png"
    export_onnx(exportable(loaded, description), model, description)
    Image.fromarray(picture).save(photo)
    faces = as_detector(loaded, backend="torch")(picture, min_score=0.5)
    expected = faces.rows()[:50]
    found = run_example(plain, model, photo)
    assert len(found) == len(expected) > 0
    assert np.abs(found - expected).max() < 0.06  # they are printed with one decimal place
    other = tmp_path / "other.png"
    Image.fromarray(picture[::-1]).save(other)
    lines = printed(plain, model, photo, other)
    assert lines[0] == str(photo)
    assert str(other) in lines[1:]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["clovaai_eresfd_16", "yunet/libfacedetection_yunet_n"])
def test_example_gives_the_boxes_of_detect_on_photographs(
    plain: Path, name: str, reference: Path, tmp_path: Path
) -> None:
    loaded = load_network(reference / "weights" / f"{name}.safetensors")
    description = describe(loaded, "onnx")
    model = tmp_path / "model.onnx"
    export_onnx(exportable(loaded, description), model, description)
    write_beside(model, description)
    detector = as_detector(load_network(model))
    validation = reference / "data" / "widerface_plus" / "WIDER_val" / "images"
    for path in sorted(validation.glob("*/*.jpg"))[::20]:
        photo = tmp_path / "photo.png"
        with Image.open(path) as opened:
            picture = opened.convert("RGB").reduce(2)
        picture.save(photo)
        faces = detector(np.asarray(picture), min_score=0.5)
        expected = faces.rows()
        found = run_example(plain, model, photo)
        assert match_faces(expected, found, 0.5)[2]
        assert len(found) == len(expected)
