"""Drawn things that are no face, some with a trait of one: round, two dots, skin-coloured."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from secateur.data.synthetic.appearance import draw_looks, random_color
from secateur.data.synthetic.canvas import Color, Pen, ellipse_points, shade

_SQUARE = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], dtype=np.float64)


def paint_thing(pen: Pen, generator: np.random.Generator) -> None:
    """Paint one random thing that fills about -1..1 both ways."""
    things = (
        _paint_ball,
        _paint_plain_oval,
        _paint_box,
        _paint_dots,
        _paint_clock,
        _paint_flower,
        _paint_text,
        _paint_window,
        _paint_vase,
        _paint_star,
    )
    thing: Callable[[Pen, np.random.Generator], None] = things[int(generator.integers(len(things)))]
    thing(pen, generator)


def _any_color(generator: np.random.Generator) -> Color:
    """A random colour, often that of skin, so that colour alone tells nothing."""
    return draw_looks(generator).skin if generator.random() < 0.35 else random_color(generator)


def _paint_ball(pen: Pen, generator: np.random.Generator) -> None:
    """A ball with a highlight and perhaps stripes."""
    color = _any_color(generator)
    pen.ellipse(0, 0, 1, 1, shade(color, 0.75))
    pen.ellipse(-0.06, -0.08, 0.9, 0.88, color)
    for _ in range(int(generator.integers(3))):
        tilt = generator.uniform(0, np.pi)
        arc = ellipse_points(0, 0, 0.96, generator.uniform(0.1, 0.7), tilt, 0, np.pi)
        pen.stroke(arc, 0.09, random_color(generator))
    pen.ellipse(-0.35, -0.4, 0.2, 0.14, shade(color, 1.5), -0.6)


def _paint_plain_oval(pen: Pen, generator: np.random.Generator) -> None:
    """An oval like a head, with hair perhaps, but without features."""
    color = _any_color(generator)
    pen.ellipse(0, 0, generator.uniform(0.6, 0.9), 1, color)
    if generator.random() < 0.5:
        cap = ellipse_points(0, -0.1, 0.8, 0.9, 0, np.pi, 2 * np.pi)
        pen.polygon(cap, random_color(generator))


def _paint_box(pen: Pen, generator: np.random.Generator) -> None:
    """A box seen from above."""
    color = _any_color(generator)
    depth = generator.uniform(0.2, 0.5)
    pen.polygon(_SQUARE * [0.9, 0.7] + [0, 0.25], color)
    pen.polygon(
        [(-0.9, -0.45), (-0.9 + depth, -0.45 - depth), (0.9 + depth, -0.45 - depth), (0.9, -0.45)],
        shade(color, 1.2),
    )
    pen.polygon(
        [(0.9, -0.45), (0.9 + depth, -0.45 - depth), (0.9 + depth, 0.95 - depth), (0.9, 0.95)],
        shade(color, 0.7),
    )
    if generator.random() < 0.5:
        pen.polygon(_SQUARE * [0.12, 0.7] + [0, 0.25], shade(color, 1.4))


def _paint_dots(pen: Pen, generator: np.random.Generator) -> None:
    """A plate with two or more dots: sockets, dice, buttons."""
    color = _any_color(generator)
    if generator.random() < 0.5:
        pen.polygon(_SQUARE * [0.95, 0.95], color)
    else:
        pen.ellipse(0, 0, 1, 1, color)
    dot = shade(color, 0.3) if generator.random() < 0.6 else (245, 245, 245)
    layouts = (
        [(-0.4, 0), (0.4, 0)],
        [(0, -0.4), (0, 0.4)],
        [(-0.45, -0.45), (0.45, -0.45), (-0.45, 0.45), (0.45, 0.45)],
        [(-0.5, -0.5), (0, 0), (0.5, 0.5)],
    )
    radius = generator.uniform(0.1, 0.2)
    for x, y in layouts[int(generator.integers(len(layouts)))]:
        pen.ellipse(x, y, radius, radius, dot)


def _paint_clock(pen: Pen, generator: np.random.Generator) -> None:
    """A dial with ticks and hands, or a wheel with spokes."""
    rim, dial = random_color(generator), _any_color(generator)
    pen.ellipse(0, 0, 1, 1, rim)
    pen.ellipse(0, 0, 0.86, 0.86, dial)
    for angle in np.linspace(0, 2 * np.pi, 12, endpoint=False):
        ray = np.array([np.cos(angle), np.sin(angle)])
        pen.stroke([ray * 0.7, ray * 0.82], 0.06, (30, 30, 34))
    for length, width in ((0.45, 0.1), (0.65, 0.07)):
        angle = generator.uniform(0, 2 * np.pi)
        pen.stroke([(0, 0), (length * np.cos(angle), length * np.sin(angle))], width, (30, 30, 34))


def _paint_flower(pen: Pen, generator: np.random.Generator) -> None:
    """Petals around a disc."""
    petal, count = random_color(generator), int(generator.integers(5, 9))
    for angle in np.linspace(0, 2 * np.pi, count, endpoint=False):
        pen.ellipse(0.6 * np.cos(angle), 0.6 * np.sin(angle), 0.42, 0.24, petal, angle)
    pen.ellipse(0, 0, 0.3, 0.3, _any_color(generator))


def _paint_text(pen: Pen, generator: np.random.Generator) -> None:
    """A sign with letters."""
    pen.polygon(_SQUARE * [1.3, 0.5], _any_color(generator))
    letters = "".join(
        chr(code) for code in generator.integers(65, 91, int(generator.integers(2, 6)))
    )
    scale = float(np.hypot(*pen.matrix[:, 0])) / 38
    x, y = pen.place([(-1.15, 0.25)])[0]
    cv2.putText(
        pen.image,
        letters,
        (int(x), int(y)),
        cv2.FONT_HERSHEY_DUPLEX,
        max(scale, 0.2),
        (*random_color(generator), 255),
        max(1, round(scale * 1.5)),
        cv2.LINE_AA,
    )


def _paint_window(pen: Pen, generator: np.random.Generator) -> None:
    """A frame with panes, or a chequered cloth."""
    count = int(generator.integers(2, 5))
    first, second = _any_color(generator), random_color(generator)
    pen.polygon(_SQUARE, shade(first, 0.7))
    step = 2 / count
    for row in range(count):
        for column in range(count):
            centre = [-1 + (column + 0.5) * step, -1 + (row + 0.5) * step]
            color = second if (row + column) % 2 else first
            pen.polygon(_SQUARE * step * 0.44 + centre, color)


def _paint_vase(pen: Pen, generator: np.random.Generator) -> None:
    """A vase: symmetric like a head, with a band."""
    color = _any_color(generator)
    y = np.linspace(-1, 1, 15)
    wave, waist = generator.uniform(1.5, 3.5), generator.uniform(0.4, 0.6)
    x = waist + 0.3 * np.sin(y * wave + generator.uniform(0, 6))
    pen.polygon(np.concatenate([np.column_stack([x, y]), np.column_stack([-x, y])[::-1]]), color)
    pen.stroke([(-x[8], y[8]), (x[8], y[8])], 0.12, random_color(generator))
    pen.stroke([(-x[5], y[5]), (x[5], y[5])], 0.06, shade(color, 0.6))


def _paint_star(pen: Pen, generator: np.random.Generator) -> None:
    """A star or gear."""
    count = int(generator.integers(5, 12))
    angle = np.linspace(0, 2 * np.pi, 2 * count, endpoint=False)
    radius = np.where(np.arange(2 * count) % 2, generator.uniform(0.4, 0.8), 1.0)
    pen.polygon(
        np.column_stack([radius * np.cos(angle), radius * np.sin(angle)]), _any_color(generator)
    )
    pen.ellipse(0, 0, 0.22, 0.22, random_color(generator))
