from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from secateur.errors import InputError
from secateur.workflows.deploy.sources import (
    Frame,
    count_frames,
    find_source,
    frame_rate,
    frames,
)


def _write_video(path: Path, count: int = 12, rate: float = 10.0) -> None:
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate, (64, 48))
    for number in range(count):
        video.write(np.full((48, 64, 3), 5 * number, np.uint8))
    video.release()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "event").mkdir()
    for name in ("b.jpg", "event/a.PNG"):
        Image.new("RGB", (32, 24), "red").save(tmp_path / name)
    (tmp_path / "broken.jpg").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def test_folder_gives_its_pictures_and_tells_of_the_broken_one(folder: Path) -> None:
    source = find_source(str(folder))
    found = list(frames(source))
    assert [frame.name for frame in found] == ["b.jpg", "broken.jpg", "event/a.PNG"]
    assert [frame.pixels is None for frame in found] == [False, True, False]
    assert "broken.jpg" in str(found[1].fault)
    assert count_frames(source) == 3


def test_pictures_of_a_kind_that_is_not_known_are_told(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.heic", "b.heic", "folder.jpg/c.avif"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    assert len(find_source(str(folder)).paths) == 3
    assert "3 pictures of a kind that is not known here passed over, such as" in caplog.text
    assert "a.heic: make JPEG files of them" in caplog.text


def test_the_first_picture_of_an_animation_is_taken(tmp_path: Path) -> None:
    red, blue = (Image.new("RGB", (8, 6), color) for color in ("red", "blue"))
    red.save(tmp_path / "a.gif", save_all=True, append_images=[blue])
    (frame,) = frames(find_source(str(tmp_path)))
    assert frame.pixels is not None
    assert frame.pixels[0, 0].tolist() == [255, 0, 0]


def test_pattern_and_single_picture(folder: Path) -> None:
    assert [f.name for f in frames(find_source(f"{folder}/*.jpg"))] == ["b.jpg", "broken.jpg"]
    assert [f.name for f in frames(find_source(f"{folder}/**/*.PNG"))] == ["event/a.PNG"]
    assert [f.name for f in frames(find_source(str(folder / "b.jpg")))] == ["b.jpg"]


def test_a_damaged_frame_is_told_and_those_behind_it_are_given(tmp_path: Path) -> None:
    path = tmp_path / "video.avi"
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for number in range(12):
        video.write(np.full((48, 64, 3), 5 * number, np.uint8))
    video.release()
    content = bytearray(path.read_bytes())
    start = content.index(b"movi")
    for _ in range(6):
        start = content.index(b"00dc", start) + 8
    size = int.from_bytes(content[start - 4 : start], "little")
    content[start : start + size] = bytes(size)
    path.write_bytes(content)
    found = list(frames(find_source(str(path))))
    assert [frame.name for frame in found] == [f"{number:06d}" for number in range(12)]
    assert [frame.name for frame in found if frame.pixels is None] == ["000005"]
    assert found[5].fault == "frame 5 cannot be decoded"
    # FFmpeg says nothing beside that, in a process that has not opened a video before
    code = "import sys; from secateur.workflows.deploy.sources import find_source, frames\n"
    code += "for frame in frames(find_source(sys.argv[1])): frame.fault and print(frame.fault)"
    told = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, check=True)
    assert told.stdout.decode().split("\n") == ["frame 5 cannot be decoded", ""]
    assert told.stderr == b""


def test_every_frame_of_a_video_is_given(tmp_path: Path) -> None:
    _write_video(tmp_path / "video.mp4")
    source = find_source(str(tmp_path / "video.mp4"))
    found = list(frames(source))
    assert [frame.name for frame in found] == [f"{number:06d}" for number in range(12)]
    assert all(frame.pixels is not None and frame.pixels.shape == (48, 64, 3) for frame in found)
    assert count_frames(source) == 12
    assert frame_rate(source) == pytest.approx(10)


def test_video_that_is_cut_short_gives_what_it_has_or_says_so(tmp_path: Path) -> None:
    _write_video(tmp_path / "whole.avi", count=40)
    content = (tmp_path / "whole.avi").read_bytes()
    (tmp_path / "cut.avi").write_bytes(content[: len(content) // 2])
    # Which half is enough depends on where the encoder put its index.
    found: list[Frame] = []
    with contextlib.suppress(InputError):
        found = list(frames(find_source(str(tmp_path / "cut.avi"))))
    assert not found or any(frame.pixels is not None for frame in found)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("https://example.org/photo.jpg", "nothing is downloaded"),
        ("{tmp}/nowhere", "does not exist"),
        ("{tmp}/*.jpg", "does not exist"),
        ("{tmp}", "holds no picture of a known kind, but such as phone.HEIC: make JPEG files"),
        ("{tmp}/*.HEIC", "names no picture of a known kind, but such as phone.HEIC: make JPEG"),
        ("{tmp}/*.mp4", "names no picture; .* videos, which are taken one at a time"),
    ],
)
def test_source_without_pictures_is_refused(source: str, message: str, tmp_path: Path) -> None:
    for name in ("phone.HEIC", "a.mp4"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=message):
        find_source(source.format(tmp=tmp_path))


def test_camera_and_video_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such camera"):
        list(frames(find_source("97")))
    (tmp_path / "empty.mp4").write_bytes(b"")
    with pytest.raises(InputError, match="no video that can be read"):
        list(frames(find_source(str(tmp_path / "empty.mp4"))))
