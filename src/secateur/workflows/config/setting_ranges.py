"""Kind and range of every number and switch in ``conf/``, checked before anything is done.

A typo such as ``seed=abc`` would otherwise end wherever the value is used first, hours later for
some, in an error that says nothing of the setting.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from omegaconf import DictConfig, OmegaConf

from secateur.errors import InputError
from secateur.schema import is_count, is_number, shown

_MANY = 1 << 31


@dataclass(frozen=True, slots=True)
class Number:
    """A number that a setting may be.

    Attributes:
        low: Smallest value.
        high: Largest value.
        whole: Whether it has no fraction.
        above: Whether ``low`` itself is too small.
        below: Whether ``high`` itself is too large.
        or_null: Whether null stands for something else.
        or_text: Text that stands for something else.
    """

    low: float = 0
    high: float = math.inf
    whole: bool = False
    above: bool = False
    below: bool = False
    or_null: bool = False
    or_text: str = ""

    def takes(self, value: object) -> bool:
        """Whether the setting may have the value."""
        if value is None or isinstance(value, str):
            return self.or_null if value is None else bool(value) and value == self.or_text
        if self.whole:
            return is_count(value, int(self.low), int(min(self.high, _MANY)))
        fits = is_number(value, self.low, self.high)
        return fits and not (
            (self.above and value == self.low) or (self.below and value == self.high)
        )

    def __str__(self) -> str:
        """What it has to be, for a sentence."""
        what = "a whole number" if self.whole else "a number"
        low = f"{'above' if self.above else 'of at least'} {self.low:,g}"
        high = "" if self.high == math.inf else f"{'below' if self.below else 'at most'} "
        bounds = f"{low} and {high}{_plain(self.high)}" if high else low
        others = ["null"] * self.or_null + [self.or_text] * bool(self.or_text)
        return " or ".join([f"{what} {bounds}", *others])


def _plain(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:g}"


def _whole(low: int = 0, high: float = math.inf, **more: bool | str) -> Number:
    return Number(low, high, whole=True, **more)  # type: ignore[arg-type]


_SHARE = Number(0, 1)
_PART = Number(0, 1, below=True)
_POSITIVE = Number(0, above=True)
_COUNT = _whole(1)
_EPOCHS = _whole(0, 1_000_000)
_SIDE = _whole(1, 16384)

_RATE = Number(0, 1, above=True, below=True)


def _is_text(value: object) -> bool:
    """Whether a value is a name, a path or a pattern; one may look like a number."""
    fits = isinstance(value, str | int | float) and not isinstance(value, bool)
    return fits and value != ""


def _is_size(value: object) -> bool:
    """Whether a value is a height and a width in pixels."""
    return isinstance(value, list) and len(value) == 2 and all(_SIDE.takes(side) for side in value)


NUMBERS: dict[str, Number] = {
    "seed": _whole(0, (1 << 32) - 1),
    "rate": _PART,
    "holdout": _PART,
    # data
    "data.batch_size": _COUNT,
    "data.eval_batch_size": _COUNT,
    "data.input_size": _SIDE,
    "data.num_workers": _whole(0, 1024, or_null=True),
    "data.holdout": _PART,
    "data.unlabelled_share": _PART,
    "data.mosaic": _SHARE,
    "data.centre": Number(0, 1, above=True),
    "data.enlarge": Number(),
    "data.min_images": _COUNT,
    "data.n_*": _COUNT,
    # training
    "phases.*lr": Number(),
    "phases.*_epochs": _EPOCHS,
    "model.published_epochs": _EPOCHS,
    "optimizer.lr": Number(or_null=True),
    "optimizer.momentum": _PART,
    "optimizer.weight_decay": Number(),
    "scheduler.final": Number(),
    "scheduler.warmup": _SHARE,
    "scheduler.patience": _whole(),
    "trainer.accumulate_grad_batches": _COUNT,
    "trainer.check_val_every_n_epoch": _COUNT,
    "trainer.gradient_clip_val": Number(or_null=True),
    "trainer.limit_*_batches": Number(),
    "recover.average": _PART,
    "recover.clip": Number(or_null=True),
    "recover.holdout": _PART,
    "recover.lr": Number(),
    "recover.pictures": _COUNT,
    "recover.views.*": Number(),
    "recover.weight_decay": Number(),
    "recover.*.picture_share": _SHARE,
    "recover.*.temperature": _POSITIVE,
    "recover.*.distillation": Number(),
    "recover.*.labels": Number(),
    "recover.*.logits": Number(),
    "recover.*.probabilities": Number(),
    "callbacks.sample_pictures.n_pictures": _COUNT,
    # pruning and search
    "pruning.align": _COUNT,
    "pruning.every_n_epochs": _COUNT,
    "pruning.min_keep": _PART,
    "n_trials": _COUNT,
    "n_workers": _whole(1, 4096),
    "search_size": _whole(1, 16384, or_null=True),
    "stale_after": _POSITIVE,
    "train_steps": _whole(or_text="epoch"),
    "objective.*lr": _POSITIVE,
    "objective.weight_decay": Number(),
    "objective.identities": _RATE,
    "objective.views.*": Number(),
    "objective.calibration_batches": _whole(),
    "objective.batches": _COUNT,
    "objective.*batch_size": _COUNT,
    "objective.pairs": _COUNT,
    "objective.pictures": _COUNT,
    "objective.reconstruct": _whole(),
    "sampler.population": _whole(2),
    "sampler.startup": _whole(),
    "sampler.gp_trials": _whole(),
    "space.highest_rate": _RATE,
    "space.lowest_removed": _PART,
    "space.*_weight": Number(),
    # evaluation and files for devices
    "limit": _whole(1, or_null=True),
    "page_pictures": _whole(),
    "page_score": _SHARE,
    "protocol.looks.max_faces": _COUNT,
    "protocol.looks.max_pixels": Number(1),
    "protocol.looks.pixels": _SIDE,
    "protocol.looks.min_score": _SHARE,
    "protocol.looks.iou_threshold": _SHARE,
    "protocol.looks.smaller_than": Number(),
    "protocol.looks.larger_than": Number(),
    "protocol.looks.smaller*": _POSITIVE,
    "protocol.looks.larger": Number(1, above=True),
    "protocol.postprocess.max_*": _COUNT,
    "protocol.postprocess.*_threshold": _SHARE,
    "limits.max_*": _COUNT,
    "limits.*_threshold": _SHARE,
    "min_score": _SHARE,
    "threads": _whole(1, 1024, or_null=True),
    "count": _COUNT,
    "far": Number(0, 1, above=True),
    "batch_size": _COUNT,
    "runs": _COUNT,
    "warmup": _whole(),
    "max_seconds": _POSITIVE,
    "calibration.judged": _COUNT,
    "calibration.pictures": _COUNT,
    "calibration.tolerance": _SHARE,
    "calibration.largest_cost": _SHARE,
}
"""Pattern of keys -> what they may be; the first pattern that a key fits counts."""

SWITCHES = (
    *("print_config", "progress", "data.download", "data.validate_on_holdout"),
    *("pruning.equal", "pruning.mask_*", "pruning.remove_dead", "pruning.scatter"),
    *(
        "objective.hold",
        "recover.distill",
        "recover.reconstruct",
        "recover.mask_first",
        "recover.*.freeze_batchnorm",
    ),
    *("callbacks.pruning_curve.save_steps", "trainer.deterministic", "trainer.enable_progress_bar"),
    *("fuse", "save_predictions", "draw", "show", "align", "postprocess", "end_to_end", "memory"),
    "page",
)
"""Patterns of keys that are true or false."""

TEXTS = (
    *("source", "weights", "run", "output_dir", "resume", "predictions", "ground_truth", "compare"),
    *("gallery", "detector", "yunet", "storage", "study", "references", "data.root", "data.pairs"),
    *("data.train", "data.test", "paths.*", "calibration.data", "recover.teacher", "wandb"),
)
"""Patterns of keys that are a name or a path, or null; one may look like a number."""

CHOICES = {
    "slim_from": ("last", "best"),
    "data.mode": ("max", "min"),
    "model.task": ("detection", "recognition", "baseline"),
    "only": ("all", "listed", "unlisted"),
    "space.kind": ("exact", "front", "published"),
    "objective.kind": ("ap", "loss", "verification", "distillation"),
    "sampler.kind": ("gp", "nsga2", "random", "tpe"),
}
"""Keys that take one of a few words, where nothing else says so before the work begins."""

LISTS: dict[str, tuple[str, Callable[[object], bool]]] = {
    "networks": ("a list of run folders and files", _is_text),
    "folders": ("a list of folders", _is_text),
    "data.unlabelled": ("a list of folders", _is_text),
    "recover.freeze": ("a list of patterns of names", _is_text),
    "calibration.methods": ("a list of names with at least one", _is_text),
    "backends": ("a list of names with at least one", _is_text),
    "columns": ("a list of names with at least one, or null", _is_text),
    "try_rates": ("a list of numbers above 0 and below 1", _RATE.takes),
    "sizes": ("a list of pairs of height and width, as in [[480,640]]", _is_size),
}
"""Keys -> what their lists hold, in words and as a test of each item."""

_MAY_BE_EMPTY = ("networks", "folders", "data.unlabelled", "recover.freeze")

NAMES = ("model.name", "data.name", "protocol.name")
"""Keys that become a part of the name of a folder."""

_OF_OBJECTS = ("model.network", "model.lightning", "trial")
"""What is handed to objects that check it themselves, and may be the user's own."""


def check_settings(config: DictConfig) -> None:
    """Refuse a setting of the wrong kind or out of range.

    Args:
        config: Composed configuration of any command.

    Raises:
        InputError: Of the first such setting; names it and what it may be.
    """
    for key, value in settings_in(OmegaConf.to_container(config, resolve=True)):
        wanted = wanted_of(key, value)
        if wanted is not None:
            raise InputError(f"{key}={shown(value).strip(chr(39))} must be {wanted}")


def wanted_of(key: str, value: object) -> str | None:
    """What a setting has to be, where it is something else.

    Example:
        >>> wanted_of("data.batch_size", 0)
        'a whole number of at least 1'
        >>> wanted_of("rate", 0.3) is None
        True
    """
    if any(fnmatchcase(key, pattern) for pattern in SWITCHES):
        return None if isinstance(value, bool) else "true or false"
    if key in CHOICES:
        return None if value in CHOICES[key] else " or ".join(CHOICES[key])
    if key == "trial":
        return None if value is None or isinstance(value, Mapping) else "null, or set by a sweep"
    if key in NAMES:
        fits = isinstance(value, str) and value.isprintable() and bool(value.strip("."))
        return None if fits and not set("/\\") & set(str(value)) else "a name without a slash"
    if key in LISTS:
        what, fits_each = LISTS[key]
        is_full = isinstance(value, list) and (bool(value) or key in _MAY_BE_EMPTY)
        good = is_full and all(fits_each(item) for item in value)  # type: ignore[attr-defined]
        return None if good or (value is None and "null" in what) else what
    if key == "source" and isinstance(value, list):
        return "one picture, folder or pattern on this machine; put several pictures into a folder"
    if any(fnmatchcase(key, pattern) for pattern in TEXTS):
        return None if value is None or _is_text(value) else "a text that is not empty, or null"
    number = next((found for name, found in NUMBERS.items() if fnmatchcase(key, name)), None)
    return None if number is None or number.takes(value) else str(number)


def settings_in(value: object, key: str = "") -> Iterator[tuple[str, object]]:
    """Every setting and every part of the configuration with its full key."""
    if key:
        yield key, value
    if isinstance(value, Mapping) and key not in _OF_OBJECTS:
        for name, item in value.items():
            if item != "???":
                yield from settings_in(item, f"{key}.{name}" if key else str(name))
