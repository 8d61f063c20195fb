"""Sampling: random points first, guided ones after, as a function of seed and trial number.

Samplers are made anew for every trial from the seed and the number of the trial. Numbers are
unique in a study, so any number of processes and machines draw different points, and a search
with one worker gives the same points again, however often it is stopped and started.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from secateur.errors import InputError
from secateur.search.process_identity import this_process

OWNER = "owner"
"""Attribute of a trial: the process that works on it."""

RESULT = "result"
"""Attribute of a trial: what came of it."""

_RENEWALS, _NOISE, _GROWTH = 40, 0.02, 1.1

SamplerKind = Literal["gp", "tpe", "nsga2", "random"]
Point = dict[str, float]


@dataclass(frozen=True, slots=True)
class SamplerSettings:
    """How points are chosen.

    Attributes:
        kind: Sampler of the guided points.
        startup: Number of random points before them.
        gp_trials: Trial from which a search by Gaussian process continues with TPE. The time to fit
            the process grows with the cube of the trials: some 0.1 s at 200, 0.5 s at 500 and
            many seconds at 1,000.
        population: Population of NSGA-II.

    Raises:
        InputError: If a setting is impossible.
    """

    kind: SamplerKind = "gp"
    startup: int = 60
    gp_trials: int = 300
    population: int = 50

    def __post_init__(self) -> None:
        """Refuse impossible settings."""
        if self.kind not in ("gp", "tpe", "nsga2", "random"):
            raise InputError(f"sampler {self.kind!r} does not exist; choose gp, tpe, nsga2, random")
        if self.startup < 1:
            raise InputError(f"sampler.startup must be at least 1, got {self.startup}")


class StartupPoints:
    """Random points by trial number, as bayes_opt draws them: variable by variable.

    Args:
        variables: Bounds by name.
        seed: Seed of the points.
        first: Point of trial 0, in addition to the random ones.
    """

    def __init__(
        self,
        variables: Mapping[str, tuple[float, float]],
        seed: int,
        first: Mapping[str, float] | None = None,
    ) -> None:
        self.variables = dict(variables)
        self.seed = seed
        self.first = None if first is None else dict(first)

    def __call__(self, number: int) -> Point:
        """The point of a trial."""
        if self.first is not None:
            if number == 0:
                return dict(self.first)
            number -= 1
        low, high = np.array(list(self.variables.values())).T
        generator = np.random.RandomState(self.seed)
        drawn = generator.uniform(size=(number + 1, len(low)))[-1]
        values = (low + (high - low) * drawn).tolist()
        return dict(zip(self.variables, values, strict=True))


class StagedSampler(BaseSampler):
    """Startup points, then the chosen sampler.

    Args:
        settings: How points are chosen.
        points: Startup points.
        seed: Seed of the guided points.
        identify: Text that points of equal networks share. A guided point whose network is known
            is then moved by growing noise until it gives another: many points of a space give the
            same masks, and samplers that close in on the best ask for little else. None leaves
            points as they are.
    """

    def __init__(
        self,
        settings: SamplerSettings,
        points: StartupPoints,
        seed: int,
        identify: Callable[[Point], str] | None = None,
    ) -> None:
        self.settings = settings
        self.points = points
        self.seed = seed
        self.identify = identify
        self.space: dict[str, BaseDistribution] = {
            name: FloatDistribution(low, high) for name, (low, high) in points.variables.items()
        }

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """All variables together."""
        return self.space

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The point of a trial."""
        guide = self._guide(trial.number)
        point = None if guide is None else guide.sample_relative(study, trial, search_space)
        if not point:
            return self.points(trial.number)
        return point if self.identify is None else self._renew(study, trial.number, point)

    def _renew(self, study: Study, number: int, point: Point) -> Point:
        """Move a point until its network is one that has not been measured."""
        assert self.identify is not None
        known = {
            other.user_attrs.get(RESULT, {}).get("network")
            for other in study.get_trials(deepcopy=False)
        }
        generator = np.random.default_rng((self.seed, number))
        low, high = np.array(list(self.points.variables.values())).T
        start = np.array([point[name] for name in self.points.variables])
        for attempt in range(_RENEWALS):
            if self.identify(point) not in known:
                break
            noise = _NOISE * _GROWTH**attempt * (high - low) * generator.normal(size=len(low))
            moved = np.clip(start + noise, low, high).tolist()
            point = dict(zip(self.points.variables, moved, strict=True))
        return point

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Sign the trial before anything takes time, so that it is missed if this process dies."""
        study._storage.set_trial_user_attr(trial._trial_id, OWNER, this_process())

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:  # noqa: ANN401 - Optuna's signature
        """One variable alone, for a space that the study did not know before."""
        sampler = RandomSampler(seed=self._seed_of(trial.number))
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Any,  # noqa: ANN401
    ) -> None:
        """Report the trial to its sampler, which may keep notes in the study."""
        guide = self._guide(trial.number)
        if guide is not None:
            guide.after_trial(study, trial, state, values)

    def _seed_of(self, number: int) -> int:
        return int(np.random.SeedSequence((self.seed, number)).generate_state(1)[0])

    def _guide(self, number: int) -> BaseSampler | None:
        """The sampler of a trial; None for a random point."""
        kind = self.settings.kind
        if kind == "random" or number < self.settings.startup:
            return None
        seed = self._seed_of(number)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            if kind == "gp" and number < self.settings.gp_trials:
                return GPSampler(seed=seed, n_startup_trials=2, deterministic_objective=True)
            if kind == "nsga2":
                return NSGAIISampler(seed=seed, population_size=self.settings.population)
            return TPESampler(seed=seed, n_startup_trials=2, multivariate=True, constant_liar=True)
