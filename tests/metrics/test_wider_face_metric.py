from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from secateur.errors import InputError
from secateur.metrics.predictions import from_corners
from secateur.metrics.wider_face import average_precision, evaluate_wider_face
from secateur.metrics.wider_face_metric import WiderFaceAP
from tests.ddp import run_processes

SETTINGS = ("easy", "medium", "hard", "unlisted")
Picture = tuple[Tensor, Tensor, Tensor, Tensor]


def draw_picture(seed: int) -> Picture:
    """Detections, faces, masks and settings of one picture, of which some are empty."""
    random = torch.Generator().manual_seed(seed)
    n_faces = seed % 4
    faces = torch.cat(
        [
            torch.randint(0, 50, (n_faces, 2), generator=random),
            torch.randint(5, 30, (n_faces, 2), generator=random),
        ],
        dim=1,
    ).float()
    n = 0 if seed % 5 == 3 else 9
    near = faces[torch.randint(0, n_faces, (n,), generator=random)] if n_faces else faces
    corners = torch.cat([near[:, :2], near[:, :2] + near[:, 2:]], dim=1)
    corners = corners + 3 * torch.randn(corners.shape, generator=random)
    detections = torch.cat([corners, torch.rand(len(corners), 1, generator=random)], dim=1)
    evaluated = torch.rand(len(SETTINGS), n_faces, generator=random) < 0.6
    part = (
        torch.tensor([True, True, True, False]) if seed % 3 else torch.tensor([False] * 3 + [True])
    )
    return detections, faces, evaluated, part


def update_all(metric: WiderFaceAP, seeds: range) -> None:
    for seed in seeds:
        metric.update(*draw_picture(seed))


def evaluate_all(seeds: range) -> dict[str, float]:
    pictures = {f"e/{seed}.jpg": draw_picture(seed) for seed in seeds}
    result = evaluate_wider_face(
        {name: from_corners(p[0].numpy()) for name, p in pictures.items()},
        {name: p[1].numpy() for name, p in pictures.items()},
        {
            name: {s: p[2][i].numpy() for i, s in enumerate(SETTINGS) if p[3][i]}
            for name, p in pictures.items()
        },
    )
    return {f"ap_{name}": setting.ap for name, setting in result.settings.items()}


def test_metric_equals_the_pure_function() -> None:
    metric = WiderFaceAP()
    update_all(metric, range(17))
    expected = evaluate_all(range(17))
    got = {name: value.item() for name, value in metric.compute().items()}
    assert list(got) == ["ap_easy", "ap_medium", "ap_hard", "ap_unlisted"]
    assert got == {name: pytest.approx(value, abs=1e-7) for name, value in expected.items()}
    assert all(0.1 < value < 1 for value in got.values())
    metric.reset()
    areas = {f"ap_{name}": average_precision(*curve.T) for name, curve in metric.curves.items()}
    assert areas == pytest.approx(expected)


def test_settings_without_faces_are_left_out() -> None:
    metric = WiderFaceAP()
    none = torch.zeros(4, dtype=torch.bool)
    metric.update(torch.zeros(0, 5), torch.zeros(0, 4), torch.zeros(4, 0, dtype=torch.bool), none)
    assert metric.compute() == {}
    evaluated = torch.ones(4, 1, dtype=torch.bool)
    part = torch.tensor([False, False, True, False])
    metric.update(torch.zeros(0, 5), torch.tensor([[0.0, 0, 9, 9]]), evaluated, part)
    assert metric.compute() == {"ap_hard": torch.tensor(0.0)}


def test_reset_forgets() -> None:
    metric = WiderFaceAP()
    update_all(metric, range(5))
    metric.reset()
    update_all(metric, range(5, 9))
    expected = evaluate_all(range(5, 9))
    assert {k: v.item() for k, v in metric.compute().items()} == pytest.approx(expected, abs=1e-7)


def test_half_precision_and_gradients_are_accepted() -> None:
    metric = WiderFaceAP(("hard",))
    row = torch.tensor([[0.0, 0, 8, 8, 0.5]], dtype=torch.bfloat16, requires_grad=True)
    mask = torch.ones(1, 1, dtype=torch.bool)
    metric.update(row, torch.tensor([[0.0, 0, 9, 9]]), mask, mask[0])
    assert metric.compute()["ap_hard"] == 1


def test_a_diverged_network_is_told() -> None:
    mask = torch.ones(4, 0, dtype=torch.bool)
    with pytest.raises(InputError, match="not finite"):
        WiderFaceAP().update(torch.full((1, 5), np.nan), torch.zeros(0, 4), mask, mask.any(1))


def compute_share(rank: int, n_processes: int, n_pictures: int, alone: bool) -> dict[str, Tensor]:
    metric = WiderFaceAP()
    if alone:
        update_all(metric, range(n_pictures if rank == 0 else 0))
    else:
        update_all(metric, range(rank, n_pictures, n_processes))
    return metric.compute()


@pytest.mark.slow
@pytest.mark.parametrize("alone", [False, True], ids=["odd share", "one rank empty"])
def test_two_processes_compute_what_one_does(alone: bool) -> None:
    metric = WiderFaceAP()
    update_all(metric, range(17))
    expected = metric.compute()
    for got in run_processes(compute_share, 17, alone):
        assert got == expected
