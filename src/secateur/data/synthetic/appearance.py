"""The looks of a drawn face, drawn at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from secateur.data.synthetic.canvas import Color, mix, shade

_SKINS: tuple[Color, ...] = (
    (255, 224, 196),
    (241, 194, 160),
    (224, 172, 125),
    (198, 134, 92),
    (152, 98, 64),
    (110, 70, 46),
    (78, 50, 36),
)

_HAIRS: tuple[Color, ...] = (
    (24, 20, 20),
    (60, 38, 24),
    (106, 68, 38),
    (160, 116, 60),
    (220, 188, 110),
    (150, 60, 30),
    (170, 168, 166),
    (236, 234, 230),
)

_EYES: tuple[Color, ...] = (
    (70, 44, 24),
    (40, 30, 26),
    (60, 96, 140),
    (70, 110, 70),
    (120, 90, 50),
)

_CUTS = ("bald", "short", "fringe", "parted", "long", "curly", "bun")


@dataclass(frozen=True, slots=True)
class FaceLooks:
    """What makes one face differ from another; all lengths in units of half a face height.

    Attributes:
        skin: Colour.
        hair: Colour.
        iris: Colour.
        cloth: Colour of hat and shoulders.
        cut: Kind of hair.
        width: Half width of the head.
        jaw: How much the head narrows to the chin, 0..1.
        yaw: Turn to the side, -1..1.
        pitch: Nod, -1..1.
        eye: Half width of an eye.
        smile: Curve of the mouth, -1..1.
        open_mouth: Whether teeth show.
        closed_eyes: Whether the lids are shut.
        eyewear: ``none``, ``glasses`` or ``shades``.
        beard: ``none``, ``moustache`` or ``full``.
        hat: ``none``, ``cap`` or ``brim``.
        light: Direction of the light, radians.
        contrast: Strength of the light, 0..1.
    """

    skin: Color
    hair: Color
    iris: Color
    cloth: Color
    cut: str
    width: float
    jaw: float
    yaw: float
    pitch: float
    eye: float
    smile: float
    open_mouth: bool
    closed_eyes: bool
    eyewear: str
    beard: str
    hat: str
    light: float
    contrast: float


def draw_looks(generator: np.random.Generator) -> FaceLooks:
    """Draw the looks of a face at random."""

    def chance(probability: float) -> bool:
        return bool(generator.random() < probability)

    tone = generator.random() * (len(_SKINS) - 1)
    skin = mix(_SKINS[int(tone)], _SKINS[int(tone) + 1], tone % 1)
    cut = _CUTS[int(generator.integers(len(_CUTS)))]
    bearded = chance(0.25) and cut not in ("long", "bun")
    return FaceLooks(
        skin=skin,
        hair=shade(_HAIRS[int(generator.integers(len(_HAIRS)))], generator.uniform(0.8, 1.1)),
        iris=_EYES[int(generator.integers(len(_EYES)))],
        cloth=random_color(generator),
        cut=cut,
        width=generator.uniform(0.7, 0.84),
        jaw=generator.uniform(0.08, 0.32),
        yaw=float(np.clip(generator.normal(0, 0.4), -0.9, 0.9)),
        pitch=float(np.clip(generator.normal(0, 0.3), -0.8, 0.8)),
        eye=generator.uniform(0.15, 0.2),
        smile=generator.uniform(-0.4, 1.0),
        open_mouth=chance(0.3),
        closed_eyes=chance(0.08),
        eyewear="none" if chance(0.75) else ("glasses" if chance(0.7) else "shades"),
        beard=("full" if chance(0.6) else "moustache") if bearded else "none",
        hat="none" if chance(0.82) else ("cap" if chance(0.5) else "brim"),
        light=generator.uniform(0, 2 * np.pi),
        contrast=generator.uniform(0.0, 0.35),
    )


def random_color(generator: np.random.Generator) -> Color:
    """Any colour that is neither black nor white, mostly a muted one."""
    red, green, blue = (int(value) for value in generator.integers(25, 235, 3))
    gray = (red + green + blue) // 3
    return mix((red, green, blue), (gray, gray, gray), 0.6 * generator.random())
