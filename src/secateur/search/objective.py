"""The objective: what one set of rates is worth on held-out pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from secateur.search.drawn_batches import FaceBatch
from secateur.search.face_quality import batch_loss
from secateur.search.recalibration import recalibrate
from secateur.search.trial_network import TrialNetwork


@dataclass(frozen=True, slots=True)
class Training:
    """A short training within a trial.

    Attributes:
        batches: One batch per step.
        lr: Learning rate of Adam.
        weight_decay: Of Adam.
        hold: Whether pruned filters stay zero; the published search lets them grow back.
    """

    batches: Sequence[FaceBatch]
    lr: float = 1e-3
    weight_decay: float = 1e-5
    hold: bool = True


class Objective:
    """Quality of the network with the filters of given rates removed; a pure function of them.

    Without training, batch norms are re-estimated, which is what makes untrained masks comparable.

    Args:
        trial_network: The network and its masks.
        quality: Larger is better, of a network in evaluation mode.
        calibration: Batches for the re-estimation; none leaves the statistics alone.
        training: Steps before the quality is measured, or None.
        seed: Of the training.
    """

    def __init__(
        self,
        trial_network: TrialNetwork,
        quality: Callable[[nn.Module], float],
        calibration: Sequence[FaceBatch] = (),
        training: Training | None = None,
        seed: int = 0,
    ) -> None:
        self.trial_network = trial_network
        self.quality = quality
        self.calibration = calibration
        self.training = training
        self.seed = seed

    def __call__(self, rates: Mapping[str, float]) -> float:
        """Quality at these rates; the network is afterwards as it was.

        Args:
            rates: Rate per group.

        Returns:
            The quality; not finite when training diverged.
        """
        network = self.trial_network.network
        with self.trial_network.masked(rates) as holder:
            if self.training is not None:
                torch.manual_seed(self.seed)
                train_shortly(network, self.training, holder.apply)
            elif self.calibration:
                recalibrate(network, (images for images, _ in self.calibration))
            return self.quality(network)

    def identity(self, rates: Mapping[str, float]) -> str:
        """Text that equal masks share, so that no network is measured twice."""
        return ",".join(map(str, self.trial_network.filters_removed(rates).values()))


def train_shortly(network: nn.Module, training: Training, hold: Callable[[], None]) -> None:
    """Train a detector for a few steps from where it stands.

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
        for images, faces in training.batches:
            optimizer.zero_grad(set_to_none=True)
            location, confidence = batch_loss(network, images, faces)
            torch.autograd.backward(location + confidence)
            optimizer.step()
            if training.hold:
                hold()
    optimizer.zero_grad(set_to_none=True)
    network.train(was_training)
