"""Inference: run a detector on every picture of a set, in one process or shared by several."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch.distributed
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from secateur.data.face_dataset import MAX_PIXELS
from secateur.data.preprocessing import RGB_MINUS_MEAN, Preprocessing
from secateur.data.samplers import SizeBatchSampler
from secateur.datamodules.loading import loader_settings
from secateur.detectors.protocols import Detect, EvaluationProtocol, detect_pictures
from secateur.errors import InputError
from secateur.metrics.predictions import as_written, from_corners
from secateur.reports.progress import Progress
from secateur.workflows.evaluate.evaluation_set import PictureFiles

Boxes = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Detections:
    """Detections of a set.

    Attributes:
        boxes: (P, 5) x, y, width, height, score in pixels by name, in the order of the set, with
            the decimals of the prediction files, so that scoring those gives the same figures.
        seconds_per_picture: Time in detector, post-processing and merging, without loading.
        wall_seconds: Time of everything.
    """

    boxes: dict[str, Boxes]
    seconds_per_picture: float
    wall_seconds: float


@dataclass(frozen=True, slots=True)
class _Share:
    """What one process found, the seconds it was busy, and the fault that stopped it."""

    found: dict[str, Boxes]
    busy: float
    fault: InputError | None


def detect_set(
    detect: Detect,
    files: PictureFiles,
    protocol: EvaluationProtocol,
    preprocessing: Preprocessing = RGB_MINUS_MEAN,
    *,
    batch_size: int = 1,
    num_workers: int = 0,
    device: torch.device | str = "cpu",
    progress: bool = True,
    title: str = "detecting",
) -> Detections | None:
    """Find the faces of all pictures.

    Where ``torch.distributed`` is initialised, each process takes its share of the batches, which
    are the same for any number of processes, and the first process gathers what was found; it
    has every picture exactly once, so the result is that of one process.

    Args:
        detect: The detector.
        files: The pictures.
        protocol: How to look at them.
        preprocessing: Preprocessing of the detector.
        batch_size: Looks of one shape that are shown together; pictures of one size come together.
        num_workers: Loading processes; 0 loads in this one.
        device: Where the detector runs.
        progress: Whether to show how far it is, with the remaining time.
        title: What is written before it.

    Returns:
        What was found; None on every process but the first.

    Raises:
        InputError: If a picture cannot be read; the first process alone raises it.
    """
    started = time.perf_counter()
    sizes = files.sizes() if batch_size > 1 else [None] * len(files)
    sampler = SizeBatchSampler(sizes, batch_size)
    known = [size[0] * size[1] for size in sizes if size is not None]
    largest = max(known, default=MAX_PIXELS)
    batch_bytes = batch_size * 12 * largest
    loader: DataLoader[object] = DataLoader(
        files,
        batch_sampler=sampler,
        collate_fn=list,
        **{**loader_settings(num_workers, batch_bytes), "persistent_workers": False},
    )
    found: dict[str, Boxes] = {}
    busy, fault = 0.0, None
    with Progress(title, sum(map(len, sampler)), shown=progress and sampler.rank == 0) as shown:
        for batch in loader:
            fault = next((item for item in batch if isinstance(item, InputError)), None)
            if fault is not None:
                break
            began = time.perf_counter()
            rows = detect_pictures(
                detect,
                [pixels for _, pixels in batch],
                protocol,
                preprocessing,
                batch_size=batch_size,
                device=device,
            )
            busy += time.perf_counter() - began
            for (name, _), faces in zip(batch, rows, strict=True):
                found[name] = as_written(from_corners(faces[:, :5].numpy()))
            shown.advance(len(batch))
    shares = _gather(_Share(found, busy, fault))
    if shares is None:
        return None
    for share in shares:
        if share.fault is not None:
            raise share.fault
    everything = {name: boxes for share in shares for name, boxes in share.found.items()}
    return Detections(
        {name: everything[name] for name in files.names},
        sum(share.busy for share in shares) / len(files),
        time.perf_counter() - started,
    )


def _gather(share: _Share) -> list[_Share] | None:
    """The shares of all processes on the first one, None on the others.

    A fault travels with them: a process that ended on its own would make the others wait for it.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [share]
    first = torch.distributed.get_rank() == 0
    shares = [share] * torch.distributed.get_world_size()
    torch.distributed.gather_object(share, shares if first else None)
    return shares if first else None
