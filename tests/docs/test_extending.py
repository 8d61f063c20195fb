"""docs/extending.md, followed to the letter: its files are written to an empty folder and used."""

import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

from secateur.detectors.detection import batch_losses, detect
from secateur.pruning import prune
from secateur.pruning.criteria import check_criterion

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
ROOT = PAGE.parents[1]
FILE = re.compile(r'^```(?:python|yaml) title="([^"]+)"\n(.*?)^```$', re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of the page and some pictures, from which mine/ can be imported."""
    folder = tmp_path_factory.mktemp("project")
    for name, text in FILE.findall(PAGE.read_text(encoding="utf-8")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for split in ("train", "val"):
        pictures = folder / "faces" / f"WIDER_{split}" / "images" / "party"
        pictures.mkdir(parents=True)
        lines = []
        for number in range(4):
            pixels = np.random.default_rng(number).integers(0, 255, (96, 128, 3), np.uint8)
            cv2.imwrite(str(pictures / f"{number}.jpg"), pixels)
            lines.append(f"party/{number}.jpg 10 12 40 50")
        (folder / "faces" / f"{split}.txt").write_text("\n".join(lines))
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


def test_every_yaml_names_what_its_python_file_holds(project: Path) -> None:
    from hydra.utils import get_object

    for path in (project / "conf").rglob("*.yaml"):
        addresses = re.findall(r"(?:_target_|criterion): (mine\.\S+)", path.read_text())
        assert [get_object(address) for address in addresses] or path.parent.name == "nothing"
        assert path.read_text().startswith("# ")
        assert yaml.safe_load(path.read_text())


def test_the_criterion_prunes(project: Path) -> None:
    from mine.scores import largest_weight

    network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Conv2d(8, 2, 1))
    slimmed, _ = prune(network, torch.randn(1, 3, 16, 16), largest_weight, 0.5, exclude=["1"])
    assert slimmed[0].out_channels == 4
    check_criterion("mine.scores.largest_weight")


def test_the_detector_learns_detects_and_is_slimmed(project: Path) -> None:
    from mine.tiny import HEADS, Tiny

    network = Tiny()
    images, faces = torch.randn(2, 3, 96, 130), [torch.tensor([[0.1, 0.2, 0.5, 0.6]])] * 2
    sum(batch_losses(network, images, faces).values()).backward()
    assert network.stem[0].weight.grad.abs().sum() > 0
    rows = detect(network.eval(), images, score_threshold=0.0)
    assert len(rows) == 2
    assert rows[0].shape[1] == 5
    slimmed, _ = prune(network, images, "l1", 0.5, exclude=list(HEADS))
    assert slimmed.stem[0].out_channels == 8


def test_the_data_set_gives_pictures_with_boxes(project: Path) -> None:
    from mine.my_faces import MyFaces

    data = MyFaces(project / "faces", input_size=64, official_lists=False, num_workers=0)
    data.prepare_data()
    data.setup("fit")
    assert len(data.training_pictures()) == 4
    assert data.validation_pictures()[0].faces.tolist() == [[10, 12, 40, 50]]


@pytest.mark.slow
def test_all_of_it_trains_together(project: Path) -> None:
    command = [
        sys.executable, str(ROOT / "train.py"), "model=tiny", "pruning=largest_weight",
        "data=my_faces", f"data.root={project / 'faces'}", "callbacks=mask_counter",
        "debug=fast", "trainer=cpu", f"output_dir={project / 'run'}",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": f"{project}:{ROOT / 'src'}:{ROOT}"}
    subprocess.run(command, check=True, cwd=project, env=environment)
    assert (project / "run" / "model.safetensors").is_file()
    assert (project / "run" / "zero_filters.txt").read_text().splitlines()[-1].split()[1] != "0"
