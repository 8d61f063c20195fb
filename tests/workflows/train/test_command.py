"""What ends a training."""

from __future__ import annotations

import pytest
from hydra import compose, initialize_config_dir

from secateur.workflows.command_line.arguments import CONF
from secateur.workflows.train.command import next_steps
from secateur.workflows.train.finalize import speed_hint


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


def summary(scope: str, slim: float, params: int = 5) -> dict[str, object]:
    times = {"latency_ms_dense": 10.0, "latency_ms_slim": slim}
    return {"scope": scope, "params_dense": 10, "params_slim": params, **times}


def test_a_slim_network_that_is_no_faster_is_told_what_would_be() -> None:
    hint = speed_hint(summary("independent", 10.3), align=1)
    assert hint is not None
    assert "103% of the dense time" in hint
    assert "pruning.scope=coupled pruning.align=8 removes" in hint
    assert "pruning.scope" not in str(speed_hint(summary("coupled", 10.3), align=1))
    assert speed_hint(summary("coupled", 10.3), align=8) is None
    assert speed_hint(summary("independent", 8.0), align=1) is None
    assert speed_hint(summary("independent", 10.0, params=10), align=1) is None
