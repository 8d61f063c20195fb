"""A space and an objective without any network, for tests of studies and workers."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

from secateur.search.exact_space import Candidate
from secateur.search.sampling import SamplerKind, SamplerSettings, StagedSampler, StartupPoints
from secateur.search.workers import SearchJob


class ToySpace:
    """Two rates that are what is sampled."""

    def __init__(self) -> None:
        self.variables = {"a": (0.0, 1.0), "b": (0.0, 1.0)}

    def decode(self, point: Mapping[str, float]) -> Candidate:
        return Candidate(dict(point), sum(point.values()) / 2, 0.0, feasible=True)


class ToyObjective:
    """A bowl; writes a line for every measurement, so that tests can count them."""

    def __init__(
        self, log: Path, seconds: float = 0.0, bad_from: float = 2.0, crowd: int = 1
    ) -> None:
        self.log = log
        self.crowd = crowd
        self.seconds = seconds
        self.bad_from = bad_from

    def __call__(self, rates: Mapping[str, float]) -> float:
        with self.log.open("a") as file:
            file.write(f"start {os.getpid()} {self.identity(rates)}\n")
        # Nobody ends before all have begun, however slow the machine is.
        while len({line.split()[1] for line in self.log.read_text().splitlines()}) < self.crowd:
            time.sleep(0.01)
        time.sleep(self.seconds)
        with self.log.open("a") as file:
            file.write(f"end {os.getpid()} {self.identity(rates)}\n")
        if rates["a"] >= self.bad_from:
            return float("nan")
        return -((rates["a"] - 0.3) ** 2) - (rates["b"] - 0.6) ** 2

    def identity(self, rates: Mapping[str, float]) -> str:
        return f"{rates['a']!r},{rates['b']!r}"


def toy_assignment(
    folder: Path,
    n_trials: int,
    *,
    kind: SamplerKind = "random",
    seconds: float = 0.0,
    bad_from: float = 2.0,
    crowd: int = 1,
    storage: str | None = None,
    identity: str = "toy",
    stale_after: float = 3600.0,
) -> SearchJob:
    space = ToySpace()
    settings = SamplerSettings(kind, startup=5, gp_trials=12, population=5)
    return SearchJob(
        storage=storage or folder / "study.journal",
        name="toy",
        sampler=StagedSampler(settings, StartupPoints(space.variables, 0), 0),
        n_trials=n_trials,
        n_objectives=1,
        identity=identity,
        stale_after=stale_after,
        space=space,
        evaluate=ToyObjective(folder / "log.txt", seconds, bad_from, crowd),
    )
