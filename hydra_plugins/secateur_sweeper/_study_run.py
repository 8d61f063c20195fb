"""One command's part of a study: ask for trials, launch them, tell what came of them."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import optuna
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.utils import get_method, instantiate
from omegaconf import OmegaConf
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, Trial, TrialState

from hydra_plugins.secateur_sweeper._launches import Job, Launches, Outcome
from hydra_plugins.secateur_sweeper._override_text import encode
from hydra_plugins.secateur_sweeper._results import show_results, write_results
from hydra_plugins.secateur_sweeper._search_space import override_line, read_space, suggest
from hydra_plugins.secateur_sweeper.study_sweeper import CHILD_VARIABLE, plain
from secateur.errors import InputError, Interrupted
from secateur.search.study import open_storage
from secateur.workflows.run_folder import locked

if TYPE_CHECKING:
    from hydra_plugins.secateur_sweeper.study_sweeper import StudySweeper

log = logging.getLogger(__name__)

MAX_STARTS = 3  # a trial that took the sweeper down with it this often is not tried again


class StudyRun:
    """Brings a study to the number of trials that was asked for.

    A trial that an earlier command left unfinished goes on in its own folder; it keeps its number
    and its values.

    Args:
        settings: The sweeper.
        folder: The sweep's folder; trial 7 runs in its subfolder 7.
        arguments: Overrides of the command line.

    Raises:
        InputError: If a setting is impossible or does not fit the study.
    """

    def __init__(self, settings: StudySweeper, folder: Path, arguments: Sequence[str]) -> None:
        assert settings.hydra_context is not None
        self.settings = settings
        self.folder = folder
        _check(settings)
        parser = OverridesParser.create(config_loader=settings.hydra_context.config_loader)
        self.space = read_space(parser, plain(settings.params), arguments)
        self.custom = None
        if settings.custom_search_space is not None:
            try:
                self.custom = get_method(settings.custom_search_space)
            except Exception as error:
                raise InputError(
                    f"hydra.sweeper.custom_search_space={settings.custom_search_space} "
                    "is not the dotted path of a function"
                ) from error
        if not self.space.distributions and self.custom is None:
            raise InputError(
                "this sweep has nothing to search: give an override such as "
                "'rate=interval(0,0.5)', hydra.sweeper.params or custom_search_space"
            )
        self.storage = str(settings.storage or folder.absolute() / "study.journal")

    def __call__(self) -> optuna.Study:
        """Run trials until there are ``n_trials``; write and print the results."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder / ".sweep.lock", busy=lambda: _refuse(self.folder)):
            study = self._open_study()
            try:
                self._run(study)
            finally:
                if any(trial.state.is_finished() for trial in study.get_trials(deepcopy=False)):
                    write_results(study, self.folder / "optimization_results.yaml")
            show_results(study, self.folder)
            return study

    def _open_study(self) -> optuna.Study:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        storage = open_storage(self.storage)
        name = self.settings.study_name
        if self.settings.storage is None:
            # A journal of our own holds one study, whatever the time in its name.
            name = next(iter(optuna.get_all_study_names(storage)), name)
        study = optuna.create_study(
            storage=storage,
            study_name=name,
            directions=[
                optuna.study.StudyDirection[direction.upper()]
                for direction in self.settings.directions
            ],
            load_if_exists=True,
        )
        directions = [direction.name.lower() for direction in study.directions]
        if directions != self.settings.directions:
            raise InputError(
                f"study {name} has direction {', '.join(directions)}, which cannot change: "
                "give that one or another hydra.sweeper.study_name"
            )
        study.sampler = self._sampler(len(study.get_trials(deepcopy=False)))
        return study

    def _sampler(self, trials: int) -> optuna.samplers.BaseSampler:
        """The sampler; a seeded one is seeded anew, so that it does not repeat its first points."""
        node = plain(self.settings.sampler)
        if node.get("seed") is not None:
            node = {**node, "seed": int(node["seed"]) + trials}
        sampler = instantiate(node)
        assert isinstance(sampler, optuna.samplers.BaseSampler)
        return sampler

    def _run(self, study: optuna.Study) -> None:
        settings = self.settings
        launches = Launches(settings.launcher, settings.retries)
        waiting = _unfinished(study)
        todo = settings.n_trials - len(study.get_trials(deepcopy=False)) + len(waiting)
        if waiting:
            log.info("trials %s go on", ", ".join(str(trial.number) for trial in waiting))
        running: dict[int, Trial] = {}
        failures = 0
        while todo > 0 or running:
            while todo > 0 and launches.under_way < settings.n_jobs:
                trial = Trial(study, waiting.pop(0)._trial_id) if waiting else study.ask()
                running[trial.number] = trial
                if launches.in_this_process:
                    trial.set_user_attr("starts", trial.user_attrs.get("starts", 0) + 1)
                launches.start(self._job(trial))
                todo -= 1
            try:
                outcomes = launches.wait()
            except (Interrupted, KeyboardInterrupt, SystemExit):
                for trial in running.values():
                    if "starts" in trial.user_attrs:  # stopped by a person, not by the trial
                        trial.set_user_attr("starts", trial.user_attrs["starts"] - 1)
                raise
            for outcome in outcomes:
                failure = self._tell(study, running.pop(outcome.number), outcome)
                failures += failure is not None
                if failures > settings.max_failure_rate * settings.n_trials:
                    raise InputError(
                        f"{failures} of {settings.n_trials} trials failed, more than "
                        f"hydra.sweeper.max_failure_rate={settings.max_failure_rate:g} "
                        f"allows; the last, trial {outcome.number}: {failure}"
                    )

    def _job(self, trial: Trial) -> Job:
        """Suggest what the trial varies, and write its overrides."""
        # The storage may say more of a trial than this sweep varies; that becomes no setting.
        asked = _Asked(trial)
        for key, distribution in self.space.distributions.items():
            suggest(asked, key, distribution)
        if self.custom is not None:
            fixed = [line for line in self.space.fixed.values() if not line.startswith("~")]
            self.custom(OmegaConf.from_dotlist([line.lstrip("+") for line in fixed]), asked)
            if twice := asked.values.keys() & self.space.fixed.keys():
                raise InputError(f"{', '.join(sorted(twice))}: both fixed and searched")
        about: dict[str, Any] = {
            "number": trial.number,
            "study": trial.study.study_name,
            "storage": self.storage,
        }
        for key in ("objective", "pruner"):
            if (value := plain(getattr(self.settings, key))) is not None:
                about[key] = value
        overrides = [
            *self.space.fixed.values(),
            *(
                override_line(key, value, self.space.distributions.get(key))
                for key, value in asked.values.items()
            ),
            *(f"++trial.{key}={encode(value)}" for key, value in about.items()),
            f"hydra.sweep.subdir={trial.number}",
        ]
        child = json.dumps({"number": trial.number, "overrides": overrides})
        overrides.append(f"hydra.job.env_set.{CHILD_VARIABLE}={encode(child)}")
        return Job(trial.number, tuple(overrides))

    def _tell(self, study: optuna.Study, trial: Trial, outcome: Outcome) -> str | None:
        """Record an outcome; returns why the trial counts as failed, or None."""
        if isinstance(outcome.error, optuna.TrialPruned):
            study.tell(trial, state=TrialState.PRUNED)
            log.info("trial %d was stopped early", trial.number)
            return None
        failure = None
        values: list[float] = []
        if outcome.error is not None:
            failure = f"{type(outcome.error).__name__}: {outcome.error}"
        else:
            values, failure = _values(outcome.value, len(study.directions))
        if failure is None:
            study.tell(trial, values)
            log.info("trial %d: %s", trial.number, ", ".join(f"{value:g}" for value in values))
            return None
        failure = " ".join(failure.split())
        trial.set_user_attr("failure", failure)
        study.tell(trial, state=TrialState.FAIL)
        log.warning("trial %d failed: %s", trial.number, failure)
        return failure


class _Asked(Trial):
    """A trial that remembers what was suggested to it, and refuses what its distribution lacks.

    Args:
        trial: The trial.
    """

    def __init__(self, trial: Trial) -> None:
        super().__init__(trial.study, trial._trial_id)
        self.values: dict[str, Any] = {}

    def _suggest(self, name: str, distribution: BaseDistribution) -> Any:  # noqa: ANN401
        """Every kind of suggestion of Optuna ends here."""
        try:
            value = super()._suggest(name, distribution)
            fits = distribution._contains(distribution.to_internal_repr(value))
        except (TypeError, ValueError, LookupError) as error:
            raise _stored_value(self, name, error) from error
        if not fits:
            raise _stored_value(self, name, value)
        self.values[name] = value
        return value


def _stored_value(trial: Trial, name: str, value: object) -> InputError:
    return InputError(
        f"the study holds a trial {trial.number} whose {name} is not what this sweep searches "
        f"({str(value)[:80]}): give the sweep that made it, or another hydra.sweep.dir"
    )


def _check(settings: StudySweeper) -> None:
    for name in ("n_trials", "n_jobs"):
        if getattr(settings, name) < 1:
            raise InputError(f"hydra.sweeper.{name} must be at least 1")
    for direction in settings.directions:
        if direction not in ("maximize", "minimize"):
            raise InputError(
                f"hydra.sweeper.direction must be maximize, minimize or a list of them, "
                f"got {direction}"
            )
    objective = plain(settings.objective)
    names = objective if isinstance(objective, list) else [objective]
    if objective is not None and len(names) != len(settings.directions):
        raise InputError("hydra.sweeper.objective and hydra.sweeper.direction differ in length")
    if settings.pruner is not None and len(settings.directions) > 1:
        raise InputError("hydra.sweeper.pruner stops trials of one objective only: set it to null")


def _refuse(folder: Path) -> NoReturn:
    raise InputError(f"another command is sweeping in {folder} already")


def _unfinished(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that an earlier command started; one that was started too often fails here."""
    left = []
    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        if trial.user_attrs.get("starts", 0) >= MAX_STARTS:
            log.warning("trial %d never came back from %d starts", trial.number, MAX_STARTS)
            study.tell(trial.number, state=TrialState.FAIL)
        else:
            left.append(trial)
    return left


def _values(returned: object, count: int) -> tuple[list[float], str | None]:
    """Objective values out of what a task function returned, or what is wrong with them."""
    several = list(returned) if isinstance(returned, list | tuple) else [returned]
    if len(several) != count:
        return [], f"{count} objectives expected, the job returned {len(several)}"
    values = []
    for value in several:
        try:
            values.append(float(str(value)))
        except (TypeError, ValueError):
            return [], f"the job returned {value!r}, which is no number"
        if math.isnan(values[-1]):
            return [], "the objective is NaN"
    return values, None
