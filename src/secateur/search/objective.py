"""The objective: how good a network pruned at some rates is on held-out pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from secateur.errors import InputError
from secateur.evaluation_mode import evaluation_mode
from secateur.pruning.masks import MaskHolder
from secateur.search.rate_levels import RateMasks


@dataclass(frozen=True, slots=True)
class Training:
    """A short training within a trial.

    Attributes:
        batches: One batch per step.
        loss: Loss of a network on a batch.
        lr: Learning rate of Adam.
        weight_decay: Weight decay of Adam.
        hold: Whether pruned filters stay zero; the published search lets them grow back.
    """

    batches: Sequence[Any]
    loss: Callable[[nn.Module, Any], Tensor]
    lr: float = 1e-3
    weight_decay: float = 1e-5
    hold: bool = True


@dataclass(slots=True)
class TrialEvaluator:
    """Measures the quality of a masked network, after a short training or without.

    Without training, batch norms are re-estimated, so that untrained masks can be compared. The
    weights and batch norms of the network may change. With a reconstruction, what is left is
    refitted to the dense network first, as a training that recovers would do.

    Attributes:
        quality: Quality of a network in evaluation mode; larger is better.
        calibration: Images for the re-estimation; none leaves the statistics alone.
        training: Steps before the quality is measured, or None.
        seed: Seed of the training.
        refit: Refits a masked network in place, or None.
    """

    quality: Callable[[nn.Module], float]
    calibration: Sequence[Tensor] = ()
    training: Training | None = None
    seed: int = 0
    refit: Callable[[nn.Module], object] | None = None

    def __call__(self, network: nn.Module, hold: Callable[[], None] = lambda: None) -> float:
        """Quality of a network.

        Args:
            network: Changed in place.
            hold: Puts pruned filters back to zero.
        """
        if self.refit is not None:
            self.refit(network)
        if self.training is not None:
            torch.manual_seed(self.seed)
            train_shortly(network, self.training, hold)
        elif self.calibration and self.refit is None:
            recalibrate(network, self.calibration)
        return self.quality(network)


class Objective:
    """Quality of the network with the filters of given rates removed; a pure function of them.

    Args:
        trial_network: The network and its masks.
        evaluator: Measures the quality of a masked network.
    """

    def __init__(self, trial_network: TrialNetwork, evaluator: TrialEvaluator) -> None:
        self.trial_network = trial_network
        self.evaluator = evaluator

    def __call__(self, rates: Mapping[str, float]) -> float:
        """Quality at these rates; the network is afterwards as it was.

        Args:
            rates: Rate per group.

        Returns:
            The quality; not finite when training diverged.
        """
        with self.trial_network.masked(rates) as holder:
            return self.evaluator(self.trial_network.network, holder.apply)

    def identity(self, rates: Mapping[str, float]) -> str:
        """Text that equal masks share, so that no network is measured twice."""
        return self.trial_network.rate_masks.identity(rates)


def train_shortly(network: nn.Module, training: Training, hold: Callable[[], None]) -> None:
    """Train a network for a few steps from its present weights.

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


KINDS = ("loss", "ap", "verification", "distillation")


@dataclass(frozen=True, slots=True)
class ObjectiveSettings:
    """How trials are evaluated.

    Attributes:
        kind: ``loss``; ``distillation``: distance from the dense network; for detectors also
            ``ap``, for recognizers also ``verification``.
        batch_size: Pictures per held-out and calibration batch.
        batches: Held-out batches for the loss.
        calibration_batches: Training batches for batch-norm re-estimation.
        train_batch_size: Pictures per training step.
        lr: Learning rate of Adam.
        weight_decay: Weight decay of Adam.
        hold: Whether pruned filters stay zero in training steps.
        pictures: Held-out pictures for the average precision.
        identities: Share of the training people that are verified, and never trained on in a
            trial, in (0, 1).
        pairs: Pairs of each kind among them, at most.
        reconstruct: Training pictures that the network is refitted on in every trial, in closed
            form; 0 re-estimates batch norms alone.
        views: Windows of the pictures of a distance, for detectors, see ``ScaleSampling``.
    """

    kind: Literal["loss", "ap", "verification", "distillation"] = "loss"
    batch_size: int = 8
    batches: int = 8
    calibration_batches: int = 8
    train_batch_size: int = 16
    lr: float = 1e-3
    weight_decay: float = 1e-5
    hold: bool = True
    pictures: int = 64
    identities: float = 0.2
    pairs: int = 500
    reconstruct: int = 0
    views: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        """Refuse impossible settings."""
        if self.kind not in KINDS:
            raise InputError(f"objective.kind must be one of {', '.join(KINDS)}, got {self.kind}")
        for name in ("batch_size", "batches", "train_batch_size", "pictures", "pairs"):
            if getattr(self, name) < 1:
                raise InputError(f"objective.{name} must be at least 1, got {getattr(self, name)}")
        if self.reconstruct < 0:
            raise InputError(f"objective.reconstruct must be at least 0, got {self.reconstruct}")
        if not 0 < self.identities < 1:
            raise InputError(
                f"objective.identities must be above 0 and below 1, got {self.identities:g}"
            )


class TrialNetwork:
    """A network in its start state, which can be masked at rates and restored.

    Args:
        network: Network; changed within ``masked`` only.
        rate_masks: Masks of rates.
    """

    def __init__(self, network: nn.Module, rate_masks: RateMasks) -> None:
        self.network = network
        self.rate_masks = rate_masks
        self._state = {name: tensor.clone() for name, tensor in _tensors(network).items()}

    @contextmanager
    def masked(self, rates: Mapping[str, float]) -> Iterator[MaskHolder]:
        """Mask the network for the length of a with-statement.

        Args:
            rates: Rate per group.

        Yields:
            Sets pruned filters back to zero if training moves them.
        """
        holder = MaskHolder(self.network, self.rate_masks.masks(rates), self.rate_masks.batchnorms)
        holder.apply()
        try:
            yield holder
        finally:
            self.restore()

    @torch.no_grad()
    def restore(self) -> None:
        """Put every parameter and buffer back to its start value."""
        for name, tensor in _tensors(self.network).items():
            tensor.copy_(self._state[name])


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers, buffers that are not saved included."""
    return {
        **{name: parameter.detach() for name, parameter in network.named_parameters()},
        **dict(network.named_buffers()),
    }


@torch.no_grad()
def recalibrate(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace running means and variances by their average over some batches (EagleEye, 2020).

    Weights are not touched, so masked filters stay exactly zero.

    Args:
        model: Network, changed in place; every module keeps its mode.
        batches: Inputs, at least one.
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    norms = [module for module in norms if module.track_running_stats]
    momenta = [module.momentum for module in norms]
    with evaluation_mode(model):
        for module in norms:
            module.reset_running_stats()
            module.momentum = None  # a cumulative average instead of an exponential one
            module.train()
        for inputs in batches:
            model(inputs)
    for module, momentum in zip(norms, momenta, strict=True):
        module.momentum = momentum
