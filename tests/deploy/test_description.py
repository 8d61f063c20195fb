from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from secateur.deploy.description import (
    AnchorLayout,
    Description,
    FaceCut,
    PixelFormat,
    Suppression,
    beside,
    parse,
    read_beside,
    write_beside,
)
from secateur.errors import InputError

DETECTOR = Description(
    task="detection",
    name="eresfd",
    format="onnx",
    outputs=("locations", "logits"),
    pixels=PixelFormat(mean=(123.0, 117.0, 104.0)),
    anchors=AnchorLayout((4, 8), (4, 8), (16, 32), 1.25),
    suppression=Suppression(),
    architecture={"name": "eresfd", "arguments": {}},
    provenance={"origin": "somewhere", "licence": "Apache-2.0"},
    figures={"ap_hard": 0.5},
)
RECOGNIZER = dataclasses.replace(
    DETECTOR, task="recognition", anchors=None, suppression=None, cut=FaceCut(129, 113)
)


@pytest.mark.parametrize("description", [DETECTOR, RECOGNIZER])
def test_description_survives_its_text(description: Description) -> None:
    assert parse(description.text(), "it") == description


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "does not describe a network"),
        ({"version": 9}, "version 9"),
        ({"task": "painting"}, "incomplete"),
        ({"suppression": None}, "a detector has no thresholds"),
        ({"pixels": {"type": "float32", "mean": "x"}}, "incomplete|impossible"),
        ({"anchors": {"evil": 1}}, "not known"),
        ({"pixels": {"multiple": 10**9}}, r"pixels\.multiple has an impossible value"),
        ({"pixels": {"multiple": "32"}}, r"pixels\.multiple is '32'"),
        ({"pixels": {"scale": [1, 0, 1]}}, r"pixels\.scale has an impossible value"),
        ({"pixels": {"size": [-1, 5]}}, r"pixels\.size is"),
        ({"pixels": {"order": "grb"}}, r"pixels\.order is"),
        (
            {"anchors": {"cell_strides": [0], "strides": [4], "sizes": [16]}},
            "anchors has an impossible value",
        ),
        (
            {"anchors": {"cell_strides": [4, 8], "strides": [4], "sizes": [16]}},
            "anchors has an impossible value",
        ),
        ({"suppression": {"iou_threshold": 7}}, "suppression has an impossible value"),
        ({"outputs": 3}, "incomplete"),
        ({"architecture": []}, "incomplete|not"),
    ],
)
def test_description_of_another_kind_is_refused(change: dict[str, object], message: str) -> None:
    values = json.loads(DETECTOR.text()) | change
    with pytest.raises(InputError, match=message):
        parse(json.dumps(values), "it")


def test_json_beside_a_file_is_held_against_the_file(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"weights")
    write_beside(path, DETECTOR)
    assert read_beside(path, DETECTOR) == DETECTOR
    assert read_beside(path, None) == DETECTOR
    other = dataclasses.replace(DETECTOR, pixels=PixelFormat(mean=(1.0, 2.0, 3.0)))
    with pytest.raises(InputError, match=r"does not fit model.onnx: pixels.mean is .*123.*1.0"):
        read_beside(path, other)
    path.write_bytes(b"other weights")
    with pytest.raises(InputError, match="SHA-256"):
        read_beside(path, DETECTOR)
    beside(path).write_text("{")
    with pytest.raises(InputError, match="not valid JSON"):
        read_beside(path, DETECTOR)
    beside(path).unlink()
    assert read_beside(path, DETECTOR) == DETECTOR
    with pytest.raises(InputError, match="copy both files"):
        read_beside(path, None)


@pytest.mark.parametrize(
    ("part", "change", "told"),
    [
        ("suppression", {"score_threshold": 0.2}, ["score_threshold is 0.05 {} 0.2"]),
        ("anchors", {"ratio": 1.5}, ["ratio is 1.25 {} 1.5"]),
        (
            "pixels",
            {"order": "bgr", "multiple": 32},
            ["order is 'rgb' {} 'bgr'", "multiple is 1 {} 32"],
        ),
    ],
)
def test_of_a_json_that_does_not_fit_only_what_differs_is_told(
    tmp_path: Path, part: str, change: dict[str, object], told: list[str]
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"weights")
    write_beside(path, DETECTOR)
    changed = dataclasses.replace(getattr(DETECTOR, part), **change)
    inside = dataclasses.replace(DETECTOR, **{part: changed})
    with pytest.raises(InputError) as refusal:
        read_beside(path, inside)
    values = [f"{part}.{value.format('in the JSON and')} in the file" for value in told]
    assert str(refusal.value) == (
        f"{beside(path)} does not fit model.onnx: {', '.join(values)}; copy both from one export, "
        "or delete the JSON"
    )


def test_of_many_differences_the_first_are_told_and_the_others_counted(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"weights")
    write_beside(path, DETECTOR)
    inside = dataclasses.replace(DETECTOR, figures={str(n): n for n in range(6)})
    with pytest.raises(InputError, match=r"figures.0 is None .*; 4 more differ; copy both"):
        read_beside(path, inside)


def test_the_order_of_keys_makes_no_difference(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"weights")
    write_beside(path, dataclasses.replace(DETECTOR, figures={"a": 1, "b": 2}))
    turned = dataclasses.replace(DETECTOR, figures={"b": 2, "a": 1})
    assert read_beside(path, turned) == turned
