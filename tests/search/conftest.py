"""Make the helpers of these tests importable, and draw the faces that several of them use."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from secateur.datamodules.demo_faces import DemoFacesData

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DemoFacesData:
    root = tmp_path_factory.mktemp("faces")
    module = DemoFacesData(
        root, n_train=10, n_val=2, input_size=64, holdout=0.4, official_lists=False
    )
    module.prepare_data()
    module.setup("fit")
    return module
