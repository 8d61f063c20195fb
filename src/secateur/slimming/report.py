"""Report of a slimming: what was removed, what was absorbed, what stayed and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from secateur.cost.parameters import count_parameters
from secateur.slimming.analysis import Analysis
from secateur.slimming.operators import owner_of


@dataclass(frozen=True, slots=True)
class SlimReport:
    """What slimming did to a network.

    Args:
        kept: Layer -> indices of the filters that stay, in the numbering of the original.
        folded: Layer -> channels whose constant effect its bias, the batch norm behind it or
            another channel took over.
        refused: Layer -> reason -> zero filters that had to stay for it.
        dropped: Modules that were removed as a whole.
        parameters_before: Parameters of the original, each counted once.
        parameters_after: Parameters of the slim network.
        max_abs_diff: Largest difference between the outputs of the two.
    """

    kept: dict[str, tuple[int, ...]]
    folded: dict[str, int]
    refused: dict[str, dict[str, int]]
    dropped: tuple[str, ...]
    parameters_before: int
    parameters_after: int
    max_abs_diff: float

    def __str__(self) -> str:
        """A few lines for people."""
        sizes = f"{self.parameters_before:,} parameters became {self.parameters_after:,}"
        lines = [f"{sizes}; outputs differ by {self.max_abs_diff:.1e} at most"]
        if self.dropped:
            lines.append(f"reached no output and went: {', '.join(self.dropped)}")
        stayed: dict[str, list[tuple[str, int]]] = {}
        for layer, reasons in self.refused.items():
            for reason, count in reasons.items():
                stayed.setdefault(reason, []).append((layer, count))
        for reason, places in stayed.items():
            filters = sum(count for _, count in places)
            more = f" and {len(places) - 1} more layers" if len(places) > 1 else ""
            lines.append(f"{filters} zero filters stay in {places[0][0]}{more}: {reason}")
        return "\n".join(lines)


def build_report(
    model: nn.Module,
    slimmed: nn.Module,
    analysis: Analysis,
    dropped: tuple[str, ...],
    max_abs_diff: float,
) -> SlimReport:
    """Build the report of a slimming.

    Args:
        model: The network before.
        slimmed: The network after.
        analysis: What is known about the network before.
        dropped: Modules that were removed as a whole.
        max_abs_diff: Largest difference between the outputs.
    """
    weights = _weights(analysis)
    folded = Counter({owner_of(fold.weight): fold.channels for fold in analysis.cut.folds})
    folded.update(owner_of(merge.weight) for merge in analysis.cut.merges)
    reasons = _Reasons(analysis)
    refused: dict[str, dict[str, int]] = {}
    for layer, name in weights.items():
        members = analysis.classes.slices[name, 0]
        stayed = members[_zero_filters(name, analysis) & analysis.kept[members]]
        if len(stayed):
            refused[layer] = dict(Counter(reasons.of(index) for index in stayed.tolist()))
    return SlimReport(
        kept={n: tuple(analysis.cut.kept[w, 0].tolist()) for n, w in weights.items()},
        folded=dict(folded),
        refused=refused,
        dropped=dropped,
        parameters_before=count_parameters(model),
        parameters_after=count_parameters(slimmed),
        max_abs_diff=max_abs_diff,
    )


def chain_reports(first: SlimReport, second: SlimReport) -> SlimReport:
    """Combine the reports of two slimmings, the second of what the first returned."""
    return SlimReport(
        kept={n: tuple(first.kept[n][i] for i in kept) for n, kept in second.kept.items()},
        folded=dict(Counter(first.folded) + Counter(second.folded)),
        refused=second.refused,
        dropped=first.dropped + second.dropped,
        parameters_before=first.parameters_before,
        parameters_after=second.parameters_after,
        max_abs_diff=first.max_abs_diff + second.max_abs_diff,
    )


class _Reasons:
    """Why classes of channels stay, looked up class by class."""

    def __init__(self, analysis: Analysis) -> None:
        classes, live = analysis.classes, analysis.live
        self.pinned = classes.pinned
        self.live = live.tolist()
        self.varying: dict[int, str] = {}
        self.constant: set[int] = set()
        for name, reader in analysis.layers.items():
            needed = reader.nonzero[live[reader.outputs]].any(0) & reader.constants.isnan()
            varies = reader.seen.isnan().any(0)
            for index in torch.unique(reader.inputs[needed & varies]).tolist():
                self.varying.setdefault(index, owner_of(name))
            self.constant.update(reader.inputs[needed & ~varies].tolist())
        self.writers = torch.zeros(classes.count, dtype=torch.int64)
        for name in _weights(analysis).values():
            members = classes.slices[name, 0]
            self.writers[torch.unique(members[~_zero_filters(name, analysis)])] += 1

    def of(self, index: int) -> str:
        """Why a class with a zero filter in it stays."""
        if index in self.pinned:
            return self.pinned[index]
        if not self.live[index]:
            return "a layer keeps one filter, groups and halves keep equally many"
        if index in self.varying and self.writers[index]:
            return "another layer writes the same channel"
        if index in self.varying:
            return f"{self.varying[index]} reads it, and it is not constant"
        if index in self.constant:
            return "it emits a constant that a padded layer sees end at its border"
        return "an output depends on it"


def _weights(analysis: Analysis) -> dict[str, str]:
    """Layer -> name of its weight, for layers that have their filters first."""
    return {
        owner_of(name): name
        for name, dim in analysis.classes.slices
        if dim == 0 and (name in analysis.layers or name in analysis.flow.depthwise)
    }


def _zero_filters(weight: str, analysis: Analysis) -> Tensor:
    return ~analysis.traced.tensors[weight].detach().flatten(1).any(1)
