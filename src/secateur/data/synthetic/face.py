"""One drawn face, painted in units of half a face height."""

from __future__ import annotations

import numpy as np

from secateur.data.synthetic.appearance import FaceLooks
from secateur.data.synthetic.canvas import Pen, Points, ellipse_points, mix, shade

EYE_X, EYE_Y = 0.32, -0.12

MOUTH_X = 0.27

NOSE_Y = 0.22


def head_outline(looks: FaceLooks) -> Points:
    """The head from forehead to chin (28, 2); its bounding box is the face's box."""
    points = ellipse_points(0, 0, looks.width, 1.0)
    lower = np.clip(points[:, 1], 0, None)
    points[:, 0] *= 1 - looks.jaw * lower**2
    points[:, 0] -= 0.06 * looks.yaw * lower  # the chin points where the face looks
    return points


def paint_face(pen: Pen, looks: FaceLooks) -> None:
    """Paint head, hair and features; the head fills -1..1 in height."""
    _paint_hair_behind(pen, looks)
    _paint_neck_and_ears(pen, looks)
    pen.polygon(head_outline(looks), looks.skin)
    features = _feature_pen(pen, looks)
    _paint_cheeks(features, looks)
    if looks.beard == "full":
        _paint_full_beard(pen, looks)
    _paint_nose(features, looks)
    _paint_mouth(features, looks)
    for side in (-1, 1):
        _paint_eye(features, looks, side)
    _paint_hair_before(pen, looks)
    if looks.eyewear != "none":
        _paint_eyewear(features, looks)
    if looks.hat != "none":
        _paint_hat(pen, looks)


def face_landmarks(pen: Pen, looks: FaceLooks) -> Points:
    """Centers of the eyes, nose tip and corners of the mouth (5, 2), in pixels of the pen's image.

    The order is that of ``data.landmarks``: the first eye is the left one in the picture.
    """
    eyes = [(-EYE_X, EYE_Y), (EYE_X, EYE_Y)]
    corner_y = 0.5 if looks.open_mouth else 0.52
    mouth = [(-MOUTH_X, corner_y), (MOUTH_X, corner_y)]
    return _feature_pen(pen, looks).place([*eyes, (_lean(looks), NOSE_Y), *mouth])


def _lean(looks: FaceLooks) -> float:
    """How far the nose tip lies beside the middle of a turned face."""
    return 0.14 * looks.yaw


def _feature_pen(pen: Pen, looks: FaceLooks) -> Pen:
    """A pen for what lies on the front of the head: it moves and narrows as the head turns."""
    narrowing = 1 - 0.28 * abs(looks.yaw)
    turned = np.array(
        [[narrowing, 0, 0.34 * looks.yaw * looks.width], [0, 1, 0.12 * looks.pitch], [0, 0, 1]]
    )
    return Pen(pen.image, pen.matrix @ turned)


def _paint_hair_behind(pen: Pen, looks: FaceLooks) -> None:
    """Hair that the head covers."""
    dark = shade(looks.hair, 0.8)
    if looks.cut == "long":
        wide = looks.width + 0.2
        pen.ellipse(0, -0.3, wide, 0.95, dark)
        pen.polygon([(-wide, -0.3), (wide, -0.3), (wide + 0.05, 1.3), (-wide - 0.05, 1.3)], dark)
    elif looks.cut == "bun":
        pen.ellipse(0, -1.22, 0.32, 0.28, dark)
    elif looks.cut == "curly":
        for angle in np.linspace(np.pi * 0.98, np.pi * 2.02, 9):
            x, y = 0.98 * looks.width * np.cos(angle), -0.15 + 0.92 * np.sin(angle)
            pen.ellipse(x, y, 0.27, 0.27, dark)
    if looks.cut != "bald":
        pen.ellipse(0, -0.25, looks.width + 0.07, 0.86, dark)


def _paint_neck_and_ears(pen: Pen, looks: FaceLooks) -> None:
    """Neck, and the ears that the turn leaves in sight."""
    neck = shade(looks.skin, 0.8)
    half = 0.42 * looks.width / 0.77
    pen.polygon([(-half, 0.5), (half, 0.5), (half * 1.15, 1.5), (-half * 1.15, 1.5)], neck)
    for side in (-1, 1):
        if side * looks.yaw < 0.35 and looks.cut != "long":
            x = side * looks.width * 0.98
            pen.ellipse(x, 0.02, 0.13, 0.22, shade(looks.skin, 0.92))
            pen.ellipse(x, 0.02, 0.06, 0.13, shade(looks.skin, 0.74))


def _paint_cheeks(pen: Pen, looks: FaceLooks) -> None:
    """A touch of red."""
    blush = mix(looks.skin, (214, 84, 70), 0.16)
    for side in (-1, 1):
        pen.ellipse(side * 0.42, 0.28, 0.17, 0.12, blush)


def _paint_full_beard(pen: Pen, looks: FaceLooks) -> None:
    """Beard along the jaw, open around the mouth."""
    outline = head_outline(looks)
    lower = outline[outline[:, 1] > 0.2]
    pen.polygon(np.concatenate([lower * [1.03, 1.05], [(-0.3, 0.3), (0.3, 0.3)]]), looks.hair)


def _paint_nose(pen: Pen, looks: FaceLooks) -> None:
    """Bridge, tip and nostrils."""
    lean = _lean(looks)
    dark = shade(looks.skin, 0.74)
    pen.polygon([(lean * 0.3 - 0.035, -0.12), (lean * 0.3 + 0.03, -0.12), (lean + 0.13, 0.24),
                 (lean - 0.13, 0.24)], shade(looks.skin, 0.9))  # fmt: skip
    pen.ellipse(lean, NOSE_Y, 0.12, 0.075, shade(looks.skin, 0.93))
    for side in (-1, 1):
        pen.ellipse(lean + side * 0.065, 0.26, 0.034, 0.024, shade(dark, 0.7))


def _paint_mouth(pen: Pen, looks: FaceLooks) -> None:
    """Lips, teeth when it is open, and the moustache above."""
    lips = mix(shade(looks.skin, 0.72), (170, 40, 50), 0.45)
    x = np.linspace(-MOUTH_X, MOUTH_X, 9)
    bow = (1 - (x / MOUTH_X) ** 2) * 0.13 * looks.smile
    if looks.open_mouth:
        drop = (1 - (x / MOUTH_X) ** 2) * (0.14 + 0.06 * max(looks.smile, 0))
        upper = np.column_stack([x, 0.5 + bow * 0.4])
        lower = np.column_stack([x, 0.5 + bow * 0.4 + drop])
        pen.polygon(
            np.concatenate([upper * [1.1, 1] - [0, 0.035], np.add(lower, [0, 0.045])[::-1]]), lips
        )
        pen.polygon(np.concatenate([upper, lower[::-1]]), (70, 18, 22))
        pen.polygon(
            np.concatenate([upper, np.add(upper, [0, 0.05])[::-1]]) * [0.85, 1], (246, 244, 238)
        )
    else:
        line = np.column_stack([x, 0.52 + bow])
        pen.stroke(np.add(line, [0, 0.03]), 0.1, lips)
        pen.stroke(line, 0.035, shade(lips, 0.55))
    if looks.beard != "none":
        top = np.column_stack([x * 1.15, 0.4 + np.abs(x) * 0.2])
        pen.stroke(top, 0.1, shade(looks.hair, 0.9))


def _paint_eye(pen: Pen, looks: FaceLooks, side: int) -> None:
    """Eye and brow of one side."""
    x, y = side * EYE_X, EYE_Y
    brow = shade(looks.hair, 0.7)
    pen.stroke(
        [(x - 0.2, y - 0.22 - 0.03 * side), (x, y - 0.29), (x + 0.2, y - 0.22 + 0.03 * side)],
        0.075,
        brow,
    )
    pen.ellipse(x, y, looks.eye * 1.25, looks.eye * 0.85, shade(looks.skin, 0.84))
    if looks.closed_eyes:
        arc = ellipse_points(x, y - 0.03, looks.eye, 0.07, 0, 0.1 * np.pi, 0.9 * np.pi)
        pen.stroke(arc, 0.04, shade(looks.skin, 0.35))
        return
    pen.ellipse(x, y, looks.eye, looks.eye * 0.62, (250, 250, 248))
    gaze = x + 0.05 * looks.yaw
    pen.ellipse(gaze, y, looks.eye * 0.55, looks.eye * 0.58, looks.iris)
    pen.ellipse(gaze, y, looks.eye * 0.3, looks.eye * 0.3, (12, 10, 10))
    pen.ellipse(gaze - 0.03, y - 0.035, 0.02, 0.02, (255, 255, 255))
    lid = ellipse_points(x, y, looks.eye * 1.05, looks.eye * 0.66, 0, np.pi * 1.02, np.pi * 1.98)
    pen.stroke(lid, 0.04, shade(looks.skin, 0.3))


def _paint_hair_before(pen: Pen, looks: FaceLooks) -> None:
    """Hair on the forehead."""
    if looks.cut == "bald":
        return
    wide = looks.width + 0.04
    line = {"fringe": -0.42, "short": -0.62, "curly": -0.55, "bun": -0.6}.get(looks.cut, -0.55)
    cap = ellipse_points(0, -0.18, wide, 0.9, 0, np.pi * 1.05, np.pi * 1.95)
    right, left = cap[-1], cap[0]
    if looks.cut == "parted" or looks.cut == "long":
        part = -0.35 if looks.yaw > 0 else 0.35
        edge = np.array(
            [right, (0.55 * wide, line + 0.02), (part, -0.92), (-0.55 * wide, line), left]
        )
    elif looks.cut == "fringe":
        x = np.linspace(wide * 0.92, -wide * 0.92, 9)
        edge = np.column_stack([x, line + 0.05 * np.tile([0, 1], 5)[:9]])
        edge = np.concatenate([[right], edge, [left]])
    else:
        x = np.linspace(wide * 0.8, -wide * 0.8, 7)
        edge = np.column_stack([x, line - 0.14 * (1 - (x / wide) ** 2)])
        edge = np.concatenate([[right], edge, [left]])
    pen.polygon(np.concatenate([cap, edge]), looks.hair)
    shine = ellipse_points(-0.1, -0.3, wide * 0.75, 0.66, 0, np.pi * 1.2, np.pi * 1.5)
    pen.stroke(shine, 0.05, shade(looks.hair, 1.35))


def _paint_eyewear(pen: Pen, looks: FaceLooks) -> None:
    """Glasses, or dark ones."""
    frame = (28, 26, 30)
    for side in (-1, 1):
        if looks.eyewear == "shades":
            pen.ellipse(side * 0.32, -0.11, 0.26, 0.2, frame)
            pen.ellipse(side * 0.32 - 0.07, -0.17, 0.08, 0.04, (90, 92, 104))
        else:
            pen.ring(side * 0.32, -0.12, 0.25, 0.21, 0.05, frame)
        pen.stroke([(side * 0.57, -0.14), (side * looks.width * 1.05, -0.16)], 0.045, frame)
    pen.stroke([(-0.08, -0.12), (0.0, -0.15), (0.08, -0.12)], 0.05, frame)


def _paint_hat(pen: Pen, looks: FaceLooks) -> None:
    """A cap with a visor or a hat with a brim."""
    wide = looks.width + 0.1
    dome = ellipse_points(0, -0.55, wide, 0.78, 0, np.pi, 2 * np.pi)
    pen.polygon(dome, looks.cloth)
    if looks.hat == "cap":
        lean = 0.5 * looks.yaw
        pen.ellipse(lean, -0.56, wide * 0.95, 0.13, shade(looks.cloth, 0.7))
    else:
        pen.ellipse(0, -0.58, wide * 1.5, 0.16, shade(looks.cloth, 0.8))
        pen.stroke([(-wide, -0.72), (0, -0.66), (wide, -0.72)], 0.14, shade(looks.cloth, 0.5))
