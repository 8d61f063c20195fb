"""What ends a training."""

from __future__ import annotations

import pytest
from hydra import compose, initialize_config_dir

from secateur.workflows.command_line.arguments import CONF
from secateur.workflows.train.command import next_steps


def lines(*overrides: str) -> list[str]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return [line.strip() for line in next_steps(compose("train", overrides)).splitlines()]


def test_a_detector_of_drawn_faces_is_shown_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SECATEUR_COMMAND", raising=False)
    assert lines("paths.data=data") == [
        "python detect.py run=latest source=data/demo_faces/WIDER_val/images",
        "python export.py run=latest format=onnx",
        "python compare.py outputs/",
    ]


def test_a_recognizer_embeds_and_a_given_folder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECATEUR_COMMAND", "train")
    found = lines("model=squeezenet", "output_dir='my runs/first'")
    assert found[0] == "secateur embed 'run=my runs/first' source=FOLDER"
    assert found[1] == "secateur export 'run=my runs/first' format=onnx"
