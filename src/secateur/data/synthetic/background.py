"""Drawn backgrounds: gradients, blobs, walls, streets and meadows."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from secateur.data.synthetic.appearance import random_color
from secateur.data.synthetic.canvas import Pen, mix, shade

Rgb = NDArray[np.uint8]


def draw_background(height: int, width: int, generator: np.random.Generator) -> Rgb:
    """A picture (H, W, 3) without any face or thing in front."""
    image = _gradient(height, width, generator)
    pen = Pen(image, [[1, 0, 0], [0, 1, 0]])
    kind = generator.integers(5)
    if kind == 0:
        _paint_houses(pen, generator)
    elif kind == 1:
        _paint_wall(pen, generator)
    elif kind == 2:
        _paint_meadow(pen, generator)
    elif kind == 3:
        _paint_stripes(pen, generator)
    return _with_blobs(image, generator, strength=45 if kind == 4 else 18)


def _gradient(height: int, width: int, generator: np.random.Generator) -> Rgb:
    """Four random corners, blended."""
    base = np.array(random_color(generator), dtype=np.float32)
    corners = base + generator.normal(0, 30, (2, 2, 3)).astype(np.float32)
    share = np.linspace(0, 1, 32, dtype=np.float32)[:, None]
    sides = corners[0] * (1 - share[..., None]) + corners[1] * share[..., None]
    blended = sides[:, :1] * (1 - share) + sides[:, 1:] * share
    small = np.clip(blended, 0, 255).astype(np.uint8)
    return np.asarray(cv2.resize(small, (width, height)), dtype=np.uint8)


def _with_blobs(image: Rgb, generator: np.random.Generator, strength: float) -> Rgb:
    """Soft irregular light and colour."""
    height, width = image.shape[:2]
    cells = int(generator.integers(4, 24))
    noise = generator.normal(0, strength / 2, (cells, cells, 3))
    noise += generator.normal(0, strength / 2, (cells, cells, 1))
    soft = cv2.resize(noise.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.add(image, soft, dtype=cv2.CV_8U), dtype=np.uint8)


def _rectangle(x: float, y: float, width: float, height: float) -> list[tuple[float, float]]:
    """Corners of an upright rectangle."""
    return [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]


def _paint_houses(pen: Pen, generator: np.random.Generator) -> None:
    """A row of houses with windows."""
    height, width = pen.image.shape[:2]
    ground = height * generator.uniform(0.6, 0.9)
    pen.polygon(_rectangle(0, ground, width, height), random_color(generator))
    x = -generator.uniform(0, 60)
    while x < width:
        wide, tall = generator.uniform(50, 130), generator.uniform(0.4, 1.0) * ground
        wall = random_color(generator)
        pen.polygon(_rectangle(x, ground - tall, wide, tall), wall)
        pane = mix(wall, (230, 225, 180), 0.5) if generator.random() < 0.5 else shade(wall, 0.5)
        step = generator.uniform(20, 34)
        for row in np.arange(ground - tall + 8, ground - step, step):
            for column in np.arange(x + 7, x + wide - step * 0.6, step):
                pen.polygon(_rectangle(column, row, step * 0.5, step * 0.6), pane)
        x += wide


def _paint_wall(pen: Pen, generator: np.random.Generator) -> None:
    """Bricks or tiles."""
    height, width = pen.image.shape[:2]
    brick = random_color(generator)
    wide, tall = generator.uniform(30, 70), generator.uniform(14, 40)
    shift = generator.choice([0.0, 0.5])
    for row in range(int(height / tall) + 1):
        for column in range(-1, int(width / wide) + 1):
            x = (column + shift * (row % 2)) * wide
            color = shade(brick, generator.uniform(0.88, 1.1))
            pen.polygon(_rectangle(x + 1.5, row * tall + 1.5, wide - 3, tall - 3), color)


def _paint_meadow(pen: Pen, generator: np.random.Generator) -> None:
    """Sky, hills and leaves."""
    height, width = pen.image.shape[:2]
    x = np.linspace(-10, width + 10, 24)
    for depth in range(3):
        crest = height * (0.45 + 0.18 * depth)
        crest = crest + 24 * np.sin(x / generator.uniform(40, 120) + generator.uniform(0, 6))
        green = (int(generator.integers(30, 110)), int(generator.integers(90, 180)), 60)
        line = np.column_stack([x, crest])
        pen.polygon([*line.tolist(), (width + 10, height + 10), (-10, height + 10)], green)
    for _ in range(int(generator.integers(10, 40))):
        radius = generator.uniform(3, 14)
        leaf = shade((70, 140, 60), generator.uniform(0.6, 1.4))
        pen.ellipse(
            generator.uniform(0, width),
            generator.uniform(height * 0.4, height),
            radius,
            radius * generator.uniform(0.3, 1),
            leaf,
            generator.uniform(0, np.pi),
        )


def _paint_stripes(pen: Pen, generator: np.random.Generator) -> None:
    """Slanted stripes."""
    height, width = pen.image.shape[:2]
    color, angle = random_color(generator), generator.uniform(0, np.pi)
    step = generator.uniform(16, 60)
    along = np.array([np.cos(angle), np.sin(angle)]) * (width + height)
    across = np.array([-np.sin(angle), np.cos(angle)])
    middle = np.array([width / 2, height / 2])
    reach = int((width + height) / step / 2)
    for index in range(-reach, reach):
        start = middle + across * index * step
        pen.stroke([start - along, start + along], step * 0.45, color)
