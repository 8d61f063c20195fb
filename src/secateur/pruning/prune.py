"""Prune any network in one call: score, mask, slim, prove, report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from torch import Tensor, nn

from secateur.cost.report import CostReport, compare_costs
from secateur.filters import as_arguments
from secateur.network_copy import copy_network
from secateur.pruning.criteria import register_criterion
from secateur.pruning.pruner import Pruner
from secateur.pruning.reconstruction import reconstruct as refit
from secateur.pruning.settings import PruningSettings
from secateur.slimming.computed_weights import with_plain_weights
from secateur.slimming.graph.network_graph import trace
from secateur.slimming.report import SlimReport
from secateur.slimming.slim import slim


@dataclass(frozen=True, slots=True)
class PruneReport:
    """Report of a pruning: costs, what slimming did, and the masks.

    Args:
        account: Filters, parameters and MACs per layer and in total, nominal and physical apart.
        slimming: What was removed, what was absorbed, and what stayed and why.
        keep: Masks that were applied, per layer (n_filters,), True = kept.
    """

    account: CostReport
    slimming: SlimReport
    keep: dict[str, Tensor]

    def explain(self) -> str:
        """What keeps the network from becoming smaller: layers, operators, lines of source."""
        return self.slimming.explain()

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
    """The smaller network and the report of how it came about.

    Args:
        model: The slim network, in evaluation mode if the original is.
        report: What was done.
    """

    model: nn.Module
    report: PruneReport


def prune(
    model: nn.Module,
    example_inputs: Tensor | Sequence[Any],
    criterion: str | Callable[[Tensor], Tensor] = "fpgm",
    rate: float = 0.5,
    *,
    scope: str = "coupled",
    statistics: Mapping[str, Tensor] | None = None,
    settings: PruningSettings | None = None,
    reconstruct: Iterable[Tensor | Sequence[Any]] | None = None,
    **options: Any,  # noqa: ANN401  the other fields of PruningSettings, each with its type
) -> PruneResult:
    """Mask filters of a network and remove them physically; both compute the same, proved.

    Args:
        model: Any network that ``trace`` accepts; it stays untouched.
        example_inputs: One input tensor or the positional arguments of the forward, on the
            network's device.
        criterion: ``fpgm``, ``l1``, ``l2``, ``batchnorm``, ``random``, or ``taylor`` and
            ``taylor_weight`` with ``statistics``; or a function from filters (n_filters, k) to
            scores (n_filters,), low = removed first.
        rate: Fraction of filters to remove, in [0, 1).
        scope: ``coupled``, ``independent``, ``global`` or ``global_coupled``; under the first and
            last all that is pruned is removed.
        statistics: Scores that ``TaylorStatistics`` gathered.
        settings: All settings at once, such as a search wrote; in place of ``criterion``, ``rate``
            and ``scope``.
        reconstruct: Inputs of one forward each, all of one shape: what is left is refitted to
            the network as given on them, in closed form, see ``secateur.pruning.reconstruction``;
            layers under ``exclude`` stay as they are.
        options: Other fields of ``PruningSettings`` by name, such as ``target={"macs": 0.5}``,
            ``exclude=["head.*"]`` or ``align=8``.

    Returns:
        The slim network and the report.

    Raises:
        InputError: If a name or number does not fit, or the network cannot be traced.
    """
    if not isinstance(criterion, str):
        criterion = register_criterion(criterion)
    settings = settings or PruningSettings(criterion, rate, scope=scope)
    settings = settings.with_options(options)
    arguments = as_arguments(example_inputs)
    masked = copy_network(model)
    traced = trace(masked, arguments)
    masked, computed = with_plain_weights(masked, traced)
    dense = copy_network(masked) if reconstruct is not None else masked
    pruner = Pruner(masked, arguments, settings, None if computed else traced)
    pruner.statistics = dict(statistics or {})
    keep = pruner.plan()
    pruner.apply(keep)
    if reconstruct is not None:
        refit(dense, masked, reconstruct, exclude=settings.exclude)
    result = slim(
        masked, arguments, align=settings.align, equal=settings.equal, traced=pruner.traced
    )
    accounted = compare_costs(
        masked,
        result.model,
        arguments,
        keep=keep,
        rates=pruner.rates_of(keep),
        scores=pruner.scores,
        groups=pruner.groups,
        counted=result.report.costs,
    )
    slimming = replace(result.report, computed=computed)
    return PruneResult(result.model, PruneReport(accounted, slimming, keep))
