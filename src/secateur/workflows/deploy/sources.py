"""Sources: a picture, a folder, a pattern, a video or a camera, as a stream of frames."""

from __future__ import annotations

import glob
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from secateur.data.images import read_image
from secateur.errors import InputError
from secateur.reports.tables import counted
from secateur.runtime.opencv_messages import silent_opencv

log = logging.getLogger(__name__)

Pixels = NDArray[np.uint8]

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")
_UNKNOWN_PICTURES = (".heic", ".heif", ".avif", ".jxl", ".dng", ".cr2", ".cr3", ".nef", ".arw")
_MOST_MISSED = 50  # frames in a row that cannot be read, before a video is given up
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v")


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of a source.

    Attributes:
        name: Path of a picture relative to its folder, or number of a frame of a video.
        pixels: (H, W, 3) RGB; None where it could not be read.
        fault: Why not, in one sentence.
    """

    name: str
    pixels: Pixels | None
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """What ``source=`` names.

    Attributes:
        kind: ``pictures``, ``video`` or ``camera``.
        paths: Pictures, or the one video.
        root: Folder that names of pictures are relative to.
        camera: Number of the camera.
    """

    kind: str
    paths: tuple[Path, ...] = ()
    root: Path = Path()
    camera: int = 0

    @property
    def of(self) -> str:
        """What it consists of: pictures or frames, one of them by name."""
        return "picture" if self.kind == "pictures" else "frame"

    @property
    def is_picture(self) -> bool:
        """Whether it is one picture alone."""
        return self.kind == "pictures" and len(self.paths) == 1


def find_source(text: str) -> Source:
    """Find out what ``source=`` names.

    Args:
        text: A picture, a folder, a pattern such as ``photos/*.jpg``, a video, or the number of a
            camera.

    Raises:
        InputError: If it is an address, or there is no picture.
    """
    if "://" in text:
        raise InputError(
            f"source={text} is an address, and nothing is downloaded: fetch it and give the path"
        )
    if text.isdigit():
        return Source("camera", camera=int(text))
    path = Path(text)
    if path.is_file() and path.suffix.lower() in VIDEOS:
        return Source("video", (path,), path.parent)
    root = path if path.is_dir() else path.parent
    if not path.exists() and (pattern := re.search(r"[*?\[]", text)):
        root = Path(text[: pattern.start()].rpartition("/")[0] or ("/" if text[0] == "/" else "."))
    return Source("pictures", tuple(picture_files(text, videos=True)), root)


def picture_files(text: str, key: str = "source", *, videos: bool = False) -> list[Path]:
    """Pictures of a file, a folder with everything below it, or a pattern, sorted by path.

    Args:
        text: The file, folder or pattern.
        key: What to call it in a message.
        videos: Whether the one who asks takes videos too.

    Raises:
        InputError: If there is none.
    """
    path = Path(text)
    if path.is_file():
        return [path]
    is_folder = path.is_dir()
    # any pattern, from the root of the disk too
    listed = path.rglob("*") if is_folder else map(Path, glob.glob(text, recursive=True))  # noqa: PTH207
    files = [file for file in listed if not file.is_dir()]
    found = [file for file in files if file.suffix.lower() in PICTURES]
    others = sorted(file for file in files if file.suffix.lower() in _UNKNOWN_PICTURES)
    if found and others:
        log.warning(
            "%s of a kind that is not known here passed over, such as %s: make JPEG files of them",
            counted(len(others), "picture"),
            others[0],
        )
    if not found:
        what = (
            "holds no picture" if is_folder else "names no picture" if files else "does not exist"
        )
        if others:
            what = f"{what} of a known kind, but such as {others[0].name}: make JPEG files of them"
        rest = f", videos, which are taken one at a time, in {', '.join(VIDEOS)}" if videos else ""
        raise InputError(f"{key}={text} {what}; pictures end in {', '.join(PICTURES)}{rest}")
    return sorted(found)


def frames(source: Source) -> Iterator[Frame]:
    """Frames one after the other; what cannot be read is logged and passed over.

    Raises:
        InputError: If a video or a camera cannot be opened at all.
    """
    if source.kind == "pictures":
        for path in source.paths:
            name = path.relative_to(source.root) if path.is_relative_to(source.root) else path
            try:
                yield Frame(name.as_posix(), read_image(path, apply_exif=True))
            except InputError as error:
                yield Frame(name.as_posix(), None, str(error))
        return
    yield from _of_capture(source)


def count_frames(source: Source) -> int | None:
    """How many frames a source has; None where it has no end or does not tell."""
    if source.kind == "pictures":
        return len(source.paths)
    if source.kind == "camera":
        return None
    capture = _open(source)
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    capture.release()
    return count if count > 0 else None


def frame_rate(source: Source) -> float:
    """Frames per second of a video; 25 where it does not tell."""
    capture = _open(source) if source.paths else None
    rate = float(capture.get(cv2.CAP_PROP_FPS)) if capture is not None else 0.0
    if capture is not None:
        capture.release()
    return rate if 0 < rate <= 1000 else 25.0


def _of_capture(source: Source) -> Iterator[Frame]:
    """Frames of a video or a camera."""
    is_camera = source.kind == "camera"
    with silent_opencv():
        capture = _open(source)
        if not capture.isOpened():
            raise InputError(
                f"source={source.camera}: there is no such camera; connect one, or give a video"
                if is_camera
                else f"{source.paths[0]} is no video that can be read, perhaps cut short: copy it "
                "again, or convert it to MP4 (H.264) with ffmpeg"
            )
        total = 0 if is_camera else int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        number = missed = 0
        while True:
            if not capture.grab():  # the end, or a frame that is damaged, behind which others lie
                missed += 1
                if number + missed > total or missed > _MOST_MISSED:
                    break
                continue
            for _ in range(missed):
                yield Frame(f"{number:06d}", None, f"frame {number} cannot be decoded")
                number += 1
            missed = 0
            decoded, bgr = capture.retrieve()
            if decoded and bgr is not None and bgr.size:
                yield Frame(f"{number:06d}", np.ascontiguousarray(bgr[..., ::-1]))
            else:
                yield Frame(f"{number:06d}", None, f"frame {number} cannot be decoded")
            number += 1
        capture.release()
        if number == 0 and not is_camera:
            raise InputError(f"{source.paths[0]} has no frame that can be read")
        if total > number:
            yield Frame(
                f"{number:06d}",
                None,
                f"{source.paths[0]} announces {total:,} frames and ends after {number:,}",
            )


def _open(source: Source) -> cv2.VideoCapture:
    """A video or a camera; FFmpeg, which reads its level once, prints no lines of its own."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    return cv2.VideoCapture(str(source.paths[0]) if source.paths else source.camera)
