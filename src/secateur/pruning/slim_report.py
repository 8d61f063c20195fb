"""The account of a slimming: what went, what was folded, what stayed and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from torch import nn

from secateur.pruning.analysis import Analysis
from secateur.pruning.operators import owner_of
from secateur.pruning.sparsity import count_parameters


@dataclass(frozen=True, slots=True)
class SlimReport:
    """What slimming did to a network.

    Args:
        kept: Layer -> indices of the filters that stay, in the numbering of the original.
        folded: Layer -> channels whose constant effect its bias, the batch norm behind it or
            another channel took over.
        refused: Layer -> reason -> zero filters that had to stay for it.
        dropped: Modules that went as a whole.
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


def report(
    model: nn.Module,
    slimmed: nn.Module,
    analysis: Analysis,
    dropped: tuple[str, ...],
    max_abs_diff: float,
) -> SlimReport:
    """Account for a slimming.

    Args:
        model: The network before.
        slimmed: The network after.
        analysis: What was found out about the network.
        dropped: Modules that went as a whole.
        max_abs_diff: Largest difference between the outputs.
    """
    gone = tuple(f"{name}." for name in dropped)
    weights = {
        owner_of(name): name
        for (name, dim), _ in analysis.flow.slices.items()
        if dim == 0 and (name in analysis.layers or name in analysis.flow.depthwise)
    }
    kept = {
        layer: tuple(analysis.cut.kept[name, 0].tolist())
        for layer, name in weights.items()
        if not f"{layer}.".startswith(gone)
    }
    folded = Counter({owner_of(fold.weight): fold.channels for fold in analysis.cut.folds})
    folded.update(owner_of(merge.weight) for merge in analysis.cut.merges)
    refused = {layer: reasons for layer in kept if (reasons := _refusals(weights[layer], analysis))}
    return SlimReport(
        kept=kept,
        folded=dict(folded),
        refused=refused,
        dropped=dropped,
        parameters_before=count_parameters(model),
        parameters_after=count_parameters(slimmed),
        max_abs_diff=max_abs_diff,
    )


def _refusals(weight: str, analysis: Analysis) -> dict[str, int]:
    """Reasons for which zero filters of a layer stayed, with their number."""
    tensors, classes = analysis.traced.tensors, analysis.classes
    zero = ~tensors[weight].detach().flatten(1).any(1).cpu()
    members = classes.slices[weight, 0]
    found: dict[str, int] = {}
    for index in (zero & analysis.kept[members]).nonzero()[:, 0].tolist():
        reason = _why(int(members[index]), weight, analysis)
        found[reason] = found.get(reason, 0) + 1
    return found


def _why(index: int, weight: str, analysis: Analysis) -> str:
    """Why a class of channels with a zero filter in it stays."""
    if index in analysis.classes.pinned:
        return analysis.classes.pinned[index]
    if not bool(analysis.live[index]):
        return "a layer keeps one filter, groups and halves keep equally many"
    constant = False
    for name, reader in analysis.layers.items():
        places = (reader.inputs == index) & reader.constants.isnan()
        if bool(reader.nonzero[analysis.live[reader.outputs]][:, places].any()):
            if bool(reader.seen[:, places].isnan().any()):
                if _is_written_elsewhere(index, weight, analysis):
                    return "another layer adds to the same channel"
                return f"{owner_of(name)} reads it, and it is not constant"
            constant = True
    if constant:
        return "it emits a constant that a padded layer sees end at its border"
    return "an output depends on it"


def _is_written_elsewhere(index: int, weight: str, analysis: Analysis) -> bool:
    """Whether another layer has a filter in the class that is not zero."""
    tensors = analysis.traced.tensors
    for (name, dim), members in analysis.classes.slices.items():
        if dim == 0 and name != weight and name in analysis.layers:
            rows = (members == index).nonzero()[:, 0]
            if bool(tensors[name].detach().cpu()[rows].any()):
                return True
    return False
