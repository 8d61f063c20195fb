"""Model cards, as a person reads them who has to decide about a network."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from secateur.deploy.description import (
    AnchorLayout,
    Description,
    FaceCut,
    PixelFormat,
    Suppression,
)
from secateur.deploy.parity import Parity
from secateur.reports.model_card import write_model_card
from secateur.workflows.model_cards import card_of_export, write_run_card

SUMMARY: dict[str, Any] = {
    "task": "detection",
    "model": "eresfd",
    "criterion": "fpgm",
    "scope": "coupled",
    "schedule": "soft",
    "rate": 0.3,
    "seed": 0,
    "data": "demo_faces",
    "input_size": 256,
    "params_dense": 92208,
    "params_slim": 52436,
    "macs_dense": 62929344,
    "macs_slim": 35981412,
    "latency_ms_dense": 7.636042493686546,
    "latency_ms_slim": 6.15535800170619,
    "machine": "a machine, 2 cores",
    "protocol": "single",
    "ap_easy": 0.9808660745620728,
    "ap_easy_start": 0.9110225439071655,
    "ap_easy_masked": 0.16779093444347382,
}
CONFIG: dict[str, Any] = {
    "weights": None,
    "phases": {"dense_epochs": 12, "prune_epochs": 1, "finetune_epochs": 7, "lr": 0.004},
    "recover": {"reconstruct": True, "distill": True},
    "optimizer": {"lr": 0.004},
    "data": {"batch_size": 16},
}
PARITY = Parity(4, ((480, 640),), (7e-7, 2e-7), (375, 375), 6e-5, 1e-6, agrees=True)


def exported(**more: Any) -> Description:
    """What an exported file of the run says about itself."""
    values: dict[str, Any] = {
        "task": "detection",
        "name": "some-run",
        "format": "onnx",
        "outputs": ("locations", "logits"),
        "pixels": PixelFormat(mean=(123.0, 117.0, 104.0)),
        "anchors": AnchorLayout((4,), (4,), (16,)),
        "suppression": Suppression(),
        "architecture": {"name": "eresfd", "arguments": {}},
        "provenance": {"origin": "trained from scratch"},
        "figures": SUMMARY,
    }
    return Description(**(values | more))


def card_of(path: Path, description: Description, config: dict[str, Any] | None = None) -> str:
    """The text of the card of an exported file."""
    path.write_bytes(bytes(2048))
    card = card_of_export(description, path, config, PARITY)
    return write_model_card(path.with_suffix(".md"), card).read_text()


def test_the_card_of_a_run_tells_what_it_is_and_how_it_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "outputs" / "name" / "stamp"
    text = write_run_card(run, SUMMARY, CONFIG, "320 training pictures").read_text()
    for line in (
        "# EResFD pruned by FPGM",
        (
            "**Trained on drawn faces: it shows that the program works and is of no use on "
            "photographs.**"
        ),
        (
            "EResFD is a face detector with 52,436 parameters, made with secateur. It gives boxes "
            "with scores. This is the run outputs/name/stamp."
        ),
        "| parameters | 52,436 (92,208 before pruning, -43.1 %) |",
        "| multiply-accumulates for 256 x 256 pixels | 36.0 M (62.9 M before pruning, -42.8 %) |",
        (
            "Trained on drawn faces (demo_faces), with inputs of 256 x 256 pixels. 320 training "
            "pictures."
        ),
        "| start | from scratch |",
        (
            "| pruning | FPGM, filters that are tied together as one, 30.0 % of the filters; soft "
            "schedule of 1 epoch |"
        ),
        "|  | this network | before pruning | just pruned |",
        "| AP easy | 0.981 | 0.911 | 0.168 |",
        "Trained from scratch: Apache-2.0, as the project.",
        "python detect.py run=outputs/name/stamp source=FOLDER",
    ):
        assert line in text.splitlines()
    assert "taught by" not in text  # runs from scratch have no teacher
    assert str(tmp_path) not in text
    assert not re.search(r"\d\.\d{6}", text)
    assert not re.search(r"\b(params|macs|ap)_", text)


def test_the_card_of_a_file_tells_what_goes_in_and_where_it_comes_from(tmp_path: Path) -> None:
    text = card_of(tmp_path / "model.onnx", exported(), CONFIG)
    for line in (
        "# EResFD pruned by FPGM, exported for ONNX",
        "| size of the file | 2 KiB |",
        (
            "| takes | float32 (B, 3, H, W), red, green, blue in 0..255; less 123 from red, 117 "
            "from green, 104 from blue |"
        ),
        (
            "| against PyTorch | outputs differ by at most 7e-07, the same 375 faces within 6e-05 "
            "pixels on 4 pictures |"
        ),
        "| dense training | 12 epochs |",
        "Trained from scratch: Apache-2.0, as the project.",
        "secateur evaluate weights=model.onnx data=demo_faces",
    ):
        assert line in text.splitlines()
    assert "Measured before the export" in text
    assert str(tmp_path) not in text


def test_every_card_says_under_which_license(tmp_path: Path) -> None:
    known = {"origin": "clovaai/EResFD", "licence": "MIT"}
    texts = [
        card_of(tmp_path / "a.onnx", exported(figures={}, provenance=known)),
        card_of(tmp_path / "b.onnx", exported(figures={}, provenance={})),
        card_of(
            tmp_path / "c.onnx",
            exported(
                figures={**SUMMARY, "data": "widerface"},
                provenance={"origin": "started from start.pth"},
            ),
            CONFIG | {"weights": "/somewhere/start.pth"},
        ),
    ]
    found = [text.partition("## License\n\n")[2].partition("\n")[0] for text in texts]
    assert found == [
        "The weights are clovaai/EResFD: MIT.",
        "Nothing is known about the starting weights: ask whoever gave them to you.",
        (
            "The starting weights are start.pth, whose license goes on to hold. The pictures of "
            "WIDER FACE are for research use."
        ),
    ]
    assert all("None were recorded with these weights." in text for text in texts[:2])
    assert "/somewhere" not in texts[2]


def test_a_run_that_saw_a_part_of_the_pictures_says_so(tmp_path: Path) -> None:
    config = CONFIG | {"trainer": {"limit_train_batches": 2, "limit_val_batches": 1.0}}
    text = write_run_card(tmp_path, SUMMARY, config).read_text()
    told = "it was trained on a part of the pictures alone (trainer.limit_train_batches=2)"
    assert f"- A trial of the program: {told}." in text.splitlines()
    assert "A trial" not in write_run_card(tmp_path, SUMMARY, CONFIG).read_text()


def test_a_run_names_the_license_of_weights_that_are_known(tmp_path: Path, reference: Path) -> None:
    config = CONFIG | {"weights": str(reference / "weights" / "clovaai_eresfd_16.safetensors")}
    text = write_run_card(tmp_path, SUMMARY, config).read_text()
    assert "The starting weights are eresfd_16 of clovaai/EResFD: Apache-2.0." in text
    moved = CONFIG | {"weights": "/somewhere/mine.pth"}
    text = write_run_card(tmp_path, SUMMARY, moved).read_text()
    assert "The starting weights are mine.pth, whose license goes on to hold." in text


def test_eight_bits_say_what_they_cost(tmp_path: Path) -> None:
    report = {
        "figure": "average precision",
        "of_float": 0.8554123,
        "of_int8": 0.8530456,
        "cost": 0.0023667,
        "in_float": ["node_conv2d"],
        "about": "ranges from 32 training pictures, judged on 60 others",
    }
    figures = SUMMARY | {"quantization_report": report}
    text = card_of(tmp_path / "m.onnx", exported(quantization="int8", figures=figures))
    assert (
        "The figures above are of the network before its layers got eight bits. That costs 0.0024 "
        "of average precision (0.8554 to 0.8530; ranges from 32 training pictures, judged on 60 "
        "others); in float: node_conv2d."
    ) in text
    figures["quantization_report"] = report | {"of_int8": 0.86, "cost": -0.0046}
    text = card_of(tmp_path / "m.onnx", exported(quantization="int8", figures=figures))
    assert "That costs nothing of average precision (0.8554 to 0.8600;" in text
    assert "| against PyTorch, before eight bits | outputs differ by" in text
    text = card_of(
        tmp_path / "m.onnx", exported(quantization="int8", figures={"quantization_report": report})
    )
    assert "None were recorded with these weights." in text
    assert "\nEight bits cost 0.0024 of average precision" in text


def test_a_recognizer_tells_from_which_score_on_two_faces_are_one_person(tmp_path: Path) -> None:
    summary = {
        "task": "recognition",
        "model": "resnet50",
        "data": "lfw",
        "eer": 0.0512345,
        "eer_start": 0.06,
        "tar_at_far_1e-1": 0.5,
        "tar_at_far_1e-1_start": 0.6,
    }
    run = tmp_path / "run"
    run.mkdir()
    (run / "verification.json").write_text(json.dumps({"thresholds": {"1e-2": 0.41234}}))
    text = write_run_card(run, summary, {}).read_text()
    assert "| equal error rate | 0.051 | 0.060 |" in text
    assert "| TAR at FAR 1e-1 | 0.500 | 0.600 |" in text
    assert "On the verification pairs of LFW." in text
    assert "| one person from (cosine, FAR 1e-2) | 0.4123 | – |" in text  # noqa: RUF001
    assert "python embed.py" in text
    cut = FaceCut(56, 48, thresholds={"1e-2": 0.41234})
    description = exported(
        task="recognition", anchors=None, suppression=None, cut=cut, figures=summary,
        architecture={"name": "resnet50"}, pixels=PixelFormat(size=(48, 48)),
    )  # fmt: skip
    text = card_of(tmp_path / "r.onnx", description)
    assert "| one person from (cosine, FAR 1e-2) | 0.4123 | " in text
    assert "secateur evaluate weights=r.onnx data=lfw data.root=ROOT" in text


@pytest.mark.parametrize(
    ("pixels", "told"),
    [
        (PixelFormat("uint8"), "bytes (B, H, W, 3), RGB as decoded"),
        (
            PixelFormat(order="bgr", multiple=32),
            (
                "float32 (B, 3, H, W), blue, green, red in 0..255; sides filled up to multiples of "
                "32 with black, right and below"
            ),
        ),
        (
            PixelFormat(mean=(127.5,) * 3, scale=(128.0,) * 3, size=(48, 48)),
            (
                "float32 (B, 3, 48, 48), red, green, blue in 0..255; less 127.5 from red, 127.5 "
                "from green, 127.5 from blue; divided by 128"
            ),
        ),
    ],
)
def test_what_a_file_takes_is_told_in_words(tmp_path: Path, pixels: PixelFormat, told: str) -> None:
    assert f"| takes | {told} |" in card_of(tmp_path / "m.onnx", exported(pixels=pixels))
