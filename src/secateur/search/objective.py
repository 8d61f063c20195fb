"""The objective: what one set of rates is worth on held-out pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from secateur.search.recalibration import recalibrate
from secateur.search.trial_network import TrialNetwork


@dataclass(frozen=True, slots=True)
class Training:
    """A short training within a trial.

    Attributes:
        batches: One batch per step.
        loss: Loss of a network on a batch.
        lr: Learning rate of Adam.
        weight_decay: Of Adam.
        hold: Whether pruned filters stay zero; the published search lets them grow back.
    """

    batches: Sequence[Any]
    loss: Callable[[nn.Module, Any], Tensor]
    lr: float = 1e-3
    weight_decay: float = 1e-5
    hold: bool = True


@dataclass(slots=True)
class Judge:
    """Says how good a masked network is; its weights and batch norms may change.

    Without training, batch norms are re-estimated, which is what makes untrained masks comparable.

    Attributes:
        quality: Larger is better, of a network in evaluation mode.
        calibration: Images for the re-estimation; none leaves the statistics alone.
        training: Steps before the quality is measured, or None.
        seed: Of the training.
    """

    quality: Callable[[nn.Module], float]
    calibration: Sequence[Tensor] = ()
    training: Training | None = None
    seed: int = 0

    def __call__(self, network: nn.Module, hold: Callable[[], None] = lambda: None) -> float:
        """Quality of a network.

        Args:
            network: Changed in place.
            hold: Puts pruned filters back to zero.
        """
        if self.training is not None:
            torch.manual_seed(self.seed)
            train_shortly(network, self.training, hold)
        elif self.calibration:
            recalibrate(network, self.calibration)
        return self.quality(network)


class Objective:
    """Quality of the network with the filters of given rates removed; a pure function of them.

    Args:
        trial_network: The network and its masks.
        judge: Says how good a masked network is.
    """

    def __init__(self, trial_network: TrialNetwork, judge: Judge) -> None:
        self.trial_network = trial_network
        self.judge = judge

    def __call__(self, rates: Mapping[str, float]) -> float:
        """Quality at these rates; the network is afterwards as it was.

        Args:
            rates: Rate per group.

        Returns:
            The quality; not finite when training diverged.
        """
        with self.trial_network.masked(rates) as holder:
            return self.judge(self.trial_network.network, holder.apply)

    def identity(self, rates: Mapping[str, float]) -> str:
        """Text that equal masks share, so that no network is measured twice."""
        return self.trial_network.removal.identity(rates)


def train_shortly(network: nn.Module, training: Training, hold: Callable[[], None]) -> None:
    """Train a network for a few steps from where it stands.

    Args:
        network: Changed in place.
        training: What to train on, and how.
        hold: Puts pruned filters back to zero.
    """
    was_training = network.training
    network.train()
    optimizer = torch.optim.Adam(
        network.parameters(), lr=training.lr, weight_decay=training.weight_decay
    )
    with torch.enable_grad():
        for batch in training.batches:
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(training.loss(network, batch))
            optimizer.step()
            if training.hold:
                hold()
    optimizer.zero_grad(set_to_none=True)
    network.train(was_training)
