"""The plain-JVM part of the Android example, held against Python."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from secateur.deploy.description import AnchorLayout, PixelFormat, PointLayout
from secateur.deploy.parity import match_faces
from secateur.deploy.pixels import preprocess
from secateur.detectors.anchors import SIZES
from secateur.detectors.detection import Detector
from secateur.detectors.eresfd import EResFD
from secateur.detectors.postprocess import select_faces
from secateur.detectors.yunet import YuNet
from secateur.workflows.deploy.describing import anchor_layout
from tests.deploy.android_stubs import JAVA, KOTLIN

ROOT = Path(__file__).parents[2] / "examples" / "android"
SOURCES = ROOT / "app" / "src" / "main" / "java" / "org" / "secateur" / "faces"

DRIVER = """
import java.io.*;
import java.nio.*;
import java.nio.file.*;
import org.secateur.faces.*;

public class Driver {
    static ByteBuffer read(String path) throws IOException {
        return ByteBuffer.wrap(Files.readAllBytes(Paths.get(path))).order(ByteOrder.LITTLE_ENDIAN);
    }
    static float[] floats(String path) throws IOException {
        FloatBuffer buffer = read(path).asFloatBuffer();
        float[] values = new float[buffer.remaining()];
        buffer.get(values);
        return values;
    }
    public static void main(String[] a) throws IOException {
        int width = Integer.parseInt(a[1]), height = Integer.parseInt(a[2]);
        IntBuffer buffer = read(a[0] + "/argb").asIntBuffer();
        int[] argb = new int[buffer.remaining()];
        buffer.get(argb);
        Preprocessing preprocessing = new Preprocessing(a[3], floats(a[0] + "/mean"),
            floats(a[0] + "/scale"), Integer.parseInt(a[4]));
        float[] input = preprocessing.toInput(argb, width, height);
        ByteBuffer out = ByteBuffer.allocate(4 * input.length).order(ByteOrder.LITTLE_ENDIAN);
        out.asFloatBuffer().put(input);
        Files.write(Paths.get(a[0] + "/input"), out.array());
        float[] s = floats(a[0] + "/strides");
        int[] cells = new int[s.length];
        for (int i = 0; i < s.length; i++) cells[i] = (int) s[i];
        Suppression suppression = new Suppression(0.3f, 0.3f, 100, 20);
        FaceDecoder decoder = a[5].equals("anchors")
            ? new AnchorDecoder(cells, s, floats(a[0] + "/sizes"), 1.25f,
                new float[] {0.1f, 0.2f}, suppression)
            : new PointDecoder(cells, a[5].equals("root"), suppression);
        float[][] outputs = new float[Integer.parseInt(a[6])][];
        for (int i = 0; i < outputs.length; i++) outputs[i] = floats(a[0] + "/output" + i);
        for (Face face : decoder.decode(outputs,
                preprocessing.padded(height), preprocessing.padded(width))) {
            System.out.println(face.x1 + " " + face.y1 + " " + face.x2 + " " + face.y2 + " "
                + face.score);
        }
    }
}
"""


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("javac") is None or shutil.which("java") is None:
        pytest.skip("needs a Java development kit")
    folder = tmp_path_factory.mktemp("classes")
    (folder / "Driver.java").write_text(DRIVER)
    files = [*map(str, sorted(SOURCES.glob("*.java"))), str(folder / "Driver.java")]
    subprocess.run(["javac", "-Xlint:all", "-Werror", "-d", str(folder), *files], check=True)
    return folder


def run_driver(
    classes: Path, folder: Path, picture: np.ndarray, pixels: PixelFormat, kind: str, count: int
) -> np.ndarray:
    """Faces (K, 5) of what lies in a folder; the input of the network is left there."""
    rgb = picture.astype(np.uint32)
    argb = 0xFF000000 | rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]
    (folder / "argb").write_bytes(argb.astype("<u4").tobytes())
    write_floats(folder, mean=pixels.mean, scale=pixels.scale)
    height, width = picture.shape[:2]
    arguments = (folder, width, height, pixels.order, pixels.multiple, kind, count)
    result = subprocess.run(
        ["java", "-cp", str(classes), "Driver", *map(str, arguments)],
        check=True,
        capture_output=True,
        text=True,
    )
    return np.array([line.split() for line in result.stdout.splitlines()], np.float32)


def write_floats(folder: Path, **arrays: object) -> None:
    """Write arrays as files of little-endian floats."""
    for name, values in arrays.items():
        (folder / name).write_bytes(np.asarray(values, "<f4").tobytes())


def check_faces(
    network: Detector, outputs: list[torch.Tensor], size: tuple[int, int], found: np.ndarray
) -> None:
    """Hold faces (K, 5) in pixels against those that Python takes from the same outputs."""
    (rows,) = select_faces(
        network.scores(outputs),
        lambda chosen: network.decode(outputs, chosen, size),
        score_threshold=0.3,
        iou_threshold=0.3,
        max_candidates=100,
        max_faces=20,
    )
    expected = (rows[:, :5] * rows.new_tensor([size[1], size[0], size[1], size[0], 1])).numpy()
    assert len(found) == len(expected) == 20
    box, score, complete = match_faces(expected, found, 0.3)
    assert complete
    assert box < 1e-2
    assert score < 1e-5


@pytest.mark.parametrize(
    "pixels",
    [
        PixelFormat("float32", "rgb", (123.0, 117.0, 104.0)),
        PixelFormat("float32", "bgr", (1.0, 2.0, 3.0), (58.0, 57.0, 56.0), 32),
    ],
)
def test_input_and_faces_are_those_of_python(
    classes: Path, picture: np.ndarray, tmp_path: Path, pixels: PixelFormat
) -> None:
    expected_input = preprocess(picture, pixels)
    size = (expected_input.shape[2], expected_input.shape[3])
    network = EResFD(anchor_ratio=1.25)
    layout = anchor_layout(network)
    assert isinstance(layout, AnchorLayout)
    assert layout.cell_strides == layout.strides
    generator = torch.Generator().manual_seed(0)
    count = sum(-(-size[0] // cell) * -(-size[1] // cell) for cell in layout.cell_strides)
    outputs = [torch.randn(1, count, width_, generator=generator) for width_ in (4, 2)]
    write_floats(tmp_path, strides=layout.strides, sizes=SIZES)
    write_floats(tmp_path, output0=outputs[0].numpy(), output1=outputs[1].numpy())
    found = run_driver(classes, tmp_path, picture, pixels, "anchors", 2)
    given = np.fromfile(tmp_path / "input", "<f4").reshape(expected_input.shape)
    np.testing.assert_allclose(given, expected_input.numpy(), rtol=1e-5, atol=1e-5)
    check_faces(network, outputs, size, found)


@pytest.mark.parametrize("score", ["root", "product"])
def test_faces_of_points_are_those_of_python(
    classes: Path, picture: np.ndarray, tmp_path: Path, score: Literal["root", "product"]
) -> None:
    pixels = PixelFormat("float32", "bgr", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 32)
    size = tuple(-(-side // 32) * 32 for side in picture.shape[:2])
    network = YuNet(score=score)
    strides = PointLayout().strides
    generator = torch.Generator().manual_seed(0)
    count = sum((size[0] // stride) * (size[1] // stride) for stride in strides)
    outputs = [torch.randn(1, count, width, generator=generator) for width in (1, 4, 1, 10)]
    write_floats(tmp_path, strides=strides, sizes=())
    write_floats(tmp_path, **{f"output{i}": outputs[i].numpy() for i in range(3)})
    found = run_driver(classes, tmp_path, picture, pixels, score, 3)
    check_faces(network, outputs, (size[0], size[1]), found)


def test_kotlin_compiles_against_what_it_takes_from_others(tmp_path: Path) -> None:
    compiler = os.environ.get("KOTLINC") or shutil.which("kotlinc")
    if compiler is None or shutil.which("javac") is None:
        pytest.skip("needs a Kotlin compiler, such as that of the npm package: set KOTLINC")
    stubs, library, target = (tmp_path / name for name in ("stubs", "library", "classes"))
    for name, body in JAVA.items():
        package, _, kind = name.rpartition(".")
        path = stubs / package.replace(".", "/") / f"{kind}.java"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"package {package};\n{body}\n")
    for package, body in KOTLIN.items():
        (stubs / f"{package}.kt").write_text(f"package {package}\n{body}\n")
    java = [*map(str, stubs.rglob("*.java")), *map(str, SOURCES.glob("*.java"))]
    subprocess.run(["javac", "-d", str(library), *java], check=True)
    kotlin = ROOT / "app" / "src" / "main" / "kotlin" / "org" / "secateur" / "faces"
    for flags, files, output in (
        ([], stubs.glob("*.kt"), library),
        (["-Werror"], kotlin.glob("*.kt"), target),
    ):
        arguments = ["-jvm-target", "17", "-cp", str(library), "-d", str(output), *flags]
        result = subprocess.run(
            [compiler, *arguments, *map(str, files)], check=False, capture_output=True, text=True
        )
        assert result.returncode == 0, result.stderr
    compiled = {path.stem for path in (target / "org" / "secateur" / "faces").glob("*.class")}
    assert {"MainActivity", "Description", "OnnxDetector", "ExecutorchDetector"} <= compiled


def test_files_of_the_build_name_what_is_there() -> None:
    manifest = ElementTree.parse(ROOT / "app" / "src" / "main" / "AndroidManifest.xml").getroot()
    (activity,) = manifest.iter("activity")
    name = activity.get("{http://schemas.android.com/apk/res/android}name")
    kotlin = ROOT / "app" / "src" / "main" / "kotlin" / "org" / "secateur" / "faces"
    assert (kotlin / f"{str(name).removeprefix('.')}.kt").is_file()
    scripts = {path.name: path.read_text() for path in ROOT.rglob("*.gradle.kts")}
    assert set(scripts) == {"settings.gradle.kts", "build.gradle.kts"}
    module = (ROOT / "app" / "build.gradle.kts").read_text()
    assert 'include(":app")' in scripts["settings.gradle.kts"]
    plugins = set(re.findall(r'id\("([^"]+)"\)', module))
    assert plugins <= set(re.findall(r'id\("([^"]+)"\)', (ROOT / "build.gradle.kts").read_text()))
    package = re.search(r'namespace = "([^"]+)"', module)
    assert package is not None
    for source in [*SOURCES.glob("*.java"), *kotlin.glob("*.kt")]:
        assert source.read_text().split()[1].rstrip(";") == package.group(1)
