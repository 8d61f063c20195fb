"""Detection on a set: several processes find exactly what one finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from secateur.detectors.eresfd import EResFD
from secateur.detectors.protocols import MultiScale
from secateur.errors import InputError
from secateur.workflows.evaluate.evaluation_set import EvaluationSet, PictureFiles
from secateur.workflows.evaluate.inference import Detections, detect_set
from tests.ddp import run_processes
from tests.detectors.networks import select_anchored

SIZES = [(64, 48), (48, 64), (64, 48), (30, 20), (64, 48), (48, 64), (1, 1)]
NAMES = [f"event/{i}.png" for i in range(len(SIZES))]


def detect_in(folder: str) -> Detections | None:
    torch.manual_seed(0)
    network = EResFD().eval()
    for head in network.conf:
        torch.nn.init.normal_(head.weight, std=0.3)  # type: ignore[arg-type]
        torch.nn.init.zeros_(head.bias)  # type: ignore[arg-type]

    @torch.no_grad()
    def detect(images: Tensor) -> list[Tensor]:
        return select_anchored(*network(images), network.anchors(*images.shape[-2:]))

    protocol = MultiScale(max_pixels=80 * 80, keep_singles=True)
    files = PictureFiles(Path(folder), NAMES)
    return detect_set(detect, files, protocol, batch_size=2, progress=False)


def detect_share(rank: int, n_processes: int, folder: str) -> dict[str, Any]:
    found = detect_in(folder)
    if rank > 0:
        assert found is None
        return {}
    assert found is not None
    return {name: torch.from_numpy(boxes) for name, boxes in found.boxes.items()}


def fail_in_one(rank: int, n_processes: int, folder: str) -> dict[str, Any]:
    if rank > 0:
        assert detect_in(folder) is None
        return {}
    with pytest.raises(InputError, match=r"5\.png is not a readable picture"):
        detect_in(folder)
    return {"raised": torch.tensor(1)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    (tmp_path / "event").mkdir()
    for name, (height, width) in zip(NAMES, SIZES, strict=True):
        noise = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / name)
    return tmp_path


@pytest.mark.slow
def test_two_processes_equal_one(folder: Path) -> None:
    """Seven pictures make five batches, which two processes cannot share evenly."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        alone = detect_in(str(folder))
    finally:
        torch.set_num_threads(threads)
    assert alone is not None
    assert sum(map(len, alone.boxes.values())) > 100
    first, second = run_processes(detect_share, str(folder))
    assert not second
    assert list(first) == list(alone.boxes) == NAMES
    for name, boxes in alone.boxes.items():
        assert np.array_equal(first[name].numpy(), boxes)
    faces = {name: np.array([[4.0, 5.0, 12.0, 15.0]]) for name in NAMES}
    pictures = EvaluationSet(
        folder, faces, {name: {"unlisted": np.ones(1, np.bool_)} for name in NAMES}
    )
    joined = {name: boxes.numpy() for name, boxes in first.items()}
    one, two = pictures.score(alone.boxes), pictures.score(joined)
    assert one.settings["unlisted"].ap == two.settings["unlisted"].ap
    curves = [result.settings["unlisted"].curve for result in (one, two)]
    assert np.array_equal(*curves, equal_nan=True)


@pytest.mark.slow
def test_fault_in_any_process_is_raised_by_the_first(folder: Path) -> None:
    content = (folder / NAMES[5]).read_bytes()
    (folder / NAMES[5]).write_bytes(content[:-200])
    assert "raised" in run_processes(fail_in_one, str(folder))[0]
