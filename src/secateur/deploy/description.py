"""Description: what an exported file says about itself, and the JSON beside it.

A file that leaves the project is of use only with its preprocessing, its anchors and its
thresholds. All of it travels as one JSON text: inside the file where the format has room, and
beside it. Nothing in it is executed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from secateur.deploy.checksum import FIELD, UNKNOWN
from secateur.errors import InputError
from secateur.files import write_json
from secateur.readers import parse_json, read_text
from secateur.schema import check_version, is_count, is_number, shown

FORMAT = "secateur-export"
VERSION = 1
KEY = "secateur"
"""Name of the text in the metadata of a file."""

_REMEDY = "export the network again with export.py"
_TOLD = 3  # differences that are told by name


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """What a network takes.

    Attributes:
        type: ``float32`` (B, 3, H, W), preprocessed, or ``uint8`` (B, H, W, 3), as decoded.
        order: Order of the color channels of a preprocessed image.
        mean: Red, green and blue that are subtracted from values in 0..255.
        scale: What red, green and blue are divided by after that.
        multiple: The sides of a picture have to be multiples of this many pixels: black is added at
            the right and at the bottom. A file that takes ``uint8`` does all of this by itself.
        size: Height and width where they are fixed; None takes any.
    """

    type: Literal["float32", "uint8"] = "float32"
    order: Literal["rgb", "bgr"] = "rgb"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    multiple: int = 1
    size: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class AnchorLayout:
    """Where the anchors of a detector lie; ``secateur.detectors.anchors`` makes them.

    Attributes:
        cell_strides: Pixels per cell of each level; a level has ``ceil(pixels / stride)`` cells.
        strides: Pixels between neighboring anchors of each level.
        sizes: Width of the anchors of each level in pixels.
        ratio: Height over width.
        variance: Factors of offsets and of logarithms of sizes.
    """

    cell_strides: tuple[int, ...]
    strides: tuple[int, ...]
    sizes: tuple[int, ...]
    ratio: float = 1.0
    variance: tuple[float, float] = (0.1, 0.2)


@dataclass(frozen=True, slots=True)
class PointLayout:
    """What a detector of points says at the cells of its levels; see ``secateur.detectors.points``.

    Attributes:
        strides: Pixels per cell of each level; the sides of an input are multiples of all.
        root: Whether a score is the square root of class times objectness, or their product.
        landmarks: Whether five landmarks of every face are told.
    """

    strides: tuple[int, ...] = (8, 16, 32)
    root: bool = True
    landmarks: bool = True


@dataclass(frozen=True, slots=True)
class Suppression:
    """Thresholds from the outputs of a detector to faces.

    Attributes:
        inside: Whether the file decodes and suppresses by itself.
        score_threshold: Only anchors with a higher face probability count.
        iou_threshold: A box is dropped if a better one overlaps it by more.
        max_candidates: Boxes that enter, the best first; 0 for all above the threshold.
        max_faces: Boxes that leave.
    """

    inside: bool = False
    score_threshold: float = 0.05
    iou_threshold: float = 0.3
    max_candidates: int = 5000
    max_faces: int = 750


@dataclass(frozen=True, slots=True)
class FaceCut:
    """How a recognizer wants a face cut out.

    Attributes:
        center: Share of the shorter side of a picture of one face that is kept, the middle square.
        shorter_side: What is left is resized to that shorter side ...
        side: ... and the middle square of this side is shown.
        flip: Whether the embedding is the mean of those of a picture and its mirror image.
        thresholds: Cosine similarity from which two pictures count as one person, for each false
            accept rate that the run's own verification pairs support.
    """

    shorter_side: int
    side: int
    center: float = 1.0
    flip: bool = False
    thresholds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Description:
    """What an exported file is.

    Attributes:
        task: ``detection`` or ``recognition``.
        name: Short name of the network, for tables and pictures.
        format: ``onnx``, ``torchscript`` or ``executorch``.
        outputs: Names of the outputs in order.
        pixels: What the network takes.
        anchors: Of a detector with anchors.
        points: Of a detector of points.
        suppression: Of a detector.
        cut: Of a recognizer.
        architecture: Name and arguments that build the dense network.
        quantization: ``none``, ``fp16`` or ``int8``.
        provenance: Where the weights come from, and their license.
        figures: What was measured of the network, with the conditions.
    """

    task: Literal["detection", "recognition"]
    name: str
    format: str
    outputs: tuple[str, ...]
    pixels: PixelFormat
    anchors: AnchorLayout | None = None
    points: PointLayout | None = None
    suppression: Suppression | None = None
    cut: FaceCut | None = None
    architecture: Mapping[str, Any] = field(default_factory=dict)
    quantization: str = "none"
    provenance: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        """The description as JSON, as it lies inside a file, with room for its checksum."""
        head = {"format": FORMAT, "version": VERSION, FIELD: UNKNOWN}
        return json.dumps({**head, **_plain(self)}, allow_nan=False)


def parse(text: str, source: str) -> Description:
    """Read a description.

    Args:
        text: JSON as ``Description.text`` writes it.
        source: What to call the file in a message.

    Raises:
        InputError: If it is something else, or incomplete.
    """
    values = parse_json(text, source, _REMEDY)
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise InputError(f"{source} does not describe a network that export.py wrote: {_REMEDY}")
    check_version(values, VERSION, source, _REMEDY)
    try:
        return _description(values)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{source} is incomplete ({error}): {_REMEDY}") from error


def beside(path: Path) -> Path:
    """The JSON of an exported file: ``model.onnx.json`` of ``model.onnx``."""
    return path.with_name(f"{path.name}.json")


def write_beside(path: Path, description: Description) -> Path:
    """Write the JSON of an exported file, with the fingerprint of the file; returns its path."""
    return write_json(
        beside(path),
        {
            "format": FORMAT,
            "version": VERSION,
            "file": path.name,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            **_plain(description),
        },
    )


def read_beside(path: Path, inside: Description | None) -> Description:
    """Read the JSON of an exported file and hold it against the file.

    Args:
        path: The exported file.
        inside: What the file says about itself, perhaps without its figures; None for nothing.

    Raises:
        InputError: If there is no description at all, or the JSON does not fit the file.
    """
    json_path = beside(path)
    if not json_path.is_file():
        if inside is None:
            raise InputError(
                f"{path} says nothing about itself and {json_path.name} is not beside it: copy "
                "both files, or export the network again with export.py"
            )
        return inside
    text = read_text(json_path, _REMEDY)
    described = parse(text, str(json_path))
    if inside is not None and not inside.figures:  # they were measured after the file was written
        inside = dataclasses.replace(inside, figures=described.figures)
    found = [] if inside is None else list(_differences(_plain(inside), _plain(described)))
    if found:
        differing = [
            f"{key} is {shown(theirs)} in the JSON and {shown(ours)} in the file"
            for key, ours, theirs in found
        ]
        more = f"; {len(differing) - _TOLD} more differ" if len(differing) > _TOLD else ""
        raise InputError(
            f"{json_path} does not fit {path.name}: {', '.join(differing[:_TOLD])}{more}; copy "
            "both from one export, or delete the JSON"
        )
    if json.loads(text).get("sha256") != hashlib.sha256(path.read_bytes()).hexdigest():
        raise InputError(
            f"{path} is not the file that {json_path.name} was written with (its SHA-256 differs): "
            f"copy both from one export again{'' if inside is None else ', or delete the JSON'}"
        )
    return described


def _plain(description: Description) -> dict[str, Any]:
    """Plain JSON values: lists for tuples."""
    values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(description)))
    # ``format`` of the file gives way to the name of this notation
    values["backend"] = values.pop("format")
    return values


def _differences(
    ours: object, theirs: object, name: str = ""
) -> Iterator[tuple[str, object, object]]:
    """Names and values of what differs within two plain values, None where one has none."""
    if not (isinstance(ours, dict) and isinstance(theirs, dict)):
        if ours != theirs:
            yield name, ours, theirs
        return
    for key in dict.fromkeys([*ours, *theirs]):
        within = f"{name}.{key}" if name else str(key)
        yield from _differences(ours.get(key), theirs.get(key), within)


_LARGEST_SIDE = 65_536  # pixels


def _is_of(value: object, kind: Any) -> bool:  # noqa: ANN401  (a type)
    """Whether a value of JSON is of the type of a field above."""
    inner = get_args(kind)
    origin = get_origin(kind)
    if origin is Literal:
        return value in inner
    if origin in (Union, UnionType):
        return any(_is_of(value, one) for one in inner)
    if origin is tuple and isinstance(value, list):
        if inner[-1] is Ellipsis:
            return all(_is_of(item, inner[0]) for item in value)
        return len(value) == len(inner) and all(map(_is_of, value, inner))
    if origin is Mapping and isinstance(value, dict):
        return all(_is_of(item, inner[1]) for item in value.values())
    if kind is Any:
        return True
    if kind is float:
        return is_number(value)
    if kind is int:
        return is_count(value, 0, 1 << 31)
    return isinstance(kind, type) and isinstance(value, kind)


def _impossible(description: Description) -> str:
    """Name of a value that no network can have; empty if there is none."""
    pixels, anchors = description.pixels, description.anchors
    suppression, cut = description.suppression, description.cut
    fits = {
        "pixels.multiple": 1 <= pixels.multiple <= _LARGEST_SIDE,
        "pixels.scale": all(value != 0 for value in pixels.scale),
        "pixels.size": pixels.size is None or all(1 <= n <= _LARGEST_SIDE for n in pixels.size),
    }
    if anchors is not None:
        levels = (anchors.cell_strides, anchors.strides, anchors.sizes)
        fits |= {
            "anchors": len({len(level) for level in levels}) == 1
            and all(1 <= n <= _LARGEST_SIDE for level in levels for n in level),
            "anchors.ratio": anchors.ratio > 0,
            "anchors.variance": all(value > 0 for value in anchors.variance),
        }
    if suppression is not None:
        thresholds = (suppression.score_threshold, suppression.iou_threshold)
        fits["suppression"] = all(0 <= value <= 1 for value in thresholds)
    if cut is not None:
        fits["cut"] = (
            all(1 <= n <= _LARGEST_SIDE for n in (cut.side, cut.shorter_side))
            and 0 < cut.center <= 1
        )
    return next((name for name, good in fits.items() if not good), "")


def _description(values: Mapping[str, Any]) -> Description:
    def part(kind: Any, name: str) -> Any:  # noqa: ANN401  (a dataclass, or nothing)
        node = values.get(name) if kind is PointLayout else values[name]  # newer than the format
        if node is None:
            return None
        known = {item.name for item in dataclasses.fields(kind)}
        if not isinstance(node, dict) or not known.issuperset(node):
            raise ValueError(f"{name} has keys that are not known")
        hints = get_type_hints(kind)
        for key, value in node.items():
            if not _is_of(value, hints[key]):
                raise ValueError(f"{name}.{key} is {shown(value)}")
        return kind(**{key: tuple(v) if isinstance(v, list) else v for key, v in node.items()})

    own = {"backend": "format"} | {key: key for key in ("name", "outputs", "quantization")}
    own |= {key: key for key in ("architecture", "provenance", "figures")}
    for key, name in own.items():
        if not _is_of(values[key], get_type_hints(Description)[name]):
            raise ValueError(f"{key} is {shown(values[key])}")
    description = Description(
        task=values["task"],
        name=str(values["name"]),
        format=str(values["backend"]),
        outputs=tuple(values["outputs"]),
        pixels=part(PixelFormat, "pixels"),
        anchors=part(AnchorLayout, "anchors"),
        points=part(PointLayout, "points"),
        suppression=part(Suppression, "suppression"),
        cut=part(FaceCut, "cut"),
        architecture=dict(values["architecture"]),
        quantization=str(values["quantization"]),
        provenance=dict(values["provenance"]),
        figures=dict(values["figures"]),
    )
    if description.pixels is None:
        raise ValueError("it has no pixels")
    if wrong := _impossible(description):
        raise ValueError(f"{wrong} has an impossible value")
    if description.task == "detection":
        if description.suppression is None:
            raise ValueError("a detector has no thresholds")
    elif description.task == "recognition":
        if description.cut is None:
            raise ValueError("a recognizer has no cut")
    else:
        raise ValueError(f"the task {description.task!r} is not known")
    return description
