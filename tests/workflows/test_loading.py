from __future__ import annotations

from pathlib import Path

import pytest
import torch

from secateur.deploy.parity import Parity
from secateur.detectors.yunet import YuNet
from secateur.pruning.artifact import record_about, save_slim
from secateur.reports.model_card import write_model_card
from secateur.workflows.deploy.describing import describe
from secateur.workflows.loading import figures_of, load_network, origin_of_start, run_name
from secateur.workflows.model_cards import card_of_export

FIXTURES = Path(__file__).parents[1] / "fixtures" / "first_house"


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("outputs/eresfd-l1-0.3/2026-01-02_03-04-05", "eresfd-l1-0.3"),
        ("outputs/mine", "mine"),
        ("outputs/multirun/train-rate-1a2b3c4d/7", "train-rate-1a2b3c4d-7"),
        ("outputs/mine/steps/03", "mine step 03"),
    ],
)
def test_a_run_is_called_after_what_made_it(folder: str, name: str, tmp_path: Path) -> None:
    assert run_name(tmp_path / folder) == name


def test_a_checkpoint_knows_the_run_that_it_is_of(tmp_path: Path) -> None:
    run = FIXTURES / "unfinished_run"
    loaded = load_network(run / "checkpoints" / "last.ckpt")
    assert (loaded.name, loaded.run, loaded.trained_in) == ("unfinished_run-last", None, run)
    assert loaded.about["origin"] == "trained from scratch"
    assert "licence" not in loaded.about
    assert not loaded.keeps_singles
    figures = figures_of(loaded)
    assert figures["data"] == "demo_faces"
    assert not any(key.startswith("ap_") for key in figures)  # those of the run are not its own
    (tmp_path / "model.onnx").touch()
    parity = Parity(1, ((64, 64),), (0.0,), (0, 0), 0.0, 0.0, agrees=True)
    card = card_of_export(describe(loaded, "onnx"), tmp_path / "model.onnx", None, parity)
    text = write_model_card(tmp_path / "card.md", card).read_text()
    assert "Trained on drawn faces" in text
    assert "Trained from scratch: Apache-2.0, as the project." in text


def test_a_slim_network_that_stands_alone_tells_what_it_was_told(tmp_path: Path) -> None:
    torch.manual_seed(0)
    architecture = {"name": "yunet", "arguments": {"width": 16, "early_width": 16}}
    save_slim(tmp_path, YuNet(16, 16), architecture)
    record_about(tmp_path, {"origin": "started from X", "licence": "MIT", "ap_hard": 0.5})
    loaded = load_network(tmp_path)
    assert (loaded.about["origin"], loaded.about["licence"]) == ("started from X", "MIT")
    assert figures_of(loaded)["ap_hard"] == 0.5
    description = describe(loaded, "onnx")
    assert description.provenance["licence"] == "MIT"
    assert description.figures["ap_hard"] == 0.5
    started = origin_of_start({"weights": str(tmp_path)})
    assert started == {"origin": f"started from {tmp_path.name}", "licence": "MIT"}


def test_the_result_of_a_run_was_trained_in_it() -> None:
    folders = [path.parent for path in FIXTURES.glob("*/model.safetensors")]
    runs = [folder for folder in folders if (folder / "config.yaml").is_file()]
    assert runs
    for run in runs:
        loaded = load_network(run)
        assert loaded.run == loaded.trained_in == run
