"""Points: order, and boxes and landmarks decoded as by a loop."""

from __future__ import annotations

import math

import torch

from secateur.detectors.points import (
    STRIDES,
    decode_boxes,
    decode_landmarks,
    encode_landmarks,
    make_points,
)


def test_decoded_like_a_loop_over_cells() -> None:
    torch.manual_seed(0)
    points = make_points(64, 96)
    offsets, marks = torch.randn(len(points), 4), torch.randn(len(points), 10)
    boxes, landmarks = decode_boxes(offsets, points), decode_landmarks(marks, points)
    index = 0
    for stride in STRIDES:
        for row in range(64 // stride):
            for column in range(96 // stride):
                dx, dy, dw, dh = offsets[index].tolist()
                cx, cy = (column + dx) * stride, (row + dy) * stride
                w, h = math.exp(dw) * stride, math.exp(dh) * stride
                expected = torch.tensor([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2])
                torch.testing.assert_close(boxes[index], expected, atol=1e-3, rtol=1e-4)
                xy = marks[index].reshape(5, 2) * stride + torch.tensor([column, row]) * stride
                torch.testing.assert_close(landmarks[index], xy.flatten(), atol=1e-3, rtol=1e-4)
                index += 1
    assert index == len(points)


def test_boxes_of_a_ruined_network_do_not_overflow() -> None:
    points = make_points(32, 32)
    boxes = decode_boxes(torch.full((len(points), 4), 1e3), points)
    assert bool(boxes.isfinite().all())
    assert bool((boxes[:, 2:] - boxes[:, :2]).prod(1).isfinite().all())


def test_landmarks_are_encoded_to_what_is_decoded() -> None:
    torch.manual_seed(0)
    points = make_points(32, 32)
    landmarks = torch.rand(len(points), 5, 2) * 32
    offsets = encode_landmarks(landmarks, points)
    torch.testing.assert_close(decode_landmarks(offsets, points), landmarks.flatten(1))
