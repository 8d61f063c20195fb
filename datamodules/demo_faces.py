"""DemoFacesData: drawn faces, written once to disk and read like WIDER FACE."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from datamodules.widerface import WiderFaceData
from secateur.data.drawn_faces import write_drawn_set

log = logging.getLogger(__name__)


class DemoFacesData(WiderFaceData):
    """A demonstration without any download: cartoon faces, nothing for real use.

    Args:
        root: Folder of the set; it is drawn there unless it is there already.
        n_train: Training pictures.
        n_val: Validation pictures.
        drawing_seed: Of the drawing; ``seed`` is that of shuffling and augmentation.
        **options: Arguments of `WiderFaceData`.
    """

    def __init__(
        self,
        root: str | Path,
        n_train: int = 320,
        n_val: int = 64,
        drawing_seed: int = 0,
        **options: Any,  # noqa: ANN401 - those of the parent, checked there
    ) -> None:
        super().__init__(root, **options)
        self.n_train = n_train
        self.n_val = n_val
        self.drawing_seed = drawing_seed

    def prepare_data(self) -> None:
        """Draw the set, if it is not there; one process per machine does it."""
        root = self._checked_root()
        if write_drawn_set(root, self.n_train, self.n_val, self.drawing_seed):
            log.info("drew %d + %d pictures to %s", self.n_train, self.n_val, root)
        log.warning(
            "DEMO DATA: these are drawn cartoon faces; a network trained on them finds no real ones"
        )

    def setup(self, stage: str | None = None) -> None:
        """Read the set; draw it first where `prepare_data` has not run."""
        write_drawn_set(self._checked_root(), self.n_train, self.n_val, self.drawing_seed)
        super().setup(stage)

    def describe(self) -> str:
        """One line for the log."""
        return f"DEMO of drawn faces, {super().describe()}"
