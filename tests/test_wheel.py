"""The wheel: what it holds, and that it works in an empty folder beside a project of the user's."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    line = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(line, check=True, cwd=ROOT, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_brings_one_package_with_configuration_and_parts_of_the_page(
    wheel: Path,
) -> None:
    with zipfile.ZipFile(wheel) as opened:
        names = set(opened.namelist())
        about = next(name for name in names if name.endswith("entry_points.txt"))
        assert "secateur = secateur.workflows.cli:main" in opened.read(about).decode()
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"secateur", "hydra_plugins"}
    files = [path for path in (ROOT / "conf").rglob("*.yaml") if "local" not in path.parts]
    assert {f"secateur/conf/{path.relative_to(ROOT / 'conf')}" for path in files} <= names
    assert {"secateur/py.typed", "secateur/conf/experiment/published.csv"} <= names
    assert {f"secateur/reports/comparison/page.{kind}" for kind in ("html", "js", "css")} <= names
    assert {"secateur/callbacks/soft_pruning.py", "secateur/datamodules/demo_faces.py"} <= names


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The console script of a fresh environment, which takes all but secateur from this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    line = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps"]
    subprocess.run([*line, "--no-index", "--quiet", str(wheel)], check=True)
    (packages,) = (folder / "lib").glob("*/site-packages")
    # a path alone: the .pth files there, and with them an editable secateur, are not read
    (packages / "others.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "bin" / "secateur"


@pytest.mark.slow
def test_it_trains_detects_and_compares_in_a_folder_with_callbacks_of_its_own(
    installed: Path, tmp_path: Path
) -> None:
    (tmp_path / "callbacks").mkdir()
    (tmp_path / "callbacks" / "__init__.py").write_text("MINE = True\n")
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}

    def secateur(*arguments: str) -> str:
        line = [str(installed), *arguments]
        done = subprocess.run(
            line, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1500
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    python = installed.with_name("python")
    where = "import secateur, callbacks; print(secateur.__file__, callbacks.MINE)"
    found = subprocess.run(
        [python, "-c", where], cwd=tmp_path, env=environment, capture_output=True, text=True
    ).stdout
    assert str(installed.parents[1]) in found
    assert "True" in found
    assert "fine-tuned, slim" in secateur("train", "debug=fast", "trainer=cpu")
    pictures = "data/demo_faces/WIDER_val/images"
    secateur("detect", "run=latest", f"source={pictures}", "limit=2", "output_dir=found")
    assert list((tmp_path / "found").rglob("*.json"))
    assert "1 run" in secateur("compare", "outputs/", "references=published")
    assert list((tmp_path / "outputs").rglob("comparison.html"))
