"""From the bytes of a JPEG to faces on one thread, as detect.py does it, beside the plain way.

``python -m benchmarks product_path``: the official EResFD at 640 x 480, in turn eager PyTorch with
the published post-processing's method (per-box Python suppression), the product path, the bare
forward in ONNX Runtime, and ``cv2.FaceDetectorYN``. Exported files named after
``python -m benchmarks.product_path`` are timed beside them: slim networks, int8. Weights and
pictures are found through SECATEUR_REFERENCE.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.naive import nms
from benchmarks.results import table, write_section
from benchmarks.side_by_side import least_times
from secateur.cost.latency import machine_name
from secateur.data.images import decode_image, read_image
from secateur.deploy.conversion import converted
from secateur.deploy.exported import open_exported
from secateur.deploy.pixels import preprocess
from secateur.runtime.allocator import keep_large_blocks
from secateur.workflows.deploy.describing import describe, exportable
from secateur.workflows.load import as_detector
from secateur.workflows.loading import LoadedNetwork, load_network

HEIGHT, WIDTH, ROUNDS = 480, 640, 60
PLAIN = "eager PyTorch, per-box Python suppression"
Call = Callable[[], object]


def main() -> None:
    """Measure and write the table."""
    reference = os.environ.get("SECATEUR_REFERENCE")
    if not reference:
        print("product_path: left out, SECATEUR_REFERENCE is not set")
        return
    keep_large_blocks()  # as detect.py does
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    root = Path(reference)
    pictures = root / "data" / "widerface_mini" / "WIDER_val" / "images" / "0--Parade"
    pixels = cv2.resize(read_image(min(pictures.glob("*.jpg"))), (WIDTH, HEIGHT))
    jpeg = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
    official = load_network(root / "weights" / "clovaai_eresfd_16.safetensors")
    description = describe(official, "onnx")
    path = converted(official.network, description, lambda: exportable(official, description))  # type: ignore[arg-type]
    subjects = {"EResFD": path} | {Path(file).stem: Path(file) for file in sys.argv[1:]}
    calls: dict[str, Call] = {PLAIN: plain(official, jpeg)}
    for name, file in subjects.items():
        exported = open_exported(file, 1)
        images = preprocess(np.asarray(pixels, np.uint8), exported.description.pixels).numpy()
        calls[f"{name}, ONNX Runtime, bare forward"] = forward(exported.run, images)
        calls[f"{name}, `load()`, faces above 0.05"] = product(file, jpeg, 0.05)
        calls[f"{name}, `load()`, faces above 0.5"] = product(file, jpeg, 0.5)
    yunet = next((root / "weights" / "peers").glob("yunet_n*.onnx"))
    calls["YuNet n, `cv2.FaceDetectorYN`"] = opencv(yunet, jpeg)
    timed = least_times(calls, ROUNDS)
    write_section("From a JPEG to faces", report(timed, jpeg))


def plain(loaded: LoadedNetwork, jpeg: bytes) -> Call:
    """Eager PyTorch, then suppression box by box."""
    network = loaded.network
    assert isinstance(network, torch.nn.Module)

    @torch.inference_mode()
    def call() -> object:
        picture = decode_image(jpeg, "the picture")
        outputs = network(network.preprocessing(picture)[None])  # type: ignore[operator]
        scores = network.scores(outputs)[0]  # type: ignore[operator]
        order = scores.argsort(descending=True)[:5000]
        chosen = order[scores[order] > 0.05]
        boxes = network.decode(outputs, chosen[None], (HEIGHT, WIDTH))[0]  # type: ignore[operator]
        return nms(boxes.tolist(), 0.3, 750)

    return call


def forward(run: Callable[[NDArray[np.float32]], object], images: NDArray[np.float32]) -> Call:
    """The network alone."""
    return lambda: run(images)


def product(file: Path, jpeg: bytes, min_score: float) -> Call:
    """What ``detect.py`` does with one picture; 0.5 is its own choice of a score."""
    detector = as_detector(load_network(file), threads=1)
    looks = detector.protocol("single")
    return lambda: detector.detect(decode_image(jpeg, "the picture"), looks, min_score)


def opencv(path: Path, jpeg: bytes) -> Call:
    """YuNet as OpenCV runs it."""
    detector = cv2.FaceDetectorYN.create(str(path), "", (WIDTH, HEIGHT))
    content = np.frombuffer(jpeg, np.uint8)
    return lambda: detector.detect(np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR)))


def report(timed: dict[str, float], jpeg: bytes) -> str:
    """The table and what to know about it."""
    first, bare = timed[PLAIN], timed["EResFD, ONNX Runtime, bare forward"]
    rows = [
        [name, f"{ms:.1f}", f"{first / ms:.1f}x", f"{ms / bare:.2f}"] for name, ms in timed.items()
    ]
    header = ["one thread, 640 x 480", "processor ms", "faster than the first",
              "to the bare forward"]  # fmt: skip
    print(table(header, rows))
    about = (
        f"`python -m benchmarks.product_path FILE ...` on {machine_name()}: a WIDER picture as "
        f"{len(jpeg) / 1024:.0f} KiB of JPEG, all in turn, tenth percentiles of {ROUNDS} rounds; "
        "processor time of the one thread, because the machine was not quiet. All but the bare "
        "forwards begin with the bytes of the JPEG and end with faces; the first row suppresses "
        "5,000 candidates box by box."
    )
    return f"{about}\n\n{table(header, rows)}"


if __name__ == "__main__":
    main()
