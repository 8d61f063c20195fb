"""detect.py from a source to files, with a detector that answers at once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from PIL import Image
from torch import Tensor

from secateur.deploy.face_detector import FaceDetector
from secateur.errors import InputError
from secateur.workflows.deploy import detect as workflow

CONF = Path(__file__).parents[3] / "conf"

Run = Callable[..., Path]


def _find(images: Tensor, min_score: float = 0.0) -> list[Tensor]:
    """One face in the middle of every picture, and one that is hardly one."""
    rows = torch.tensor([[0.25, 0.25, 0.75, 0.75, 0.9], [0.0, 0.0, 0.2, 0.2, 0.2]])
    return [rows for _ in images]


def _preprocess(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs the command on a source."""
    detector = FaceDetector(_find, _preprocess, name="fake")
    monkeypatch.setattr(workflow, "network_of", lambda config: None)
    monkeypatch.setattr(workflow, "as_detector", lambda loaded, **options: detector)

    def call(source: object, *overrides: str) -> Path:
        options = [f"source='{source}'", "run=none", "progress=false", *overrides]
        if not any(option.startswith("output_dir") for option in overrides):
            options.append(f"output_dir={tmp_path / 'out'}")
        with initialize_config_dir(str(CONF), version_base=None):
            return workflow.detect(compose("detect", options))

    return call


def _record(folder: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((folder / "faces.json").read_text())
    return values


def test_every_frame_of_half_a_minute_is_answered(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "half_a_minute.mp4"
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, (64, 48))
    for number in range(30 * 25):
        video.write(np.full((48, 64, 3), number % 256, np.uint8))
    video.release()
    folder = run(path)
    record = _record(folder)
    assert [entry["picture"] for entry in record["pictures"]] == [f"{n:06d}" for n in range(750)]
    assert all(len(entry["faces"]) == 1 for entry in record["pictures"])
    assert record["pictures"][0]["faces"][0]["box"] == [16.0, 12.0, 48.0, 36.0]
    drawn = cv2.VideoCapture(str(folder / "faces.mp4"))
    assert int(drawn.get(cv2.CAP_PROP_FRAME_COUNT)) == 750
    assert drawn.get(cv2.CAP_PROP_FPS) == pytest.approx(25)
    output = capsys.readouterr().out
    words = " ".join(output.split())
    assert "frames 750 " in words
    assert "frames per second, everything" in words
    assert "frames per second of the video 25.0" in words


def test_what_cannot_be_read_is_told_and_the_rest_goes_on(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name in ("a.jpg", "c.png"):
        Image.new("RGB", (40, 30), "red").save(pictures / name)
    (pictures / "b.jpg").write_bytes(b"")
    whole = (pictures / "a.jpg").read_bytes()
    (pictures / "d.jpg").write_bytes(whole[: len(whole) // 2])
    with caplog.at_level("WARNING"):
        record = _record(run(pictures, "save_predictions=true"))
    assert [entry["picture"] for entry in record["pictures"]] == ["a.jpg", "c.png"]
    assert ["b.jpg" in fault or "d.jpg" in fault for fault in record["unreadable"]] == [True, True]
    assert [r.getMessage() for r in caplog.records] == record["unreadable"]
    assert (tmp_path / "out" / "pictures" / "c.png").is_file()
    assert (tmp_path / "out" / "predictions" / "a.txt").is_file()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{tmp}", "holds no picture"),
        ("{tmp}/broken.jpg", "no picture that can be read"),
        ("{tmp}/broken.mp4", "no video that can be read"),
        ("91", "no such camera"),
        ("https://example.org/a.jpg", "nothing is downloaded"),
    ],
)
def test_source_of_no_use_is_refused_in_a_sentence(
    run: Run, tmp_path: Path, source: str, message: str
) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    if "broken" in source:
        (folder / source.rpartition("/")[2]).write_bytes(b"")
    with pytest.raises(InputError, match=message):
        run(source.format(tmp=folder), f"output_dir={tmp_path / 'new' / 'out'}")
    assert not (tmp_path / "new").exists()


def test_a_picture_that_a_file_does_not_take_is_told_and_the_rest_goes_on(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(images: Tensor, min_score: float = 0.0) -> list[Tensor]:
        if images.shape[-1] > 40:
            raise InputError("the file cannot take it: say protocol=vga")
        return _find(images)

    monkeypatch.setattr(
        workflow, "as_detector", lambda *_, **options: FaceDetector(find, _preprocess)
    )
    (tmp_path / "set").mkdir()
    for name, width in (("a.png", 40), ("b.png", 80), ("c.png", 30)):
        Image.new("RGB", (width, 30)).save(tmp_path / "set" / name)
    record = _record(run(tmp_path / "set"))
    assert [entry["picture"] for entry in record["pictures"]] == ["a.png", "c.png"]
    assert record["unreadable"] == ["b.png: the file cannot take it: say protocol=vga"]
    with pytest.raises(InputError, match=r"b.png has no picture .*: say protocol=vga$"):
        run(tmp_path / "set" / "b.png", f"output_dir={tmp_path / 'new'}")
    assert not (tmp_path / "new").exists()


def test_a_refusal_leaves_a_folder_that_was_there(run: Run, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="no such camera"):
        run("91")
    assert list((tmp_path / "out").iterdir()) == []


def test_without_a_screen_nothing_is_written(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise cv2.error("no screen")

    monkeypatch.setattr(cv2, "imshow", fail)
    Image.new("RGB", (40, 30)).save(tmp_path / "a.jpg")
    with pytest.raises(InputError, match="needs a screen"):
        run(tmp_path / "a.jpg", "show=true")
    assert not (tmp_path / "out").exists()


def test_target_that_cannot_be_written_is_refused_before_anything_is_detected(
    run: Run, tmp_path: Path
) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "a.jpg")
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(InputError, match="cannot be written to"):
        run(tmp_path / "a.jpg", f"output_dir={tmp_path / 'file' / 'out'}")


@pytest.mark.parametrize("protocol", ["single", "vga", "multiscale"])
def test_a_protocol_is_chosen_as_in_an_evaluation(run: Run, tmp_path: Path, protocol: str) -> None:
    cv2.imwrite(str(tmp_path / "a.jpg"), np.full((60, 80, 3), 90, np.uint8))
    folder = run(tmp_path / "a.jpg", f"protocol={protocol}")
    assert _record(folder)["protocol"] == protocol


def test_a_name_that_is_no_text_is_kept(run: Run, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    name = os.fsdecode(b"bad\xff.jpg")
    (tmp_path / "set" / name).write_bytes(cv2.imencode(".jpg", np.zeros((20, 20, 3), np.uint8))[1])
    folder = run(tmp_path / "set", "save_predictions=true")
    assert json.dumps(name)[1:-1] in (folder / "faces.json").read_text()


def test_a_lone_picture_that_cannot_be_read_says_why(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"can be read: .*a\.jpg is not a readable picture"):
        run(tmp_path / "a.jpg")
