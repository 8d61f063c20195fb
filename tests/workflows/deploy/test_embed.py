"""embed.py from pictures to scores and verdicts, with a network that answers at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from PIL import Image
from torch import Tensor, nn

from secateur.deploy.description import FaceCut
from secateur.deploy.face_embedder import FaceEmbedder
from secateur.errors import InputError
from secateur.workflows.deploy import embed as workflow
from secateur.workflows.loading import LoadedNetwork

CONF = Path(__file__).parents[3] / "conf"
THRESHOLDS = {"1e-1": 0.5, "1e-2": 0.9}

Run = Callable[..., dict[str, Any]]


def mean_color(images: Tensor) -> Tensor:
    """The embedding of a face is its color."""
    return images.mean(dim=(2, 3))


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """Two red faces and a blue one."""
    folder = tmp_path / "faces"
    folder.mkdir()
    colors = {"ann_1": (250, 5, 5), "ann_2": (250, 60, 5), "bob": (5, 5, 250)}
    for name, color in colors.items():
        Image.new("RGB", (20, 20), color).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs the command; the record that it wrote."""
    (tmp_path / "summary.json").write_text(json.dumps({"tar_at_far_1e-2": 0.75, "eer": 0.1}))
    loaded = LoadedNetwork("fake", "recognition", nn.Identity(), {}, run=tmp_path)
    embedder = FaceEmbedder(mean_color, FaceCut(8, 8, thresholds=THRESHOLDS), name="fake")
    monkeypatch.setattr(workflow, "network_of", lambda config: loaded)
    monkeypatch.setattr(workflow, "as_embedder", lambda loaded, **options: embedder)

    def call(source: Path, *overrides: str) -> dict[str, Any]:
        options = [f"source='{source}'", "run=none", f"output_dir={tmp_path / 'out'}", *overrides]
        with initialize_config_dir(str(CONF), version_base=None):
            folder = workflow.embed(compose("embed", options))
        values: dict[str, Any] = json.loads((folder / "embeddings.json").read_text())
        return values

    return call


def test_two_pictures_are_judged_by_the_threshold_of_the_rate_that_was_asked_for(
    run: Run, faces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = run(faces, f"compare='{faces / 'ann_1.png'}'", "far=0.01")
    (comparison,) = record["comparison"]
    assert (comparison["far"], comparison["threshold"], comparison["tar"]) == ("1e-2", 0.9, 0.75)
    scores = [answer["score"] for answer in comparison["answers"]]
    assert [answer["same"] for answer in comparison["answers"]] == [s >= 0.9 for s in scores]
    assert scores[0] == pytest.approx(1)
    assert not comparison["answers"][2]["same"]
    assert "one person from 0.9000: FAR 1e-2, TAR 0.750 on the run's pairs" in " ".join(
        capsys.readouterr().out.split()
    )


def test_a_search_gives_the_most_alike_first(run: Run, faces: Path) -> None:
    record = run(faces / "ann_1.png", f"gallery='{faces}'", "far=1e-1", "count=2")
    (answer,) = record["matches"]
    assert [Path(match["picture"]).stem for match in answer["matches"]] == ["ann_1", "ann_2"]
    assert (answer["threshold"], answer["tar"]) == (0.5, None)  # the run does not tell
    assert all(match["same"] for match in answer["matches"])


def test_a_rate_that_the_pairs_do_not_support_gives_scores_without_a_verdict(
    run: Run, faces: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record = run(faces / "bob.png", f"compare='{faces / 'ann_1.png'}'", "far=1e-6")
    assert record["comparison"][0]["answers"][0]["same"] is None
    assert "no threshold for far=1e-6: its pairs support 1e-1, 1e-2" in caplog.text


def test_a_picture_that_cannot_be_read_is_told_and_the_others_are_embedded(
    run: Run, faces: Path, tmp_path: Path
) -> None:
    (faces / "broken.png").write_bytes(b"")
    record = run(faces)
    assert len(record["pictures"]) == 3
    assert "broken.png" in record["unreadable"][0]
    rows = np.load(tmp_path / "out" / "embeddings.npy")
    assert np.allclose(np.linalg.norm(rows, axis=1), 1)


def test_comparing_and_searching_at_once_is_refused(run: Run, faces: Path) -> None:
    with pytest.raises(InputError, match="two different things"):
        run(faces, f"compare='{faces / 'bob.png'}'", f"gallery='{faces}'")


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("compare={}/nobody.png", r"compare=.*nobody.png is no file: give one picture"),
        ("gallery={}/nobody", r"gallery=.*nobody does not exist; pictures end in"),
        ("gallery={}", r"gallery=.*empty holds no picture; pictures end in [^;]*pgm$"),
    ],
)
def test_what_is_compared_with_is_looked_for_before_anything_is_loaded(
    run: Run, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str, told: str
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.delattr(workflow, "network_of")
    with pytest.raises(InputError, match=told):
        run(faces, asked.format(tmp_path / "empty"))


@pytest.mark.parametrize("asked", ["compare", "gallery"])
def test_a_refusal_leaves_nothing_behind(run: Run, faces: Path, tmp_path: Path, asked: str) -> None:
    (tmp_path / "empty.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"empty.png is not a readable picture"):
        run(faces, f"{asked}={tmp_path / 'empty.png'}")
    assert not (tmp_path / "out").exists()


def test_a_target_that_cannot_be_written_is_refused_before_anything_is_embedded(
    run: Run, faces: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").write_text("no folder")
    with pytest.raises(InputError, match=r"out cannot be written to .*set another output_dir"):
        run(faces)


def test_one_embedding_is_told_as_one(
    run: Run, faces: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        run(faces / "bob.png")
    assert "1 embedding of 3 numbers" in caplog.text
