"""Landmark error: against a loop, and faces that do not count."""

from __future__ import annotations

import math

import pytest
import torch

from secateur.metrics.landmark_error import LandmarkError, landmark_errors


def face(x: float, y: float, side: float, weight: float = 1.0) -> tuple[list[float], torch.Tensor]:
    points = torch.tensor(
        [[x + side * u, y + side * v, weight] for u, v in
         ((0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8))]
    )  # fmt: skip
    return [x, y, side, side], points


def detection(x: float, y: float, side: float, score: float, shift: float) -> list[float]:
    _, points = face(x, y, side)
    return [x, y, x + side, y + side, score, *(points[:, :2] + shift).flatten().tolist()]


def test_the_best_detection_that_overlaps_counts() -> None:
    box, points = face(10, 20, 40)
    rows = torch.tensor(
        [detection(10, 20, 40, 0.5, 9.0), detection(12, 20, 40, 0.9, 0.0),
         detection(80, 20, 40, 0.99, 0.0)]
    )  # fmt: skip
    (error,) = landmark_errors(rows, torch.tensor([box]), points[None])
    assert error.item() == pytest.approx(2 / 40)


def test_faces_without_landmarks_or_detections_do_not_count() -> None:
    first, points = face(10, 20, 40)
    second, bare = face(100, 20, 40, weight=0)
    third, missed = face(200, 20, 40)
    rows = torch.tensor([detection(10, 20, 40, 0.5, 3.0), detection(100, 20, 40, 0.5, 50.0)])
    faces = torch.tensor([first, second, third])
    errors = landmark_errors(rows, faces, torch.stack([points, bare, missed]))
    assert errors.tolist() == pytest.approx([3 * math.sqrt(2) / 40])


def test_partly_annotated_faces_count_what_is_annotated() -> None:
    box, points = face(0, 0, 10)
    points[1:, 2] = 0
    row = torch.tensor([detection(0, 0, 10, 0.5, 0.0)])
    row[0, 5] += 2
    row[0, 7] += 99
    assert landmark_errors(row, torch.tensor([box]), points[None]).tolist() == pytest.approx([0.2])


def test_metric_is_the_mean_over_faces_of_all_pictures() -> None:
    metric = LandmarkError()
    for shift in (1.0, 2.0):
        box, points = face(0, 0, 10)
        metric.update(
            torch.tensor([detection(0, 0, 10, 0.5, shift)]), torch.tensor([box]), points[None]
        )
    metric.update(torch.zeros(0, 15), torch.zeros(0, 4), torch.zeros(0, 5, 3))
    assert metric.compute().item() == pytest.approx(1.5 * math.sqrt(2) / 10)
