from __future__ import annotations

import numpy as np
import pytest

from secateur.reports.face_drawing import draw_faces


@pytest.mark.parametrize("side", [60, 640, 2000])
def test_boxes_are_drawn_on_their_edges_and_the_picture_stays(side: int) -> None:
    pixels = np.full((side, side, 3), 128, np.uint8)
    before = pixels.copy()
    box = np.array([[0.25, 0.3, 0.75, 0.8]], np.float32) * side
    drawn = draw_faces(pixels, box, np.array([0.9], np.float32))
    assert np.array_equal(pixels, before)
    changed = (drawn != pixels).any(axis=2)
    x1, y1, x2, y2 = box[0].round().astype(int)
    assert changed[y1, x1:x2].all()
    assert changed[y1:y2, x2].all()
    assert not changed[(y1 + y2) // 2, (x1 + x2) // 2]
    thickness = int(changed[(y1 + y2) // 2, : (x1 + x2) // 2].sum())
    assert thickness <= max(4, side // 150)


def test_boxes_beyond_the_picture_and_turned_inside_out_do_no_harm() -> None:
    pixels = np.zeros((40, 50, 3), np.uint8)
    boxes = np.array([[-500, -500, 1e6, 1e6], [30, 30, 10, 10], [60, 60, 70, 70]], np.float32)
    landmarks = np.zeros((3, 5, 2), np.float32)
    drawn = draw_faces(pixels, boxes, np.array([0.1, 0.5, 0.9], np.float32), landmarks)
    assert drawn.shape == pixels.shape


def test_scores_of_neighbours_do_not_cover_each_other() -> None:
    pixels = np.zeros((300, 300, 3), np.uint8)
    boxes = np.array([[100, 100, 160, 160], [102, 100, 162, 160]], np.float32)
    one = draw_faces(pixels, boxes[:1], np.array([0.9], np.float32))
    two = draw_faces(pixels, boxes, np.array([0.9, 0.8], np.float32))
    assert (two != one).any()
