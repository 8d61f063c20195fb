"""One step of a recipe: its folder, what it was made from, and whether it has to run."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secateur.files import write_json
from secateur.readers import read_json
from secateur.reports.summary import read_summary
from secateur.schema import Fields

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Step:
    """A step and the run folder that it fills.

    ``step.json`` in that folder remembers from which results of earlier steps the run was made,
    and names its own result, anew each time it is made.

    Attributes:
        name: What it is called, and its folder.
        folder: Its run folder.
        results: Files in it, ``summary.json`` among them, without which it has to run again.
    """

    name: str
    folder: Path
    results: tuple[str, ...]

    @property
    def record(self) -> dict[str, Any]:
        """The content of ``step.json``; empty before the first start."""
        path = self.folder / "step.json"
        if not path.exists():
            return {}
        remedy = "delete it and give the same command again, which runs this step anew"
        found = Fields(read_json(path, remedy), path, remedy)
        inputs = found.fields("inputs")
        for name in inputs.values:
            inputs.text(name)
        if "result" in found.values:
            found.text("result")
            found.number("seconds", 0)
        return found.values

    @property
    def result(self) -> str:
        """Name of the result, which later steps remember."""
        return str(self.record["result"])

    @property
    def seconds(self) -> float:
        """Time that the result took."""
        return float(self.record["seconds"])

    @property
    def complete(self) -> bool:
        """Whether all files of the result are there."""
        return all((self.folder / name).exists() for name in self.results)

    def is_done(self, inputs: Mapping[str, str]) -> bool:
        """Whether the result is there and was made from these results of earlier steps."""
        record = self.record
        return self.complete and "result" in record and record["inputs"] == dict(inputs)

    def begin(self, inputs: Mapping[str, str]) -> None:
        """Make the folder ready to begin or to go on.

        What was made from other inputs is removed; an unfinished run from the same ones stays.
        """
        record = self.record
        if record and record["inputs"] != dict(inputs):
            log.info("%s was made from what is no longer there: it starts afresh", self.folder)
            shutil.rmtree(self.folder)
        elif not self.complete:
            # A run is finished when it has a summary; this one has lost something since.
            (self.folder / "summary.json").unlink(missing_ok=True)
        write_json(self.folder / "step.json", {"inputs": dict(inputs)})

    def end(self, inputs: Mapping[str, str], seconds: float) -> None:
        """Name the result."""
        # A run that was killed between its summary and this line took the time that it says.
        own = read_summary(self.folder / "summary.json").get("wall_seconds", 0.0)
        write_json(
            self.folder / "step.json",
            {
                "inputs": dict(inputs),
                "result": os.urandom(4).hex(),
                "seconds": max(seconds, own if isinstance(own, int | float) else 0.0),
            },
        )
