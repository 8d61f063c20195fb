"""Detect faces on pictures, on a video or before a camera; draw and write them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig
from PIL import Image

from secateur.deploy.face_detector import FaceDetector, Faces
from secateur.detectors.protocols import EvaluationProtocol
from secateur.errors import InputError
from secateur.files import replacing, write_json
from secateur.metrics.predictions import from_corners, write_predictions
from secateur.reports import tables
from secateur.reports.face_drawing import draw_faces
from secateur.reports.progress import Progress
from secateur.runtime.allocator import keep_large_blocks
from secateur.runtime.threads import use_threads
from secateur.workflows.build import instantiate, made_from
from secateur.workflows.deploy.output_folder import output_folder, writable
from secateur.workflows.deploy.sources import Frame, Source, count_frames, find_source, frame_rate
from secateur.workflows.deploy.sources import frames as frames_of
from secateur.workflows.load import as_detector
from secateur.workflows.loading import network_of

log = logging.getLogger(__name__)

Pixels = NDArray[np.uint8]

_LONGEST_CAMERA = 10**9


@dataclass(slots=True)
class Tally:
    """What happened to the frames of a source.

    Attributes:
        faces: Faces per frame, by name.
        faults: Sentences on frames that could not be read.
        busy: Seconds in the detector.
        records: What goes into the JSON, one entry per frame.
    """

    faces: dict[str, Faces] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    busy: float = 0.0
    records: list[dict[str, Any]] = field(default_factory=list)


def detect(config: DictConfig) -> Path:
    """Detect faces on the source of the configuration.

    Args:
        config: Composed ``conf/detect.yaml``.

    Returns:
        The folder that was written.

    Raises:
        InputError: If there is no network, no source or no place to write to.
    """
    keep_large_blocks()
    use_threads(config.threads)
    source = find_source(str(config.source))
    loaded = network_of(config)
    detector = as_detector(loaded, backend=str(config.backend))
    looks = _looks(config, detector)  # refused before anything is written
    started = time.perf_counter()
    with writable(output_folder(config, f"detect-{detector.name}")) as folder:
        log.info("%s, run by %s", detector.name, detector.backend)
        tally = _detected(config, source, detector, looks, folder)
        _write_records(config, folder, detector, tally)
    _print(source, detector, tally, time.perf_counter() - started)
    log.info("written to %s", folder)
    return folder


def _detected(
    config: DictConfig,
    source: Source,
    detector: FaceDetector,
    looks: EvaluationProtocol,
    folder: Path,
) -> Tally:
    """Go through the frames; what is drawn goes to the folder.

    Raises:
        InputError: If no frame can be read.
    """
    tally = Tally()
    with _writer(config, source, folder) as write, _progress(config, source) as advance:
        for frame in _limited(frames_of(source), config.limit):
            fault, faces = frame.fault, None
            if frame.pixels is not None:
                began = time.perf_counter()
                try:
                    faces = detector.detect(frame.pixels, looks, float(config.min_score))
                except InputError as error:  # of a size that an exported file does not take
                    fault = f"{frame.name}: {error}"
                tally.busy += time.perf_counter() - began
            if frame.pixels is None or faces is None:
                tally.faults.append(str(fault))
                if not source.is_picture:  # of the one that there is the refusal tells
                    log.warning("%s", fault)
                    advance(tally)
                continue
            tally.faces[frame.name] = faces
            tally.records.append(_record(frame, frame.pixels, faces))
            if not write(frame, frame.pixels, faces):
                break
            advance(tally)
    if not tally.faces:
        why = f": {tally.faults[0]}" if tally.faults else ""
        raise InputError(f"source={config.source} has no picture that can be read{why}")
    return tally


def _looks(config: DictConfig, detector: FaceDetector) -> EvaluationProtocol:
    """At which sizes a picture is looked at."""
    node = config.protocol.looks.copy()
    if "keep_singles" in node and node.keep_singles is None:
        node.keep_singles = detector.keeps_singles
    with made_from("protocol.looks"):
        looks: EvaluationProtocol = instantiate(node)
    return looks


def _limited(frames: Iterator[Frame], limit: int | None) -> Iterator[Frame]:
    """At most so many frames."""
    for number, frame in enumerate(frames):
        if limit is not None and number >= limit:
            return
        yield frame


def _record(frame: Frame, pixels: Pixels, faces: Faces) -> dict[str, Any]:
    """The entry of one frame in the JSON."""
    found: list[dict[str, Any]] = [
        {"box": [round(float(v), 2) for v in box], "score": round(score, 4)} for box, score in faces
    ]
    if faces.landmarks is not None:
        for entry, points in zip(found, faces.landmarks, strict=True):
            entry["landmarks"] = np.round(points, 2).tolist()
    return {
        "picture": frame.name,
        "width": pixels.shape[1],
        "height": pixels.shape[0],
        "faces": found,
    }


@contextmanager
def _writer(
    config: DictConfig, source: Source, folder: Path
) -> Iterator[Callable[[Frame, Pixels, Faces], bool]]:
    """Write every frame with its boxes; False from the function asks for an end."""
    video: cv2.VideoWriter | None = None

    def write(frame: Frame, pixels: Pixels, faces: Faces) -> bool:
        nonlocal video
        if not (config.draw or config.show):
            return True
        drawn = draw_faces(pixels, faces.boxes, faces.scores, faces.landmarks)
        # before anything is written: there may be no screen
        goes_on = not config.show or _show(drawn, wait=source.kind == "pictures")
        if config.draw and source.kind == "pictures":
            _save(folder / "pictures" / frame.name, drawn)
        elif config.draw:
            if video is None:
                video = _open_video(folder / "faces.mp4", frame_rate(source), drawn)
            video.write(np.ascontiguousarray(drawn[..., ::-1]))
        return goes_on

    try:
        yield write
    finally:
        if video is not None:
            video.release()


def _save(path: Path, drawn: Pixels) -> None:
    """Write a picture in the format of its name, JPEG for names that Pillow cannot write."""
    if path.suffix.lower() not in (".jpg", ".jpeg", ".png", ".webp", ".bmp"):
        path = path.with_name(f"{path.name}.jpg")
    with replacing(path) as temporary:
        Image.fromarray(drawn).save(temporary, quality=92)


def _open_video(path: Path, rate: float, frame: Pixels) -> cv2.VideoWriter:
    """A video of the size of a frame."""
    size = (frame.shape[1], frame.shape[0])
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate, size)
    if not video.isOpened():
        raise InputError(f"{path} cannot be written as a video; set draw=false or output_dir")
    return video


def _show(drawn: Pixels, *, wait: bool) -> bool:
    """Show a frame in a window; False once the user pressed q or escape.

    Raises:
        InputError: If there is no screen, or OpenCV was built without windows.
    """
    try:
        cv2.imshow("secateur", np.ascontiguousarray(drawn[..., ::-1]))
        return cv2.waitKey(0 if wait else 1) & 0xFF not in (ord("q"), 27)
    except cv2.error as error:
        raise InputError(
            "show=true needs a screen and a build of OpenCV with windows: pip install "
            "opencv-python in place of opencv-python-headless, or leave show out"
        ) from error


def _write_records(config: DictConfig, folder: Path, detector: FaceDetector, tally: Tally) -> None:
    """``faces.json``, and text files in the format of WIDER FACE."""
    write_json(
        folder / "faces.json",
        {
            "network": detector.name,
            "backend": detector.backend,
            "protocol": str(config.protocol.name),
            "min_score": float(config.min_score),
            "unit": "pixels of the picture: x1, y1, x2, y2",
            "pictures": tally.records,
            "unreadable": tally.faults,
        },
    )
    if config.save_predictions:
        boxes = {name: from_corners(faces.rows()) for name, faces in tally.faces.items()}
        write_predictions(folder / "predictions", boxes)


@contextmanager
def _progress(config: DictConfig, source: Source) -> Iterator[Callable[[Tally], None]]:
    """How far it is, with faces and pictures per second."""
    total = count_frames(source)
    if config.limit is not None:
        total = min(int(config.limit), total or _LONGEST_CAMERA)
    with Progress("detecting", total, shown=bool(config.progress)) as shown:

        def advance(tally: Tally) -> None:
            faces = sum(map(len, tally.faces.values()))
            rate = len(tally.faces) / tally.busy if tally.busy else 0.0
            found = tables.counted(faces, "face")
            shown.advance(state=f"{found} · {rate:.1f} {source.of}s/s")

        yield advance


def _print(source: Source, detector: FaceDetector, tally: Tally, wall: float) -> None:
    """The table at the end."""
    counts = [len(faces) for faces in tally.faces.values()]
    what = source.of
    rows = [
        [f"{what}s", f"{len(counts):,}"],
        ["faces", f"{sum(counts):,}"],
        [f"{what}s without a face", f"{counts.count(0):,}"],
        [f"most faces on one {what}", f"{max(counts):,}"],
        ["not readable", f"{len(tally.faults):,}"],
        [f"{what}s per second, detector alone", f"{len(counts) / tally.busy:.1f}"],
        [f"{what}s per second, everything", f"{len(counts) / wall:.1f}"],
    ]
    if source.kind == "video":
        rows.append(["frames per second of the video", f"{frame_rate(source):.1f}"])
    tables.print_table(f"{detector.name} · {detector.backend}", ["", "value"], rows)
