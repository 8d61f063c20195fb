"""evaluate.py: weights, runs and prediction files, odd pictures, and bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from PIL import Image
from safetensors.torch import save_file

from secateur.data.annotations import Annotation, write_annotations
from secateur.data.ground_truth import GroundTruth, read_ground_truth, write_ground_truth
from secateur.deploy.torchscript import export_torchscript
from secateur.detectors.eresfd import EResFD
from secateur.errors import InputError
from secateur.metrics.predictions import write_predictions
from secateur.pruning.artifact import save_slim
from secateur.workflows.deploy.describing import describe, exportable
from secateur.workflows.evaluate.faces import evaluate
from secateur.workflows.loading import load_network

CONF = Path(__file__).parents[3] / "conf"
LISTED = ["0--Parade/colour.jpg", "0--Parade/grey.jpg", "1--Walk/cmyk.jpg", "1--Walk/turned.jpg"]
OTHERS = ["9--Odd/deep.png", "9--Odd/pixel.png", "9--Odd/nobody.jpg"]


def run(*overrides: str) -> float | None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        always = ["trainer=cpu", "trainer.enable_progress_bar=false", "data.num_workers=0"]
        return evaluate(compose("evaluate", [*always, *overrides]))


def record_of(folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / "evaluation.json").read_text())
    return record


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of every kind that cameras and scanners leave behind, some on official lists."""
    folder = tmp_path_factory.mktemp("pictures")
    images = folder / "WIDER_val" / "images"
    noise = np.random.default_rng(0).integers(0, 256, (72, 96, 3), dtype=np.uint8)
    for name in (*LISTED, *OTHERS):
        (images / name).parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(noise)
    picture.save(images / LISTED[0])
    picture.convert("L").save(images / LISTED[1])
    picture.convert("CMYK").save(images / LISTED[2])
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(images / LISTED[3], exif=exif)
    cv2.imwrite(str(images / OTHERS[0]), noise.astype(np.uint16) * 257)
    Image.new("RGB", (1, 1), "white").save(images / OTHERS[1])
    picture.save(images / OTHERS[2])
    boxes = np.array([[10, 12, 16, 20], [50, 30, 8, 9]], np.float32)
    none = np.zeros((0, 4), np.float32)
    lists = folder / "wider_face_split"
    lists.mkdir()
    write_annotations(
        lists / "wider_face_val_bbx_gt.txt",
        [Annotation(name, boxes) for name in (*LISTED, OTHERS[0])]
        + [Annotation(name, none) for name in OTHERS[1:]],
    )
    truth = folder / "ground_truth"
    truth.mkdir()
    masks = np.array([[True, False], [True, False], [True, True]])
    write_ground_truth(
        truth,
        GroundTruth(
            {name: boxes.astype(np.float64) for name in LISTED}, dict.fromkeys(LISTED, masks)
        ),
    )
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """EResFD whose weights are drawn so wide that it claims to see faces."""
    torch.manual_seed(0)
    network = EResFD()
    for head in network.conf:
        torch.nn.init.normal_(head.weight, std=0.3)  # type: ignore[arg-type]
        torch.nn.init.zeros_(head.bias)  # type: ignore[arg-type]
    path = tmp_path_factory.mktemp("weights") / "wide.safetensors"
    save_file(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def slim_run(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "eresfd-fpgm"
    save_slim(folder, EResFD(), {"name": "eresfd", "arguments": {"anchor_ratio": 1.25}})
    (folder / "config.yaml").write_text(
        f"data: {{name: widerface, _target_: datamodules.widerface.WiderFaceData, root: {root}}}\n"
    )
    return folder


@pytest.mark.parametrize("protocol", ["single", "vga", "multiscale"])
def test_weights(root: Path, weights: Path, tmp_path: Path, protocol: str) -> None:
    """Everything is written, every odd picture counts, and our files score as we do."""
    run(
        f"weights={weights}",
        f"data.root={root}",
        f"protocol={protocol}",
        *(["protocol.looks.max_pixels=40000"] if protocol == "multiscale" else []),
        f"output_dir={tmp_path / 'ours'}",
        "save_predictions=true",
        "data.eval_batch_size=3",
    )
    record = record_of(tmp_path / "ours")
    assert record["protocol"]["name"] == protocol
    assert record["protocol"]["postprocess"]["max_candidates"] == 5000
    assert record["protocol"]["looks"]["min_score"] == 0.05
    assert record["parameters"] == 92208
    assert record["n_predictions"] > 100
    assert record["n_pictures"] == 7
    assert {k: v["faces"] for k, v in record["settings"].items()} == {
        "easy": 4, "medium": 4, "hard": 8, "unlisted": 2, "all": 10,
    }  # fmt: skip
    assert set(record["settings"]["hard"]["events"]) == {"0--Parade", "1--Walk"}
    assert record["seconds_per_picture"] > 0
    for name in ("plots/precision_recall.png", "plots/pictures.png", "precision_recall.csv"):
        assert (tmp_path / "ours" / name).stat().st_size > 0
    files = sorted((tmp_path / "ours" / "predictions").glob("*/*.txt"))
    assert len(files) == 7

    run(
        f"predictions={tmp_path / 'ours' / 'predictions'}",
        f"data.root={root}",
        f"output_dir={tmp_path / 'theirs'}",
    )
    theirs = record_of(tmp_path / "theirs")
    assert theirs["settings"] == record["settings"]
    assert not theirs["missing"]
    assert not theirs["unknown"]


def test_predictions_against_ground_truth_alone(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "boxes"
    (folder / "0--Parade").mkdir(parents=True)
    (folder / "0--Parade" / "colour.txt").write_text("0--Parade/colour.jpg\n1\n10 12 17 21 .9\n")
    (folder / "0--Parade" / "stray.txt").write_text("0--Parade/stray.jpg\n0\n")
    easy = run(
        f"predictions={folder}",
        f"ground_truth={root / 'ground_truth'}",
        f"output_dir={tmp_path / 'out'}",
    )
    record = record_of(tmp_path / "out")
    assert record["missing"] == LISTED[1:]
    assert record["unknown"] == ["0--Parade/stray"]
    assert record["ap"] == {"easy": 0.25, "medium": 0.25, "hard": 0.125}
    assert easy == 0.125
    shown = " ".join(capsys.readouterr().out.split())
    assert "3 without a prediction file: 0--Parade/grey.jpg" in shown
    assert "1 files left out: 0--Parade/stray" in shown


def test_run_brings_its_pictures_and_is_compared(
    root: Path, weights: Path, slim_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(f"run={slim_run}", "page_pictures=0")
    record = record_of(slim_run / "evaluation" / "single-widerface")
    assert record["n_pictures"] == 7
    assert record["kind"] == "run"
    run(f"weights={weights}", f"data.root={root}", f"output_dir={tmp_path / 'one'}", "limit=3")
    capsys.readouterr()
    run(
        f"run={slim_run}",
        f"compare={tmp_path / 'one'}",
        "page_pictures=0",
        f"output_dir={tmp_path / 'two'}",
    )
    shown = capsys.readouterr().out
    assert "Side by side" in shown
    assert "A: eresfd-fpgm" in shown
    assert "B: wide" in shown
    assert record_of(tmp_path / "two" / "A")["name"] == "eresfd-fpgm"
    both = json.loads((tmp_path / "two" / "comparison.json").read_text())
    assert [both[letter]["name"] for letter in "AB"] == ["eresfd-fpgm", "wide"]
    three = tmp_path / "three"  # both were evaluated before
    run(f"run={tmp_path / 'two' / 'A'}", f"compare={tmp_path / 'one'}", f"output_dir={three}")
    assert json.loads((three / "comparison.json").read_text()) == both
    assert "AP hard" in shown
    assert "not the same pictures" in shown


def test_exported_file_of_a_run_leaves_its_record_in_a_folder_of_its_own(
    slim_run: Path, root: Path, tmp_path: Path
) -> None:
    loaded = load_network(slim_run)
    description = describe(loaded, "torchscript")
    assert description.provenance["kind"] == "run"
    file = slim_run / "export" / "model.torchscript"
    export_torchscript(exportable(loaded, description), file, description)
    run(f"run={slim_run}", f"output_dir={tmp_path / 'run'}")
    outputs = tmp_path / "outputs"
    run(f"weights={file}", f"data.root={root}", f"paths.outputs={outputs}")
    (path,) = outputs.glob("evaluate-*/*/evaluation.json")
    expected = record_of(tmp_path / "run")["settings"]
    for name, setting in record_of(path.parent)["settings"].items():
        assert setting["ap"] == pytest.approx(expected[name]["ap"], abs=1e-3)
    assert [each.name for each in file.parent.iterdir()] == [file.name]


def test_pictures_are_chosen(root: Path, weights: Path, tmp_path: Path) -> None:
    common = (f"weights={weights}", f"data.root={root}", "page_pictures=0")
    run(*common, "only=listed", f"output_dir={tmp_path / 'listed'}")
    assert set(record_of(tmp_path / "listed")["ap"]) == {"easy", "medium", "hard"}
    run(*common, "only=unlisted", "limit=2", f"output_dir={tmp_path / 'unlisted'}")
    record = record_of(tmp_path / "unlisted")
    assert set(record["ap"]) == {"unlisted"}
    assert record["n_pictures"] == 2


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ([], "say what to evaluate"),
        (["weights=a", "run=b"], "got weights and run"),
        (["weights=nowhere.pth"], "nowhere.pth is no file"),
        (["run=nowhere"], "nowhere does not exist; give the folder of a finished run"),
        (["run={root}"], "holds no model.json"),
        (["predictions=nowhere"], "predictions=nowhere does not exist"),
        (["predictions={root}"], "scored against ground_truth="),
        (["predictions={root}", "ground_truth=nowhere"], "ground_truth=nowhere does not exist"),
        (["predictions={root}", "ground_truth={root}"], "wider_face_val.mat is missing"),
        (["predictions={root}", "ground_truth={root}/ground_truth"], "holds no prediction for any"),
        (["weights={weights}"], "data.root is not set"),
        (["weights={weights}", "ground_truth={root}"], "ground_truth goes with predictions"),
        (["weights={weights}", "data.root={root}", "only=some"], "choose all, listed or unlisted"),
        (["weights={weights}", "data.root={root}", "limit=0"], "limit=0 leaves no picture"),
        (["weights={weights}", "data.root={root}", "model=extd_32"], "does not fit EXTD"),
        (["weights={weights}", "data.root={root}", "model=yunet_onnx"], "no ONNX file"),
        (["weights={weights}", "data.root={root}", "trainer.accelerator=abacus"], "trainer: "),
        (["run={run}", "data.root=nowhere"], "data root nowhere does not exist"),
    ],
)
def test_bad_input_is_one_sentence(
    overrides: list[str], sentence: str, root: Path, weights: Path, slim_run: Path, tmp_path: Path
) -> None:
    filled = [text.format(root=root, weights=weights, run=slim_run) for text in overrides]
    with pytest.raises(InputError) as caught:
        run(*filled, f"output_dir={tmp_path}")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.filterwarnings("ignore:.*os.fork:DeprecationWarning")
def test_unreadable_picture_is_named(weights: Path, tmp_path: Path, num_workers: int) -> None:
    """Also from a loading process, whose exceptions arrive wrapped in a traceback."""
    root = tmp_path / "set"
    (root / "WIDER_val" / "images" / "e").mkdir(parents=True)
    (root / "wider_face_split").mkdir()
    annotations = root / "wider_face_split" / "wider_face_val_bbx_gt.txt"
    write_annotations(annotations, [Annotation("e/cut.jpg", np.zeros((0, 4), np.float32))])
    overrides = [
        f"weights={weights}",
        f"data.root={root}",
        "+data.official_lists=false",
        f"data.num_workers={num_workers}",
        f"output_dir={tmp_path}",
    ]
    with pytest.raises(InputError, match=r"1 of 1 pictures .* missing .* e/cut\.jpg"):
        run(*overrides)
    (root / "WIDER_val" / "images" / "e" / "cut.jpg").write_bytes(b"\xff\xd8 no picture")
    with pytest.raises(InputError) as caught:
        run(*overrides)
    assert str(caught.value).count("cut.jpg is not a readable picture") == 1
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize("name", ["A_good", "D_unsorted_missing"])
def test_golden_files_score_as_the_official_tool_says(
    reference: Path, tmp_path: Path, name: str
) -> None:
    """3,226 text files, also where they are unsorted and some are missing."""
    golden = reference / "golden" / "eval"
    truth = reference / "data" / "widerface_mini" / "ground_truth"
    with np.load(golden / f"{name}_preds.npz") as file:
        boxes, offsets, missing = file["boxes"], file["offsets"], set(file["missing"].tolist())
    names = list(read_ground_truth(truth).boxes)
    write_predictions(
        tmp_path / "boxes",
        {
            names[i]: boxes[offsets[i] : offsets[i + 1]]
            for i in range(len(names))
            if i not in missing
        },
    )
    run(
        f"predictions={tmp_path / 'boxes'}",
        f"ground_truth={truth}",
        f"output_dir={tmp_path / 'out'}",
    )
    record = record_of(tmp_path / "out")
    official = json.loads((golden / "results.json").read_text())[name]["official"]
    for setting in ("easy", "medium", "hard"):
        assert abs(record["ap"][setting] - official[setting]) < 1e-6
        assert record["settings"][setting]["faces"] == official[f"count_{setting}"]
        assert len(record["settings"][setting]["events"]) > 50
    assert len(record["missing"]) == len(missing)
