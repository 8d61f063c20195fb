"""DemoFacesData: drawn faces, written once to disk and read like WIDER FACE."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from secateur.data.synthetic.face_set import write_drawn_set
from secateur.data.synthetic.stored_set import place_for
from secateur.datamodules.widerface import WiderFaceData

log = logging.getLogger(__name__)


class DemoFacesData(WiderFaceData):
    """A demonstration without any download: cartoon faces, nothing for real use.

    Args:
        root: Folder of the set; it is drawn there unless it is there already, or beside it where
            a set of another size lies.
        n_train: Training pictures.
        n_val: Validation pictures.
        drawing_seed: Seed of the drawing; ``seed`` is that of shuffling and augmentation.
        **options: Arguments of `WiderFaceData`.
    """

    def __init__(
        self,
        root: str | Path,
        n_train: int = 320,
        n_val: int = 64,
        drawing_seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(root, **options)
        self.n_train = n_train
        self.n_val = n_val
        self.drawing_seed = drawing_seed

    def prepare_data(self) -> None:
        """Draw the set, if it is not there; one process per machine does it."""
        if self._draw():
            log.info("drew %d + %d pictures to %s", self.n_train, self.n_val, self.root)

    def setup(self, stage: str | None = None) -> None:
        """Read the set; draw it first where `prepare_data` has not run."""
        self._draw()
        super().setup(stage)

    def _draw(self) -> bool:
        about = {"n_train": self.n_train, "n_val": self.n_val, "seed": self.drawing_seed}
        self.root = place_for(self._checked_root(), about)
        return write_drawn_set(self.root, self.n_train, self.n_val, self.drawing_seed)

    @property
    def coverage(self) -> str:
        """How many validation pictures there are, none of them official."""
        return f"{len(self.validation_pictures()):,} drawn pictures"

    def describe(self) -> str:
        """One line for the log."""
        return (
            f"{super().describe()}\n"
            "DEMO DATA: drawn cartoon faces; a network trained on them finds no real ones"
        )
