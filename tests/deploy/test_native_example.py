"""The example in C++: built here, and held against detect.py's faces on ten real pictures."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from secateur.data.images import read_image
from secateur.deploy.onnx import export_onnx
from secateur.deploy.parity import match_faces
from secateur.workflows.deploy.describing import describe, exportable
from secateur.workflows.load import load
from secateur.workflows.loading import load_network

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

SOURCE = Path(__file__).parents[2] / "examples" / "onnxruntime" / "cpp" / "detect.cpp"
# ONNX Runtime's release, and Debian's libonnxruntime-dev; the wheel for Python has no headers
HEADERS = [os.environ.get("ONNXRUNTIME_INCLUDE", ""), "/usr/include/onnxruntime"]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("g++") or shutil.which("clang++")
    headers = [p for p in HEADERS if p and (Path(p) / "onnxruntime_cxx_api.h").is_file()]
    if compiler is None or not headers:
        pytest.skip("needs a compiler and the headers of ONNX Runtime: set ONNXRUNTIME_INCLUDE")
    folder = Path(onnxruntime.__file__).parent / "capi"
    (library,) = folder.glob("libonnxruntime.so.*")
    target = tmp_path_factory.mktemp("native") / "detect"
    # the name that the library gives itself, under which the program will look for it
    (target.parent / "libonnxruntime.so.1").symlink_to(library)
    flags = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-isystem", headers[0]]
    linked = [str(library), f"-Wl,-rpath,{target.parent}"]
    subprocess.run([compiler, *flags, str(SOURCE), *linked, "-o", str(target)], check=True)
    return target


@pytest.mark.parametrize("name", ["clovaai_eresfd_16", "yunet/libfacedetection_yunet_n"])
def test_same_faces_on_ten_pictures(
    program: Path, name: str, reference: Path, tmp_path: Path
) -> None:
    loaded = load_network(reference / "weights" / f"{name}.safetensors")
    description = describe(loaded, "onnx")
    model = tmp_path / "model.onnx"
    export_onnx(exportable(loaded, description), model, description)
    validation = reference / "data" / "widerface_plus" / "WIDER_val" / "images"
    pictures = []
    for index, path in enumerate(sorted(validation.glob("*/*.jpg"))[::8][:10]):
        scaled = cv2.resize(read_image(path), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        pictures.append(np.ascontiguousarray(scaled))
        cv2.imwrite(str(tmp_path / f"{index}.ppm"), scaled[..., ::-1])
    files = [str(tmp_path / f"{index}.ppm") for index in range(len(pictures))]
    assert len(files) == 10
    result = subprocess.run(
        [str(program), str(model), *files], check=True, capture_output=True, text=True
    )
    detector = load(model, threads=1)
    parts = dict(zip(files, _by_file(result.stdout, files), strict=True))
    count = 0
    for file, picture in zip(files, pictures, strict=True):
        expected = detector(picture, min_score=0.5)
        assert len(expected) == len(parts[file])
        box, score, complete = match_faces(expected.rows(), parts[file], 0.5)
        assert complete
        assert box < 0.5
        assert score < 1e-3
        count += len(expected)
    assert count > 20


def test_a_file_of_somebody_else_is_refused(program: Path, reference: Path, tmp_path: Path) -> None:
    (tmp_path / "photo.ppm").write_bytes(b"P6 2 2 255\n" + bytes(12))
    other = next((reference / "weights" / "peers").glob("*.onnx"))
    result = subprocess.run(
        [str(program), str(other), str(tmp_path / "photo.ppm")],
        check=False,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2
    assert "was not written by export.py" in result.stderr


def _by_file(output: str, files: list[str]) -> list[np.ndarray]:
    """Faces (K, 5) of every file, as the program prints them below its name."""
    found: list[list[list[float]]] = []
    for line in output.splitlines():
        if line in files:
            found.append([])
        else:
            found[-1].append([float(number) for number in line.split()])
    return [np.array(rows, np.float32).reshape(-1, 5) for rows in found]
