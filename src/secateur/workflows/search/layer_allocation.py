"""Layer allocation: rates of single layers for a size, from what each alone bears."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from secateur.errors import InputError
from secateur.pruning.allocation import RateChoice, allocate_rates
from secateur.pruning.pruner import Pruner
from secateur.pruning.sensitivity import SensitivityPoint
from secateur.pruning.sizes import SlimSizes
from secateur.pruning.targets import NominalSparsity, Target, read_target
from secateur.workflows.search.search_report import train_command, write_rates

log = logging.getLogger(__name__)

_REPEATS = 12
_SLACK = 1e-4


def wanted_sizes(config: DictConfig) -> list[Target]:
    """All targets of ``target=``: here several may be met at once.

    Raises:
        InputError: If one is unknown, out of range or a latency.
    """
    given = OmegaConf.to_container(config.target) if config.get("target") is not None else {}
    if not isinstance(given, dict):
        raise InputError(f"target={given} does not say of what: write target.sparsity={given}")
    targets = [
        target
        for name, value in given.items()
        if (target := read_target({str(name): value})) is not None
    ]
    if any(target.quantity == "latency" for target in targets):
        raise InputError(
            "the milliseconds of layers are no sum of what each alone saves: take target.macs, or "
            "search.py without sensitivity for target.latency"
        )
    if targets and config.pruning.scope.startswith("global"):
        raise InputError(
            f"pruning.scope={config.pruning.scope} ranks the filters of all layers together, "
            "so that no layer has a rate of its own: take pruning.scope=independent or coupled"
        )
    return targets


class LayerAllocation:
    """Finds the rates of all layers for a size.

    Args:
        pruner: Network, criterion and layers.
        inputs: Arguments of one forward, for the multiply-accumulates.
        targets: Sizes that the network shall have, all of them.
        parts: Names of the layers that go together, by name of the part.
    """

    def __init__(
        self,
        pruner: Pruner,
        inputs: tuple[Tensor, ...],
        targets: Sequence[Target],
        parts: Mapping[str, Sequence[str]],
    ) -> None:
        self.pruner = pruner
        self.parts = parts
        pruner.scores = pruner.score()
        self.nominal = NominalSparsity(pruner.model, pruner.layers, pruner.batchnorms)
        align = pruner.settings.align
        self.slim = SlimSizes(pruner.model, inputs, align, pruner.traced)
        dense = {"params": self.slim.dense_parameters, "macs": self.slim.dense_macs, "sparsity": 1}
        self.targets = [target.as_share(dense[target.quantity]) for target in targets]

    def removed(self, rates: Mapping[str, float]) -> tuple[float, ...]:
        """Share of each quantity that is gone when parts are pruned at rates."""
        layers = {name: rate for part, rate in rates.items() for name in self.parts[part]}
        keep = self.pruner.plan_alone(layers)
        return tuple(self._removed(target.quantity, keep) for target in self.targets)

    def _removed(self, quantity: str, keep: Mapping[str, Tensor]) -> float:
        """Share of one quantity that is gone under masks."""
        if quantity == "sparsity":
            return self.nominal(keep)
        shapes = self.slim.shapes(keep, self.pruner.batchnorms)
        if quantity == "params":
            return 1 - self.slim.parameters(shapes) / self.slim.dense_parameters
        return 1 - self.slim.macs(shapes) / self.slim.dense_macs

    def __call__(self, points: Sequence[SensitivityPoint]) -> dict[str, float]:
        """Rate of every part that loses filters.

        Args:
            points: The network as it is, then each part alone at several rates.

        Raises:
            InputError: If the highest rates do not reach the targets.
        """
        start, base = points[0].quality, self.removed({})
        harms: dict[str, dict[float, float]] = {}
        for point in points[1:]:
            harm = max(start - point.quality, 0.0)
            harms.setdefault(point.part, {0.0: 0.0})[point.rate] = harm
        choices: dict[str, list[RateChoice]] = {}
        for layer, measured in harms.items():
            for rate in _rates(measured):
                alone = self.removed({layer: rate})
                gain = tuple(here - there for here, there in zip(alone, base, strict=True))
                harm = float(np.interp(rate, list(measured), list(measured.values())))
                choices.setdefault(layer, []).append(RateChoice(rate, harm, gain))
        goal = [1 - target.remaining for target in self.targets]
        wanted = [max(g - there, 0.0) for g, there in zip(goal, base, strict=True)]
        best: dict[str, float] = {}
        least = math.inf
        for _ in range(_REPEATS):
            rates = {n: r for n, r in allocate_rates(choices, wanted).items() if r > 0}
            missing = [g - got for g, got in zip(goal, self.removed(rates), strict=True)]
            harm = sum(c.harm for n, row in choices.items() for c in row if c.rate == rates.get(n))
            if max(missing) <= 0 and harm < least:
                best, least = rates, harm
            # What is removed together is more or less than the sum: ask for the difference.
            wanted = [max(w + m + _SLACK, 0.0) for w, m in zip(wanted, missing, strict=True)]
        return best or rates


def _rates(measured: Mapping[float, float]) -> list[float]:
    """Rates that were measured, and between them eighths, whose harm is interpolated."""
    between = {eighth / 8 for eighth in range(1, 8) if eighth / 8 < max(measured)}
    return sorted((between | set(measured)) - {0.0})


def allocate(
    config: DictConfig,
    pruner: Pruner,
    points: Sequence[SensitivityPoint],
    targets: Sequence[Target],
    parts: Mapping[str, Sequence[str]],
    path: Path,
) -> None:
    """Find the rates of layers for the targets and write them for ``train.py rates=``.

    Args:
        config: Composed ``conf/sensitivity.yaml``.
        pruner: Network, criterion and layers.
        points: The network as it is, then parts alone at several rates.
        targets: Sizes to meet.
        parts: Names of the layers that go together, by name of the part.
        path: File to write.
    """
    side = int(config.search_size)
    inputs = torch.zeros(1, 3, side, side).contiguous(memory_format=torch.channels_last)
    allocation = LayerAllocation(pruner, (inputs,), targets, parts)
    rates = allocation(points)
    removed = allocation.removed(rates)
    sizes = ", ".join(
        f"{target.quantity} {share if target.quantity == 'sparsity' else 1 - share:.4f}"
        for target, share in zip(targets, removed, strict=True)
    )
    # Dots would make a name on the command line a path.
    names = {part: part.replace(".", "_") for part in rates}
    write_rates(
        path,
        config,
        f"layer by layer, {sizes}",
        {names[part]: rate for part, rate in rates.items()},
        {name: list(parts[part]) for part, name in names.items()},
    )
    log.info("%d parts lose filters: %s", len(rates), sizes)
    log.info("%s", train_command(config, path))
