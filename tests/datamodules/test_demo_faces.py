"""DemoFacesData: draws once, then is WiderFaceData."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from secateur.datamodules.demo_faces import DemoFacesData


def test_draws_once_and_says_that_it_is_a_demo(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = DemoFacesData(tmp_path / "a" / "demo", n_train=3, n_val=2, input_size=32, num_workers=0)
    with caplog.at_level(logging.INFO):
        data.prepare_data()
    assert "drew 3 + 2 pictures" in caplog.text
    data.setup("fit")
    assert "DEMO DATA: drawn cartoon faces" in data.describe()
    assert data.coverage == "2 drawn pictures"
    assert len(data.training_pictures()) == 3
    caplog.clear()
    with caplog.at_level(logging.INFO):
        data.prepare_data()
    assert "drew" not in caplog.text


def test_setup_alone_draws_too(tmp_path: Path) -> None:
    data = DemoFacesData(tmp_path / "demo", n_train=1, n_val=1, input_size=32, num_workers=0)
    data.setup("validate")
    assert len(data.validation_pictures()) == 1


def test_drawn_pictures_of_another_size_lie_beside_the_first(tmp_path: Path) -> None:
    first = DemoFacesData(tmp_path / "set", n_train=2, n_val=1, num_workers=0)
    first.prepare_data()
    other = DemoFacesData(tmp_path / "set", n_train=1, n_val=1, num_workers=0)
    other.prepare_data()
    other.setup("fit")
    first.setup("fit")  # whose pictures are still there
    assert (len(first.training_pictures()), len(other.training_pictures())) == (2, 1)
    assert other.root == tmp_path / "set-1-1-0"
