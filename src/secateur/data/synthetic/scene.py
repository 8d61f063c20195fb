"""One drawn picture: a background, things, people, and what the camera does to them."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from secateur.data.synthetic.appearance import FaceLooks, draw_looks
from secateur.data.synthetic.background import draw_background
from secateur.data.synthetic.canvas import Pen, ellipse_points, shade
from secateur.data.synthetic.clutter import paint_thing
from secateur.data.synthetic.face import face_landmarks, head_outline, paint_face

SIZES = ((360, 480), (360, 480), (480, 360), (400, 400))  # height, width

SMALLEST, LARGEST = 14.0, 200.0  # face height in pixels

_MIN_VISIBLE = 0.25

_TROUSERS = ((44, 48, 66), (70, 60, 50), (92, 92, 96), (30, 30, 34))


@dataclass(frozen=True, slots=True, eq=False)
class DrawnPicture:
    """A picture and its faces.

    Attributes:
        image: (H, W, 3) RGB.
        boxes: (G, 4) x, y, width, height in whole pixels, inside the picture.
        visible: (G,) share of each head that nothing hides.
        landmarks: (G, 5, 3) x, y and weight 1 of five landmarks, see ``landmarks``; hidden ones and
            those beyond the border too.
    """

    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    visible: NDArray[np.float64]
    landmarks: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class _Person:
    """A face in its place: centre and half face height in pixels, roll in radians."""

    looks: FaceLooks
    x: float
    y: float
    half: float
    roll: float

    def matrix(self) -> NDArray[np.float64]:
        """Units to pixels of the picture."""
        cos, sin = self.half * np.cos(self.roll), self.half * np.sin(self.roll)
        return np.array([[cos, -sin, self.x], [sin, cos, self.y]])


def draw_picture(generator: np.random.Generator) -> DrawnPicture:
    """Draw a picture with one to about ten faces.

    A face of which less than a quarter is visible has no box, like one behind a back.

    Args:
        generator: Source of chance; equal generators give equal pictures.
    """
    height, width = SIZES[int(generator.integers(len(SIZES)))]
    image = draw_background(height, width, generator)
    people = _place_people(height, width, generator)
    for _ in range(int(generator.integers(2, 9))):
        _paint_thing_behind(image, generator)
    owner = np.zeros((height, width), dtype=np.uint8)
    for number, person in enumerate(people, start=1):
        _paint_person(image, owner, number, person)
        if generator.random() < 0.15:
            _paint_obstacle(image, owner, person, generator)
    boxes, visible, landmarks = [], [], []
    for number, person in enumerate(people, start=1):
        outline = Pen(image, person.matrix()).place(head_outline(person.looks))
        share = _visible_share(owner, number, outline)
        if share >= _MIN_VISIBLE:
            boxes.append(_box_inside(outline, height, width))
            visible.append(share)
            points = face_landmarks(Pen(image, person.matrix()), person.looks)
            landmarks.append(np.column_stack([points, np.ones(len(points))]))
    return DrawnPicture(
        _photograph(image, generator),
        np.array(boxes, dtype=np.float32).reshape(-1, 4),
        np.array(visible, dtype=np.float64),
        np.array(landmarks, dtype=np.float32).reshape(-1, 5, 3),
    )


def _place_people(height: int, width: int, generator: np.random.Generator) -> list[_Person]:
    """Faces that overlap little, from far to near."""
    wanted = int(min(1 + generator.geometric(0.25), 12))
    middle = np.exp(generator.uniform(np.log(24), np.log(130)))
    people: list[_Person] = []
    taken: list[tuple[float, float, float]] = []
    for _ in range(wanted * 6):
        if len(people) == wanted:
            break
        tall = float(np.clip(middle * np.exp(generator.normal(0, 0.4)), SMALLEST, LARGEST))
        half = tall / 2
        x = generator.uniform(half * 0.8, width - half * 0.8)
        y = generator.uniform(half * 0.9, height - half * 0.9)
        near = [(x - a) ** 2 + (y - b) ** 2 < (1.15 * (half + c)) ** 2 for a, b, c in taken]
        if any(near):
            continue
        taken.append((x, y, half))
        roll = generator.normal(0, 0.2)
        people.append(_Person(draw_looks(generator), x, y, half, roll))
    people.sort(key=lambda person: person.half)
    return [
        person
        for index, person in enumerate(people)
        if not any(_stands_behind(person, nearer) for nearer in people[index + 1 :])
    ]


def _stands_behind(person: _Person, nearer: _Person) -> bool:
    """Whether a nearer person's shoulders hide a face."""
    beside = abs(person.x - nearer.x) > 1.9 * nearer.half + 0.5 * person.half
    return not beside and person.y > nearer.y + 0.6 * nearer.half


def _paint_person(
    image: NDArray[np.uint8], owner: NDArray[np.uint8], number: int, person: _Person
) -> None:
    """Paint shoulders and face, and mark whose pixels they are."""
    looks = person.looks
    upright = Pen(image, [[person.half, 0, person.x], [0, person.half, person.y]])
    trousers = _TROUSERS[sum(looks.cloth) % len(_TROUSERS)]
    legs = [[(side * 0.1, 5.5), (side * 1.5, 5.5), (side * 1.3, 11.5), (side * 0.3, 11.5)]
            for side in (-1, 1)]  # fmt: skip
    body = np.concatenate(
        [
            [(-1.7, 6.2), (-1.7, 2.2)],
            ellipse_points(0, 2.3, 1.7, 1.1, 0, np.pi, 2 * np.pi)[4:-4],
            [(1.7, 2.2), (1.7, 6.2)],
        ]
    )
    shadow = Pen(owner, upright.matrix)
    for shape, color in ((legs[0], trousers), (legs[1], trousers), (body, looks.cloth)):
        upright.polygon(shape, color)
        shadow.polygon(shape, (0, 0, 0))
    upright.stroke([(-0.5, 1.3), (0, 1.75), (0.5, 1.3)], 0.16, shade(looks.cloth, 0.7))
    _paint_patch(image, person)
    outline = Pen(image, person.matrix()).place(head_outline(looks))
    cv2.fillPoly(owner, [np.rint(outline).astype(np.int32)], number)


def _paint_patch(image: NDArray[np.uint8], person: _Person) -> None:
    """Paint a face enlarged, light it, and lay it into the picture at its size."""
    height, width = image.shape[:2]
    zoom = 1 if person.half > 32 else (2 if person.half > 14 else 4)
    reach = 1.75 * person.half
    left, top = int(max(person.x - reach, 0)), int(max(person.y - reach, 0))
    right, bottom = int(min(person.x + reach, width)), int(min(person.y + reach, height))
    patch = np.zeros(((bottom - top) * zoom, (right - left) * zoom, 4), dtype=np.uint8)
    matrix = person.matrix() - [[0, 0, left], [0, 0, top]]
    paint_face(Pen(patch, matrix * zoom), person.looks)
    small = patch
    if zoom > 1:
        small = np.asarray(
            cv2.resize(patch, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
        )
    part = image[top:bottom, left:right]
    lit = small[..., :3] * _light(person, left, top, right, bottom)[..., None]
    part[:] = np.minimum(lit + part * (1 - small[..., 3:] / np.float32(255)), 255)


def _light(person: _Person, left: int, top: int, right: int, bottom: int) -> NDArray[np.float32]:
    """Brightness (h, w) over a face: brighter where the light comes from."""
    x = (np.arange(left, right, dtype=np.float32) - np.float32(person.x)) / np.float32(person.half)
    y = (np.arange(top, bottom, dtype=np.float32) - np.float32(person.y)) / np.float32(person.half)
    looks = person.looks
    slope = x * np.float32(np.cos(looks.light)) + y[:, None] * np.float32(np.sin(looks.light))
    return np.clip(1 + np.float32(looks.contrast) * slope, 0.4, 1.25).astype(np.float32)


def _paint_thing_behind(image: NDArray[np.uint8], generator: np.random.Generator) -> None:
    """Paint a thing; faces will be painted over it."""
    height, width = image.shape[:2]
    half = np.exp(generator.uniform(np.log(7), np.log(75)))
    x, y = generator.uniform(0, width), generator.uniform(0, height)
    _paint_at(image, x, y, half, generator)


def _paint_obstacle(
    image: NDArray[np.uint8],
    owner: NDArray[np.uint8],
    person: _Person,
    generator: np.random.Generator,
) -> None:
    """Hide a part of a face behind a thing."""
    angle = generator.uniform(0, np.pi)  # from the right over the chin to the left
    distance = generator.uniform(0.6, 1.1) * person.half
    half = generator.uniform(0.35, 0.7) * person.half
    x = person.x + distance * np.cos(angle)
    y = person.y + distance * np.sin(angle)
    before = image.copy()
    _paint_at(image, x, y, half, generator)
    same = cv2.inRange(cv2.absdiff(image, before), (0, 0, 0), (0, 0, 0))
    owner[same == 0] = 0


def _paint_at(
    image: NDArray[np.uint8], x: float, y: float, half: float, generator: np.random.Generator
) -> None:
    """Paint a thing with its centre and half size in pixels."""
    tilt = generator.normal(0, 0.3)
    cos, sin = half * np.cos(tilt), half * np.sin(tilt)
    paint_thing(Pen(image, [[cos, -sin, x], [sin, cos, y]]), generator)


def _box_inside(outline: NDArray[np.float64], height: int, width: int) -> tuple[int, int, int, int]:
    """x, y, width, height of the part of an outline (n, 2) inside the picture."""
    x1, y1 = np.clip(np.floor(outline.min(axis=0)), 0, [width - 1, height - 1]).astype(int)
    x2, y2 = np.clip(np.ceil(outline.max(axis=0)), 1, [width, height]).astype(int)
    return int(x1), int(y1), int(x2 - x1), int(y2 - y1)


def _visible_share(owner: NDArray[np.uint8], number: int, outline: NDArray[np.float64]) -> float:
    """Share of a head's pixels that belong to it in the end and lie inside the picture."""
    low = np.floor(outline.min(axis=0)).astype(int)
    size = np.ceil(outline.max(axis=0)).astype(int) - low + 1
    head = np.zeros((size[1], size[0]), dtype=np.uint8)
    cv2.fillPoly(head, [np.rint(outline - low).astype(np.int32)], 1)
    return float(min(1.0, (owner == number).sum() / max(1, int(head.sum()))))


def _photograph(image: NDArray[np.uint8], generator: np.random.Generator) -> NDArray[np.uint8]:
    """Exposure, colour cast, blur and noise of a camera."""
    gain = generator.normal(1, 0.12) * (1 + generator.normal(0, 0.04, 3))
    offset = generator.normal(0, 8)
    levels = np.arange(256)[:, None] * gain + offset
    table = np.clip(np.rint(levels), 0, 255).astype(np.uint8)[None]
    image = np.asarray(cv2.LUT(image, table), dtype=np.uint8)
    if generator.random() < 0.3:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), generator.uniform(0.4, 1.1)))
    height, width = image.shape[:2]
    row, column = generator.integers(0, 128, 2)
    grain = _grain()[row : row + height, column : column + width] * generator.uniform(0, 8)
    return np.asarray(cv2.add(image, cv2.merge([grain] * 3), dtype=cv2.CV_8U), dtype=np.uint8)


@functools.cache
def _grain() -> NDArray[np.float32]:
    """Noise from which each picture takes a part; drawing it anew takes longer than a face."""
    side = 128 + max(max(size) for size in SIZES)
    return np.random.default_rng(0).standard_normal((side, side), dtype=np.float32)
