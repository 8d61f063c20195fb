"""Settings of a pruning: everything that decides which filters a network loses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from difflib import get_close_matches
from typing import Any

from secateur.errors import InputError
from secateur.pruning.criteria import check_criterion
from secateur.pruning.layers import check_rate
from secateur.pruning.ranking import check_scope
from secateur.pruning.targets import Target, read_target
from secateur.schema import is_number


@dataclass(frozen=True, slots=True)
class PruningSettings:
    """The one list of pruning arguments: ``conf/pruning`` with rates, target and seed.

    ``prune``, ``Pruner``, ``train.py``, ``search.py`` and the recipes take it, and a search writes
    it beside the rates that it found.

    Args:
        criterion: What scores filters: ``fpgm``, ``l1``, ``l2``, ``batchnorm``, ``random``,
            ``taylor`` or ``taylor_weight``.
        rate: Fraction of filters to remove, in [0, 1), from layers without a rate of their own.
        rates: Rates of groups, in [0, 1).
        groups: Patterns of layer names per group; empty puts every layer under ``rate``.
        exclude: Patterns of layer names that are never pruned.
        mask_batchnorm: Whether a pruned filter loses its batch-norm scale and shift too.
        scope: What is ranked against what: ``independent``, ``coupled``, ``global`` or
            ``global_coupled``.
        min_keep: Share of the filters of each layer that a global ranking or a target leaves, in
            [0, 1); one filter stays in any case.
        align: Numbers of filters become multiples of this, or stay whole.
        equal: Whether the slim network must compute what the masked one does. False lets layer
            norms and group norms lose channels too: their statistics then run over those that
            stay, and the slim network is proved equal to the masked one normalised like that.
        target: Instead of a rate, one of ``sparsity``, ``params``, ``macs`` and ``latency`` with
            its value, see ``secateur.pruning.targets``. Rates then say how fast layers shrink
            relative to each other, and go as far as it takes.
        seed: Seed of the criterion ``random``, which then picks the same filters every time.
        remove_dead: Whether dead filters, whose weights are all zero or denormal, are removed
            before any other of their layer, see ``secateur.cost.dead_filters``. They count
            within the rate.

    Raises:
        InputError: If a name is unknown or a number out of range.

    Example:
        >>> settings = PruningSettings("l1", rate=0.5, scope="coupled")
        >>> settings.size is None
        True
        >>> PruningSettings(target={"macs": 0.5}).size
        Target(quantity='macs', value=0.5, amount=None)
    """

    criterion: str = "fpgm"
    rate: float = 0.3
    rates: Mapping[str, float] = field(default_factory=dict)
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    exclude: Sequence[str] = ()
    mask_batchnorm: bool = True
    scope: str = "independent"
    min_keep: float = 0.1
    align: int = 1
    equal: bool = True
    target: Mapping[str, float | str | None] = field(default_factory=dict)
    seed: int = 0
    remove_dead: bool = False

    def __post_init__(self) -> None:
        """Check what can be checked without a network."""
        check_criterion(self.criterion)
        check_scope(self.scope)
        check_rate(self.rate, "rate")
        for group, rate in self.rates.items():
            check_rate(rate, f"rate of group {group}")
        if not 0 <= self.min_keep < 1:
            raise InputError(f"min_keep must be at least 0 and below 1, got {self.min_keep:g}")
        if self.align < 1:
            raise InputError(f"align must be at least 1, got {self.align}")
        if self.scope.endswith("coupled") and not self.mask_batchnorm:
            raise InputError(
                f"scope={self.scope} needs mask_batchnorm=true: the batch norm of a pruned filter "
                "would still emit a constant, and the filter could not be removed"
            )
        read_target(self.target)

    @property
    def size(self) -> Target | None:
        """The target as a quantity and its value; None where rates decide."""
        return read_target(self.target)

    def to_plain(self) -> dict[str, Any]:
        """Plain Python for YAML and JSON, which ``from_plain`` reads back."""
        plain = asdict(self)
        plain["groups"] = {group: list(patterns) for group, patterns in self.groups.items()}
        plain["exclude"] = list(self.exclude)
        return plain

    def with_options(self, options: Mapping[str, Any]) -> PruningSettings:
        """A copy with other values.

        Args:
            options: Values by the name of the argument.

        Raises:
            InputError: If an argument does not exist.
        """
        names = [argument.name for argument in fields(self)]
        for name in options:
            if name not in names:
                close = get_close_matches(name, names, n=1)
                hint = f"did you mean {close[0]}?" if close else f"choose from {', '.join(names)}"
                raise InputError(f"pruning has no setting {name!r}; {hint}")
        return replace(self, **options)

    @classmethod
    def from_plain(cls, plain: object, source: str) -> PruningSettings:
        """Read what ``to_plain`` wrote, checked value by value.

        Args:
            plain: A mapping as a YAML or JSON file gives it.
            source: What to call the file in an error message.

        Raises:
            InputError: If a key is unknown or a value has another type.
        """
        if not isinstance(plain, Mapping):
            raise InputError(f"{source} must hold a mapping from setting to value")
        for name, value in plain.items():
            fits = _FITS.get(str(name))
            if fits is None:
                raise InputError(
                    f"{source} has the unknown key {name!r}; known are {', '.join(_FITS)}"
                )
            if not fits(value):
                raise InputError(f"{source}: {name}={value!r} is no value for {name}")
        try:
            return cls(**{str(name): value for name, value in plain.items()})
        except InputError as error:
            raise InputError(f"{source}: {error}") from error


def _are_names(value: object) -> bool:
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and all(isinstance(name, str) for name in value)
    )


_FITS: dict[str, Callable[[Any], bool]] = {
    "criterion": lambda value: isinstance(value, str),
    "rate": is_number,
    "rates": lambda value: isinstance(value, Mapping) and all(map(is_number, value.values())),
    "groups": lambda value: isinstance(value, Mapping) and all(map(_are_names, value.values())),
    "exclude": _are_names,
    "mask_batchnorm": lambda value: isinstance(value, bool),
    "scope": lambda value: isinstance(value, str),
    "min_keep": is_number,
    "align": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "equal": lambda value: isinstance(value, bool),
    "target": lambda value: isinstance(value, Mapping),
    "seed": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "remove_dead": lambda value: isinstance(value, bool),
}
