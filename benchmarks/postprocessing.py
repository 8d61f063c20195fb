"""Post-processing against a per-box Python NMS: ``python -m benchmarks postprocessing``.

With the official EResFD, nearly all of whose 25,600 anchors of a 640x480 picture pass the 0.05
threshold; it and real pictures are found through SECATEUR_REFERENCE.
"""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from benchmarks.detection import detect_faces
from benchmarks.evaluation import median_seconds
from benchmarks.naive import nms
from benchmarks.side_by_side import compare
from secateur.data.images import read_image
from secateur.data.preprocessing import RGB_MINUS_MEAN
from secateur.detectors.boxes import decode
from secateur.detectors.eresfd import EResFD
from secateur.reports.tables import print_table
from secateur.weights.detector_weights import identify, load_weights, read_weights

HEIGHT, WIDTH = 480, 640
PUBLISHED_MS = 96.5  # median of the published code on one thread, see experiments/README.md
SAME_BOX = 0.1  # pixels


def main() -> None:
    """Print times and agreement."""
    torch.set_num_threads(1)
    reference = os.environ.get("SECATEUR_REFERENCE")
    if not reference:
        print("postprocessing: left out, SECATEUR_REFERENCE is not set")
        return
    network = load(Path(reference) / "weights" / "clovaai_eresfd_16.safetensors")
    images = torch.stack([RGB_MINUS_MEAN(picture) for picture in pictures(Path(reference))])
    with torch.inference_mode():
        locations, logits = network(images)
    anchors = network.anchors(HEIGHT, WIDTH)
    assert isinstance(anchors, Tensor)

    def ours() -> list[Tensor]:
        return detect_faces(locations[:1], logits[:1], anchors)

    timing = compare(
        "decode, threshold, top 5,000, NMS, first 750",
        ours,
        lambda: plain_detect(locations[0], logits[0], anchors),
        "per-box Python NMS",
        repeats=3,
    )
    ours_ms = 1e3 * median_seconds(ours)
    passing = int((torch.softmax(logits[0], dim=1)[:, 1] > 0.05).sum())
    rows, plain = ours()[0], plain_detect(locations[0], logits[0], anchors)
    pixels = rows.new_tensor([WIDTH, HEIGHT, WIDTH, HEIGHT])
    distance = torch.cdist(rows[:, :4] * pixels, plain[:, :4] * pixels, p=float("inf"))
    common = int((distance.amin(dim=1) < SAME_BOX).sum())
    together = detect_faces(locations, logits, anchors)
    alone = [detect_faces(locations[i : i + 1], logits[i : i + 1], anchors)[0] for i in range(8)]
    same = all(torch.equal(a, b) for a, b in zip(together, alone, strict=True))
    print_table(
        f"Post-processing of one {WIDTH}x{HEIGHT} picture, one thread",
        ["", "ours", timing.reference, "ratio", "ours, CPU time", "published", "ratio"],
        [
            [
                f"{passing:,} of {len(anchors):,} anchors pass",
                f"{timing.ours_ms:.1f} ms",
                f"{timing.reference_ms:.0f} ms",
                f"{timing.ratio:.0f}x",
                f"{ours_ms:.1f} ms",
                f"{PUBLISHED_MS} ms",
                f"{PUBLISHED_MS / ours_ms:.1f}x",
            ]
        ],
    )
    print(f"{common} of {len(rows)} rows are those of the reference")
    print(f"a batch of eight gives {'exactly' if same else 'NOT'} what eight single pictures give")


def load(path: Path) -> EResFD:
    """EResFD with the weights of a file."""
    state = read_weights(path)
    found = identify(state)
    assert found is not None
    network = EResFD(**found.arguments)
    load_weights(network, state, source=str(path))
    network.eval()
    return network


def pictures(reference: Path) -> list[np.ndarray]:
    """Eight pictures of 640x480."""
    folder = reference / "data" / "widerface_mini" / "WIDER_val" / "images"
    found = [read_image(path) for path in sorted(folder.glob("*/*.jpg"))[:8]]
    return [np.asarray(cv2.resize(picture, (WIDTH, HEIGHT)), np.uint8) for picture in found]


def plain_detect(locations: Tensor, logits: Tensor, anchors: Tensor) -> Tensor:
    """The same, as it reads: NMS box by box."""
    scores = torch.softmax(logits, dim=1)[:, 1]
    rows = torch.cat([decode(locations, anchors), scores[:, None]], dim=1)
    rows = rows[scores > 0.05]
    rows = rows[rows[:, 4].argsort(descending=True, stable=True)[:5000]]
    return rows[nms(rows[:, :4].tolist(), 0.3, 750)]


if __name__ == "__main__":
    main()
