"""DemoIdentitiesData: drawn people, written once to disk and read like LFW."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from secateur.data.synthetic.identity_set import write_drawn_identities
from secateur.data.synthetic.stored_set import place_for
from secateur.datamodules.identities import IdentitiesData

log = logging.getLogger(__name__)


class DemoIdentitiesData(IdentitiesData):
    """A demonstration without any download: cartoon people, nothing for real use.

    Args:
        root: Folder of the set; it is drawn there unless it is there already, or beside it where
            a set of another size lies.
        n_train: People to train on.
        n_images: Pictures of each of them.
        n_test: Other people, to verify.
        drawing_seed: Seed of the drawing; ``seed`` is that of shuffling and augmentation.
        **options: Arguments of `IdentitiesData`.
    """

    def __init__(
        self,
        root: str | Path,
        n_train: int = 40,
        n_images: int = 20,
        n_test: int = 40,
        drawing_seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(root, **{"pairs": "pairs.txt", **options})
        self.n_train = n_train
        self.n_images = n_images
        self.n_test = n_test
        self.drawing_seed = drawing_seed

    def prepare_data(self) -> None:
        """Draw the set, if it is not there; one process per machine does it."""
        if self._draw():
            log.info("drew %d + %d people to %s", self.n_train, self.n_test, self.root)
        log.warning(
            "DEMO DATA: these are drawn cartoons; a network trained on them knows no real people"
        )

    def setup(self, stage: str | None = None) -> None:
        """Read the set; draw it first where `prepare_data` has not run."""
        self._draw()
        super().setup(stage)

    def describe(self) -> str:
        """One line for the log."""
        return f"DEMO of drawn people, {super().describe()}"

    def _draw(self) -> bool:
        about = {"n_train": self.n_train, "n_images": self.n_images, "n_test": self.n_test}
        self.root = place_for(self._checked_root(), {**about, "seed": self.drawing_seed})
        return write_drawn_identities(
            self.root, self.n_train, self.n_images, self.n_test, self.drawing_seed
        )
