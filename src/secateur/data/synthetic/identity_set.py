"""Portraits of drawn people in LFW's layout, for demonstrations and tests.

What stays of a person from picture to picture is what `draw_looks` draws once: skin, hair, eyes,
the shape of the head, beard and glasses. Pose, expression, clothes, hat, light, background and
camera are drawn anew.
"""

from __future__ import annotations

import dataclasses
import functools
import zlib
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from secateur.data.pairs import draw_pairs, write_pairs
from secateur.data.synthetic.appearance import FaceLooks, draw_looks, random_color
from secateur.data.synthetic.background import draw_background
from secateur.data.synthetic.canvas import Pen, ellipse_points
from secateur.data.synthetic.face import paint_face
from secateur.data.synthetic.stored_set import check_count, write_once
from secateur.errors import InputError

SIDE = 129

FOLDS = 10

PAIRS_PER_KIND = 30

TEST_IMAGES = 8

Split = Literal["train", "test"]

_SPLITS: tuple[Split, ...] = ("train", "test")


def identity_looks(seed: int, split: Split, identity: int) -> FaceLooks:
    """What a person looks like; people of the two splits differ."""
    return draw_looks(np.random.default_rng((seed, _SPLITS.index(split), identity)))


def draw_portrait(seed: int, split: Split, identity: int, number: int) -> NDArray[np.uint8]:
    """One picture (129, 129, 3) of a person, RGB, a function of the arguments alone."""
    generator = np.random.default_rng((seed, _SPLITS.index(split), identity, number))
    looks = _vary(identity_looks(seed, split, identity), generator)
    image = draw_background(SIDE, SIDE, generator)
    half = SIDE * generator.uniform(0.29, 0.36)
    x, y = SIDE * (0.5 + generator.normal(0, 0.025, 2))
    roll = generator.normal(0, 0.12)
    cos, sin = half * np.cos(roll), half * np.sin(roll)
    shoulders = ellipse_points(0, 2.3, 1.7, 1.1, 0, np.pi, 2 * np.pi)
    Pen(image, [[half, 0, x], [0, half, y]]).polygon(shoulders, looks.cloth)
    paint_face(Pen(image, [[cos, -sin, x], [sin, cos, y]]), looks)
    return _photograph(image, looks, generator)


def write_drawn_identities(
    root: str | Path, n_train: int, n_images: int, n_test: int, seed: int = 0
) -> bool:
    """Draw ``train/``, ``test/`` and ``pairs.txt`` once.

    Args:
        root: Folder to make.
        n_train: People to train on, at least 2.
        n_images: Pictures of each of them, at least 2.
        n_test: People to verify, at least 20; each has 8 pictures, and no fold shares one.
        seed: Seed of the drawing.

    Returns:
        Whether anything was drawn.

    Raises:
        InputError: If a number is out of range, or the folder holds something else.
    """
    if n_train < 2 or n_images < 2 or n_test < 2 * FOLDS or seed < 0:
        raise InputError(
            f"drawn identities need 2 people with 2 pictures to train on, {2 * FOLDS} to test and "
            f"a seed from 0, got n_train={n_train}, n_images={n_images}, n_test={n_test}, "
            f"seed={seed}"
        )
    check_count(n_train * n_images + n_test * TEST_IMAGES)
    record = {
        "n_train": n_train,
        "n_images": n_images,
        "n_test": n_test,
        "seed": seed,
        "fingerprint": zlib.crc32(_jpeg(seed, "train", 0, 1)),
    }
    return write_once(root, record, functools.partial(_write, record=record))


def _write(root: Path, record: dict[str, int]) -> None:
    counts = {"train": record["n_images"], "test": TEST_IMAGES}
    for split in _SPLITS:
        for identity in range(record[f"n_{split}"]):
            folder = root / split / _name(split, identity)
            folder.mkdir(parents=True)
            for number in range(1, counts[split] + 1):
                content = _jpeg(record["seed"], split, identity, number)
                (folder / f"{folder.name}_{number:04d}.jpg").write_bytes(content)
    labels = np.repeat(np.arange(record["n_test"]), TEST_IMAGES)
    pairs = draw_pairs(labels, PAIRS_PER_KIND, FOLDS, record["seed"])
    rows = []
    for first, second in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True):
        (one, i), (other, j) = divmod(first, TEST_IMAGES), divmod(second, TEST_IMAGES)
        names = [_name("test", one), str(i + 1), _name("test", other), str(j + 1)]
        rows.append(tuple(names if one != other else [names[0], names[1], names[3]]))
    write_pairs(root / "pairs.txt", rows, FOLDS, PAIRS_PER_KIND)


def _name(split: Split, identity: int) -> str:
    return f"Drawn_{split.title()}_{identity:03d}"


def _jpeg(seed: int, split: Split, identity: int, number: int) -> bytes:
    bgr = cv2.cvtColor(draw_portrait(seed, split, identity, number), cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 90])
    return bytes(encoded)


def _vary(looks: FaceLooks, generator: np.random.Generator) -> FaceLooks:
    """What one picture changes about a person."""
    shades = looks.eyewear == "none" and generator.random() < 0.05
    return dataclasses.replace(
        looks,
        yaw=float(np.clip(generator.normal(0, 0.45), -0.9, 0.9)),
        pitch=float(np.clip(generator.normal(0, 0.3), -0.8, 0.8)),
        smile=generator.uniform(-0.4, 1.0),
        open_mouth=bool(generator.random() < 0.3),
        closed_eyes=bool(generator.random() < 0.08),
        cloth=random_color(generator),
        eyewear="shades" if shades else looks.eyewear,
        hat="none" if generator.random() < 0.85 else ("cap", "brim")[int(generator.integers(2))],
        light=generator.uniform(0, 2 * np.pi),
        contrast=generator.uniform(0.0, 0.45),
    )


def _photograph(
    image: NDArray[np.uint8], looks: FaceLooks, generator: np.random.Generator
) -> NDArray[np.uint8]:
    """Light from one side, exposure, colour cast, blur and noise."""
    across = np.linspace(-1, 1, SIDE, dtype=np.float32)
    slope = across * np.cos(looks.light) + across[:, None] * np.sin(looks.light)
    lit = image * (1 + looks.contrast * slope[..., None])
    lit *= generator.normal(1, 0.15) * (1 + generator.normal(0, 0.06, 3))
    if generator.random() < 0.3:
        lit = np.asarray(cv2.GaussianBlur(lit, (0, 0), generator.uniform(0.5, 1.5)))
    lit += generator.normal(0, generator.uniform(0, 8), lit.shape)
    return np.asarray(np.clip(np.rint(lit), 0, 255), dtype=np.uint8)
