"""Prune any network in one call: score, mask, slim, prove, account."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn

from secateur.cost.report import CostReport, compare_costs
from secateur.filters import as_arguments
from secateur.pruning.pruner import Pruner
from secateur.slimming.report import SlimReport
from secateur.slimming.slim import slim


@dataclass(frozen=True, slots=True)
class PruneReport:
    """What pruning and slimming did.

    Args:
        account: Filters, parameters and MACs per layer and in total, nominal and physical apart.
        slimming: What was removed, what was folded, and what stayed and why.
        keep: Masks that were applied, per layer (n_filters,), True = kept.
    """

    account: CostReport
    slimming: SlimReport
    keep: dict[str, Tensor]

    def __str__(self) -> str:
        """A few lines for people."""
        total = self.account.total
        masked = f"{total.filters - total.kept} of {total.filters} filters masked"
        share = total.macs_slim / max(total.macs, 1)
        return (
            f"{masked}: {total.sparsity:.1%} of the parameters are zero\n"
            f"MACs {total.macs:,} became {total.macs_slim:,} ({share:.1%})\n"
            f"{self.slimming}"
        )


class PruneResult(NamedTuple):
    """The smaller network and the account of how it came about.

    Args:
        model: The slim network, in evaluation mode if the original is.
        report: What was done.
    """

    model: nn.Module
    report: PruneReport


def prune(
    model: nn.Module,
    example_inputs: Tensor | Sequence[Any],
    criterion: str = "fpgm",
    rate: float = 0.5,
    *,
    scope: str = "coupled",
    target: Mapping[str, float] | None = None,
    rates: Mapping[str, float] | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
    exclude: Sequence[str] = (),
    min_keep: float = 0.1,
    align: int = 1,
    statistics: Mapping[str, Tensor] | None = None,
    seed: int = 0,
) -> PruneResult:
    """Remove filters from a network physically; what it computes without them is proved equal.

    Args:
        model: Any network that ``trace`` accepts; it stays untouched.
        example_inputs: One input tensor or the positional arguments of the forward, on the
            network's device.
        criterion: ``fpgm``, ``l1``, ``l2``, ``batchnorm``, ``random``, or ``taylor`` and
            ``taylor_weight`` with ``statistics``.
        rate: Fraction of filters to remove, in [0, 1).
        scope: ``coupled``, ``independent``, ``global`` or ``global_coupled``; under the first and
            last all that is pruned is removed.
        target: Instead of a rate, one of ``sparsity``, ``params``, ``macs`` and ``latency`` with
            its value; see ``secateur.pruning.targets``.
        rates: Rates of groups, in [0, 1).
        groups: Patterns of layer names per group.
        exclude: Patterns of layer names that are never pruned.
        min_keep: Share of the filters of each layer that a global ranking or a target leaves.
        align: Numbers of filters become multiples of this, or stay whole.
        statistics: Scores that ``TaylorStatistics`` gathered.
        seed: Seed of the criterion ``random``.

    Returns:
        The slim network and the report.

    Raises:
        InputError: If a name or number does not fit, or the network cannot be traced.
    """
    arguments = as_arguments(example_inputs)
    masked = copy.deepcopy(model)
    pruner = Pruner(
        masked,
        arguments,
        criterion,
        rate,
        rates,
        groups,
        exclude,
        scope=scope,
        target=target,
        min_keep=min_keep,
        align=align,
        seed=seed,
    )
    pruner.statistics = dict(statistics or {})
    keep = pruner.plan()
    pruner.apply(keep)
    result = slim(masked, arguments, align=align)
    accounted = compare_costs(
        masked,
        result.model,
        arguments,
        keep=keep,
        rates=pruner.rates_of(keep),
        scores=pruner.scores,
        groups=pruner.groups,
    )
    return PruneResult(result.model, PruneReport(accounted, result.report, keep))
