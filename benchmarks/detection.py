"""The detection core and the pruning pass beside naive references, and the input pipeline.

One run, one machine, one thread: ``python -m benchmarks detection``. The published seconds are
those of the specification's machine and stand beside the ratios for orientation only.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor, nn
from torchvision.models import resnet50

from benchmarks import naive
from benchmarks.results import table, write_section
from benchmarks.side_by_side import Comparison, compare
from secateur.data.annotations import read_annotations, without_degenerate_boxes
from secateur.data.augmentations.face_augmentation import FaceAugmentation
from secateur.data.face_dataset import FaceDataset
from secateur.data.synthetic.face_set import write_drawn_set
from secateur.data.wider_layout import find_layout
from secateur.detectors.anchors import STRIDES, make_anchors
from secateur.detectors.boxes import decode
from secateur.detectors.eresfd import HEADS, EResFD
from secateur.detectors.extd import EXTD
from secateur.detectors.multibox_loss import multibox_loss
from secateur.detectors.postprocess import select_faces
from secateur.detectors.prediction_heads import decode_chosen, face_probabilities
from secateur.pruning.criteria import fpgm
from secateur.pruning.pruner import Pruner
from secateur.pruning.settings import PruningSettings
from secateur.reports.tables import print_table

HEIGHT, WIDTH = 480, 640


def main() -> None:
    """Print the tables and write them into README.md."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = EResFD().eval().requires_grad_(False)
    parts = [
        ("Ours beside naive references, one thread", COLUMNS, _cells(comparisons(network))),
        ("Training step, 640x640, batch 4", ["phase", "ms", "share"], training_step(network)),
        ("Input pipeline, one process", ["step", "images per second"], input_pipeline()),
    ]
    written = [
        "`python -m benchmarks detection`, processor time of one thread; the pictures are drawn."
    ]
    for title, columns, rows in parts:
        print_table(title, columns, rows, console=Console(width=140))
        written += [f"**{title}**", table(columns, rows)]
    write_section("Detection core", "\n\n".join(written))


def _cells(rows: Iterable[Comparison]) -> list[list[str]]:
    return [
        [
            row.what,
            f"{row.ours_ms:.2f}",
            row.reference,
            f"{row.reference_ms:.1f}",
            f"{row.ratio:.0f}x",
        ]
        for row in rows
    ]


COLUMNS = ["what", "ours, ms", "reference", "its ms", "ratio"]


def detect_faces(locations: Tensor, logits: Tensor, anchors: Tensor) -> list[Tensor]:
    """Faces from the outputs of a detector with anchors."""
    scores = face_probabilities(logits)
    return select_faces(scores, lambda chosen: decode_chosen(locations, anchors, chosen))


def comparisons(network: EResFD) -> Iterator[Comparison]:
    """What is timed against a naive reference."""
    levels = [(-(-HEIGHT // stride), -(-WIDTH // stride)) for stride in STRIDES]
    yield compare(
        "anchors, 640x480",
        lambda: make_anchors(levels, (HEIGHT, WIDTH)),
        lambda: naive.anchors(HEIGHT, WIDTH),
        "one location at a time",
        repeats=5,
    )
    locations, logits, anchors = crowded_output()
    yield compare(
        f"decode, top 5,000, NMS: {anchors.shape[0]:,} anchors pass",
        lambda: detect_faces(locations, logits, anchors),
        lambda: naive_detect(locations[0], logits[0], anchors),
        "NMS box by box",
        repeats=3,
    )
    for name, model in (("EResFD", network), ("EXTD-64", EXTD(64).requires_grad_(False))):
        pruner = Pruner(
            model, (torch.zeros(1, 3, 64, 64),), PruningSettings("fpgm", 0.3, exclude=HEADS)
        )
        weights = [layer.weight for layer in pruner.layers.values()]
        yield compare(
            f"FPGM pass over {name}: score, plan, mask",
            lambda: pruner.apply(pruner.plan()),  # noqa: B023 - called at once
            lambda: [naive.fpgm(weight) for weight in weights],  # noqa: B023
            "distances pair by pair, scores alone",
            repeats=5,
        )
    large = [m.weight.detach() for m in resnet50().modules() if isinstance(m, nn.Conv2d)]
    yield compare(
        "FPGM scores of ResNet-50",
        lambda: [fpgm(weight) for weight in large],
        lambda: [torch.cdist(w := weight.flatten(1), w).sum(1) for weight in large],
        "torch.cdist layer by layer",
        repeats=3,
    )


def crowded_output() -> tuple[Tensor, Tensor, Tensor]:
    """Network outputs of one image on which every anchor passes the threshold."""
    anchors = EResFD().anchors(HEIGHT, WIDTH)
    generator = torch.Generator().manual_seed(0)
    locations = torch.randn(1, len(anchors), 4, generator=generator)
    face = torch.randn(1, len(anchors), generator=generator) * 0.5 - 2.0
    return locations, torch.stack([torch.zeros_like(face), face], dim=2), anchors


def naive_detect(locations: Tensor, logits: Tensor, anchors: Tensor) -> list[int]:
    """The same rows with suppression in Python."""
    scores = logits.softmax(1)[:, 1]
    order = scores.argsort(descending=True, stable=True)[:5000]
    order = order[scores[order] > 0.05]
    boxes = decode(locations[order], anchors[order]).tolist()
    return naive.nms(boxes, 0.3, 750)


def training_step(network: nn.Module, repeats: int = 3) -> list[list[str]]:
    """Where the time of a training step goes."""
    network.train().requires_grad_().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-6)
    images = torch.randn(4, 3, 640, 640) * 50
    corners = torch.rand(4, 20, 2) * 0.8
    faces = list(torch.cat([corners, corners + 0.02 + 0.1 * torch.rand(4, 20, 2)], dim=2))
    anchors = network.anchors(640, 640)  # type: ignore[operator]
    spent: dict[str, list[float]] = {}

    def timed(phase: str, work: Callable[[], object]) -> object:
        started = time.thread_time()
        result = work()
        spent.setdefault(phase, []).append(1e3 * (time.thread_time() - started))
        return result

    for _ in range(repeats + 1):
        locations, logits = timed("forward", lambda: network(images))  # type: ignore[misc]
        location, confidence = timed(  # type: ignore[misc]
            "matching and loss",
            lambda: multibox_loss(locations, logits, anchors, faces),  # noqa: B023 - called at once
        )
        timed("backward", lambda: (location + confidence).backward())  # noqa: B023
        timed("optimiser", optimizer.step)
        optimizer.zero_grad()
    median = {phase: sorted(times[1:])[len(times[1:]) // 2] for phase, times in spent.items()}
    total = sum(median.values())
    return [[phase, f"{ms:.0f}", f"{ms / total:.0%}"] for phase, ms in median.items()]


def input_pipeline(pictures: int = 64) -> list[list[str]]:
    """Images per second of reading, augmenting and normalising drawn pictures."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "drawn"
        started = time.process_time()
        write_drawn_set(root, pictures, 1)
        drawing = (pictures + 1) / (time.process_time() - started)
        layout = find_layout(root)
        annotations = without_degenerate_boxes(read_annotations(layout.annotation_file("train")))
        rows = [["drawing, JPEG included", f"{drawing:.0f}"]]
        for size in (640, 320):
            dataset = FaceDataset(layout.images("train"), annotations, FaceAugmentation(size), 0)
            started = time.process_time()
            for epoch in range(2):
                for index in range(len(dataset)):
                    dataset[epoch, index]
            rate = 2 * len(dataset) / (time.process_time() - started)
            rows.append([f"read, augment, normalise to {size}x{size}", f"{rate:.0f}"])
    return rows
