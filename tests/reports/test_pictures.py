from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageColor

from secateur.reports.pictures import (
    FALSE_ALARM,
    HIT,
    IGNORED,
    MISS,
    MatchedPicture,
    draw_picture,
    match_detections,
    write_page,
)

FACES = np.array([[10, 10, 30, 30], [60, 10, 30, 30], [110, 10, 30, 30]])
ROWS = np.array(
    [
        [11, 11, 30, 30, 0.9],  # hit
        [9, 9, 30, 30, 0.8],  # the same face again
        [60, 12, 30, 30, 0.3],  # hit, but with too low a score
        [110, 10, 30, 30, 0.7],  # face that is not evaluated
        [150, 50, 20, 20, 0.6],  # nothing there
    ]
)


def judge() -> MatchedPicture:
    image = np.full((90, 200, 3), 255, np.uint8)
    return match_detections(image, ROWS, FACES, [True, True, False], title="e/a.jpg")


def shows(pixels: np.ndarray, color: str) -> bool:
    return bool((pixels == ImageColor.getrgb(color)).all(axis=2).any())


def test_boxes_are_judged() -> None:
    picture = judge()
    assert picture.hits.tolist() == ROWS[:1].tolist()
    assert picture.false_alarms.tolist() == ROWS[[1, 4]].tolist()
    assert picture.ignored.tolist() == ROWS[[3]].tolist()
    assert picture.misses.tolist() == FACES[[1]].tolist()


def test_nothing_to_judge() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    picture = match_detections(image, np.empty((0, 5)), np.empty((0, 4)))
    assert len(picture.hits) == len(picture.misses) == 0
    np.testing.assert_array_equal(draw_picture(picture), image)


def test_drawing_shows_every_verdict_and_keeps_the_picture() -> None:
    picture = judge()
    pixels = draw_picture(picture)
    assert pixels.shape == (90, 200, 3)
    assert picture.image.min() == 255
    assert all(shows(pixels, color) for color in (HIT, MISS, FALSE_ALARM, IGNORED))
    assert draw_picture(picture, (100, 100)).shape == (45, 100, 3)


def test_odd_boxes_do_not_stop_the_drawing() -> None:
    rows = np.array([[-50, -50, 10, 10, 0.9], [5, 5, -9, -9, 0.9], [0, 0, 5000, 5000, 0.9]])
    image = np.zeros((40, 40, 3), np.uint8)
    draw_picture(match_detections(image, rows, np.empty((0, 4))))


def test_a_page_holds_all_pictures(tmp_path: Path) -> None:
    path = write_page(tmp_path / "page.png", [judge()] * 5, title="t" * 300, columns=4)
    with Image.open(path) as page:
        assert page.width > 4 * 440
        assert page.height > 2 * 330
        assert shows(np.asarray(page), MISS)
    write_page(path, [])
