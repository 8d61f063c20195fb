"""The slim networks under ``experiments/networks`` are those that the tables speak of."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from secateur.pruning.artifact import load_slim, read_about
from secateur.weights.architectures import BUILDERS
from secateur.workflows.evaluate.faces import evaluate

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "experiments" / "networks"
PARAMETERS = {
    "eresfd_30": 63_700,
    "eresfd_50": 48_328,
    "eresfd_coupled_50": 33_776,
    "eresfd_macs_50": 63_030,
    "yunet_n_50k": 49_844,
    "yunet_s_35k": 35_120,
    "yunet_s_44k": 44_288,
}
PRECISION = {
    "eresfd_30": (0.861, 0.886, 0.794),
    "eresfd_50": (0.786, 0.835, 0.746),
    "eresfd_coupled_50": (0.753, 0.782, 0.706),
    "eresfd_macs_50": (0.776, 0.810, 0.726),
    "yunet_n_50k": (0.872, 0.892, 0.812),
    "yunet_s_35k": (0.861, 0.864, 0.785),
    "yunet_s_44k": (0.881, 0.890, 0.806),
}


def test_every_folder_is_known() -> None:
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(PARAMETERS)


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_network_has_the_size_and_the_hash_of_its_row(name: str) -> None:
    network = load_slim(FOLDER / name, BUILDERS)
    assert sum(p.numel() for p in network.parameters()) == PARAMETERS[name]
    digest = hashlib.sha256((FOLDER / name / "model.safetensors").read_bytes()).hexdigest()
    tables = (ROOT / "experiments" / "README.md").read_text(encoding="utf-8")
    assert digest[:16] in re.findall(r"`([0-9a-f]{16})\.\.\.`", tables)


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_network_tells_its_license_and_the_figures_of_its_row(name: str) -> None:
    about = read_about(FOLDER / name)
    assert about["licence"] == "Apache-2.0"
    assert about["origin"].startswith("started from ")
    assert about["params_slim"] == PARAMETERS[name]
    assert tuple(about[f"ap_{size}"] for size in ("easy", "medium", "hard")) == PRECISION[name]


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize("page", ["docs/results.md", "experiments/README.md"])
def test_every_table_says_the_same_of_a_network(page: str, name: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| \**`(?:networks/)?{name}`.*$", text, re.MULTILINE)
    size, figures = f"{PARAMETERS[name]:,}", [f"{value:.3f}" for value in PRECISION[name]]
    assert re.findall(r"\d+,\d{3}|0\.\d{3}", row) == [size, *figures]


@pytest.mark.slow
@pytest.mark.parametrize("name", PARAMETERS)
def test_a_network_has_the_precision_of_its_row(name: str, reference: Path, tmp_path: Path) -> None:
    root = reference / "data" / "widerface_plus"
    overrides = [f"run={FOLDER / name}", "data=widerface", f"data.root={root}", "trainer=cpu"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("evaluate", [*overrides, f"output_dir={tmp_path}"])
    evaluate(config)
    settings = json.loads((tmp_path / "evaluation.json").read_text())["settings"]
    # another processor rounds scores another way, and three decimals of many are the same
    for setting, expected in zip(("easy", "medium", "hard"), PRECISION[name], strict=True):
        assert settings[setting]["ap"] == pytest.approx(expected, abs=0.01)
