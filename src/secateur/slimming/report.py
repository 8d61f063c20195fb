"""Report of a slimming: what was removed, what was absorbed, what stayed and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from secateur.cost.macs import Costs
from secateur.cost.parameters import count_parameters
from secateur.slimming.analysis import Analysis
from secateur.slimming.dependencies import ChannelClasses, ChannelDependencies
from secateur.slimming.equivalence import Difference
from secateur.slimming.graph.operators import owner_of
from secateur.slimming.kept_norms import NarrowedNorm


@dataclass(frozen=True, slots=True)
class HeldChannels:
    """Channels that have to stay, whatever their weights are, for one reason.

    Args:
        reason: The operator that holds them, and why.
        source: Line of the model's source that calls it; empty if it is not known.
        layers: Layers that write them.
        channels: Channel sets that stay.
        parameters: Parameters and statistics that would go with them.
    """

    reason: str
    source: str
    layers: tuple[str, ...]
    channels: int
    parameters: int

    def __str__(self) -> str:
        """One line for people, with what helps."""
        more = f" and {len(self.layers) - 2} more layers" if len(self.layers) > 2 else ""
        layers = f" of {', '.join(self.layers[:2])}{more}" if self.layers else ""
        text = f"{self.parameters:,} parameters{layers}: {self.reason}"
        text += f" [{self.source}]" if self.source else ""
        helps = next((advice for sign, advice in _ADVICE.items() if sign in self.reason), "")
        return f"{text}; {helps}" if helps else text


_ADVICE = {
    "normalises over channels": "equal=False lets such norms lose channels",
    "written down": "compute the size from the tensor's own shape",
    "picks channels by position": "cut with torch.split or chunk, by sizes kept as attributes",
}


def held_channels(
    dependencies: ChannelDependencies, classes: ChannelClasses, tensors: Mapping[str, Tensor]
) -> tuple[HeldChannels, ...]:
    """What holds the channels of a network, the most expensive reason first.

    Args:
        dependencies: Dependencies between channel labels.
        classes: Sets of channels that can only be removed together.
        tensors: Parameters and buffers of the network by name.
    """
    held = classes.pinned | _tied_as_one(dependencies, classes)
    writers: dict[int, list[str]] = {}
    is_held = torch.zeros(classes.count, dtype=torch.bool)
    is_held[list(held)] = True
    for call in dependencies.calls:
        layer = owner_of(call.weight)
        filters = classes.of[call.outputs]
        for index in torch.unique(filters[is_held[filters]]).tolist():
            writers.setdefault(index, []).append(layer)
    # Calls of one operator by one line of the model's source are told together.
    members: dict[tuple[str, str], list[int]] = {}
    kinds = {reason: _kind_of(reason, dependencies.sources) for reason in set(held.values())}
    for index, reason in held.items():
        if index in writers:
            members.setdefault(kinds[reason], []).append(index)
    found = [
        HeldChannels(
            _first_of([held[index] for index in indices]),
            source,
            tuple(dict.fromkeys(name for i in indices for name in writers[i])),
            len(indices),
            _parameters_with(indices, classes, tensors),
        )
        for (source, _), indices in members.items()
    ]
    return tuple(sorted(found, key=lambda held: -held.parameters))


def _kind_of(reason: str, sources: Mapping[str, str]) -> tuple[str, str]:
    """Line of the model's source that a reason names, and what it says beside the module."""
    source = next((line for where, line in sources.items() if reason.startswith(where)), "")
    return source, reason.partition(" (")[2] if source else reason


def _parameters_with(
    indices: list[int], classes: ChannelClasses, tensors: Mapping[str, Tensor]
) -> int:
    """Number of parameters that would go with some classes together, each counted once."""
    gone = torch.zeros(classes.count, dtype=torch.bool)
    gone[indices] = True
    left: dict[str, float] = {}  # share of each tensor, dimension by dimension
    for (name, _), members in classes.slices.items():
        left[name] = left.get(name, 1.0) * (1 - float(gone[members].float().mean()))
    return round(sum(tensors[name].numel() * (1 - share) for name, share in left.items()))


def _first_of(reasons: list[str]) -> str:
    """The first reason, and how many others of its kind there are."""
    others = len(set(reasons)) - 1
    return f"{reasons[0]}, and {others} more like it" if others else reasons[0]


def _tied_as_one(dependencies: ChannelDependencies, classes: ChannelClasses) -> dict[int, str]:
    """Classes that hold most filters of a layer, and the operator that ties them."""
    large: set[int] = set()
    for call in dependencies.calls:
        filters = classes.of[call.outputs]
        count = torch.bincount(filters)
        large |= set(((count > 1) & (2 * count >= len(filters))).nonzero()[:, 0].tolist())
    found: dict[int, str] = {}
    for labels, where in dependencies.mixed:
        index, count = torch.unique(classes.of[labels], return_counts=True)
        for number in index[count > 1].tolist():
            if number in large and number not in classes.pinned:
                found.setdefault(number, f"{where} mixes them, so that they go all or not at all")
    return found


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
        max_rel_diff: Largest difference of an output over the largest element of that output.
        held: What holds channels of the network whatever its weights are, most parameters first.
        computed: Layers whose weight the forward computed, and which now hold the result.
        renormalized: Layer norms and group norms whose statistics run over fewer channels, and
            which; where there are any, differences are from the masked network normalised like
            that.
        costs: What the layers of both networks cost in a forward of the example inputs; None for
            networks in half precision, whose proof is in single precision.
    """

    kept: dict[str, tuple[int, ...]]
    folded: dict[str, int]
    refused: dict[str, dict[str, int]]
    dropped: tuple[str, ...]
    parameters_before: int
    parameters_after: int
    max_abs_diff: float
    max_rel_diff: float = 0.0
    held: tuple[HeldChannels, ...] = ()
    computed: tuple[str, ...] = ()
    renormalized: Mapping[str, NarrowedNorm] = field(default_factory=dict)
    costs: tuple[Costs, Costs] | None = field(default=None, repr=False)

    def explain(self) -> str:
        """What keeps the network from becoming smaller, line by line."""
        if not self.held:
            return "every channel may go; what is left is what was asked for"
        dense = max(self.parameters_before, 1)
        lines = [f"{held.parameters / dense:.0%}, {held}" for held in self.held]
        return "\n".join(["these channels stay whatever is asked for:", *lines])

    def __str__(self) -> str:
        """A few lines for people."""
        sizes = f"{self.parameters_before:,} parameters became {self.parameters_after:,}"
        gaps = f"{self.max_abs_diff:.1e} at most, {self.max_rel_diff:.1e} of the largest"
        lines = [f"{sizes}; outputs differ by {gaps}"]
        if self.renormalized:
            lines.append(
                f"not equal by nature: {len(self.renormalized)} norms such as "
                f"{next(iter(self.renormalized))} lost channels, and the differences are from "
                "the masked network normalised over the channels that stay"
            )
        if self.computed:
            lines.append(
                f"{len(self.computed)} layers such as {self.computed[0]} computed their weight in "
                "every forward and now hold the result"
            )
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
    difference: Difference,
) -> SlimReport:
    """Build the report of a slimming.

    Args:
        model: The network before.
        slimmed: The network after.
        analysis: What is known about the network before.
        dropped: Modules that were removed as a whole.
        difference: Largest differences between the outputs.
    """
    weights = _weights(analysis)
    zero = {name: _zero_filters(name, analysis) for name in weights.values()}
    folded = Counter({owner_of(fold.weight): fold.channels for fold in analysis.cut.folds})
    folded.update(owner_of(merge.weight) for merge in analysis.cut.merges)
    reasons = _Reasons(analysis, zero)
    refused: dict[str, dict[str, int]] = {}
    for layer, name in weights.items():
        members = analysis.classes.slices[name, _filter_dim(name, analysis)]
        stayed = members[zero[name] & analysis.kept[members]]
        if len(stayed):
            refused[layer] = dict(Counter(reasons.of(index) for index in stayed.tolist()))
    return SlimReport(
        kept={n: _kept_filters(w, analysis) for n, w in weights.items()},
        folded=dict(folded),
        refused=refused,
        dropped=dropped,
        parameters_before=count_parameters(model),
        parameters_after=count_parameters(slimmed),
        max_abs_diff=difference.absolute,
        max_rel_diff=difference.relative,
        held=held_channels(analysis.dependencies, analysis.classes, analysis.traced.tensors),
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
        max_rel_diff=first.max_rel_diff + second.max_rel_diff,
        held=second.held,
        computed=first.computed,
        renormalized=_chain_norms(first.renormalized, second.renormalized),
        costs=(first.costs[0], second.costs[1]) if first.costs and second.costs else None,
    )


def _chain_norms(
    first: Mapping[str, NarrowedNorm], second: Mapping[str, NarrowedNorm]
) -> dict[str, NarrowedNorm]:
    """Norms after two slimmings; channels are numbered as before the first."""
    both = {
        name: first[name].then(norm) if name in first else norm for name, norm in second.items()
    }
    return {**first, **both}


class _Reasons:
    """Why classes of channels stay, looked up class by class."""

    def __init__(self, analysis: Analysis, zero: Mapping[str, Tensor]) -> None:
        classes, live = analysis.classes, analysis.live
        self.pinned = classes.pinned
        self.shaped = (analysis.shaped | ~live).tolist()
        self.varying: dict[int, str] = {}
        self.constant: set[int] = set()
        for name, reader in analysis.layers.items():
            needed = reader.read_by(live[reader.outputs]) & reader.constants.isnan()
            varies = reader.seen.isnan().any(0)
            for index in torch.unique(reader.inputs[needed & varies]).tolist():
                self.varying.setdefault(index, owner_of(name))
            self.constant.update(reader.inputs[needed & ~varies].tolist())
        self.writers = torch.zeros(classes.count, dtype=torch.int64)
        for name, filters in zero.items():
            members = classes.slices[name, _filter_dim(name, analysis)]
            self.writers[torch.unique(members[~filters])] += 1

    def of(self, index: int) -> str:
        """Why a class with a zero filter in it stays."""
        if index in self.pinned:
            return self.pinned[index]
        if self.shaped[index]:
            return "a layer keeps one filter, groups and halves equally many, align a multiple"
        if index in self.varying and self.writers[index]:
            return "another layer writes the same channel"
        if index in self.varying:
            return f"{self.varying[index]} reads it, and it is not constant"
        if index in self.constant:
            return "it emits a constant that a padded layer sees end at its border"
        return "an output depends on it"


def _weights(analysis: Analysis) -> dict[str, str]:
    """Layer -> name of its weight."""
    return {owner_of(name): name for name in (*analysis.layers, *analysis.dependencies.depthwise)}


def _filter_dim(weight: str, analysis: Analysis) -> int:
    """Dimension of the weight along which slices count filters."""
    reader = analysis.layers.get(weight)
    return 1 if reader is not None and reader.layout.transposed else 0


def _kept_filters(weight: str, analysis: Analysis) -> tuple[int, ...]:
    members = analysis.classes.slices[weight, _filter_dim(weight, analysis)]
    return tuple(analysis.kept[members].nonzero()[:, 0].tolist())


def _zero_filters(weight: str, analysis: Analysis) -> Tensor:
    tensor = analysis.traced.tensors[weight].detach()
    if _filter_dim(weight, analysis) == 0:
        return ~tensor.flatten(1).any(1)
    groups = analysis.dependencies.groups.get(weight, 1)
    blocks = tensor.view(groups, -1, tensor.shape[1], tensor[0, 0].numel())
    return ~blocks.any(3).any(1).reshape(-1)
