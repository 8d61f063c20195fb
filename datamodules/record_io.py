"""RecordIOData: MS1M and its like as InsightFace ships them, with its verification sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from secateur.data.insightface_bin import read_bin_set
from secateur.data.insightface_rec import read_record_set
from secateur.datamodules.recognition import Labeled, RecognitionData, Verified
from secateur.errors import InputError


class RecordIOData(RecognitionData):
    """``train.rec``, ``train.idx``, ``property`` and ``.bin`` verification sets in one folder.

    Args:
        root: The folder.
        verification: Name of the verification set.
        **options: Arguments of `RecognitionData`.
    """

    def __init__(
        self,
        root: str | Path | None,
        verification: str = "lfw.bin",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.root = root
        self.verification = verification

    def read_training(self) -> Labeled:
        """Open the records."""
        records = read_record_set(self._checked_root())
        return Labeled(records, records.labels, tuple(map(str, range(records.n_identities))))

    def read_verification(self) -> Verified:
        """Read the verification set."""
        verification = read_bin_set(self._checked_root() / self.verification)
        return Verified(verification, verification.pairs(), self.verification)

    def describe(self) -> str:
        """One line for the log."""
        return f"{self.root}: {super().describe()}"

    def _checked_root(self) -> Path:
        """The root, or the remedy."""
        if self.root is None:
            raise InputError(
                "data.root is not set: give the folder that holds train.rec, train.idx, property "
                f"and {self.verification}, as data.root=/path"
            )
        return Path(self.root).expanduser()
