"""SoftPruningCallback: masks filters during training, then holds the final mask."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from secateur.filters import filters_of
from secateur.network_copy import copy_network
from secateur.pruning.masks import MaskHolder
from secateur.pruning.pruner import Pruner
from secateur.pruning.reconstruction import reconstruct
from secateur.pruning.schedule import Schedule
from secateur.reports.progress import ProgressLines
from secateur.slimming.graph.network_graph import NetworkGraph, trace

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Repair:
    """How a network is mended right after filters were masked.

    Args:
        pictures: Gives inputs of one shape, (B, 3, H, W) each.
        refit: Whether layers are refitted by least squares; False only lets biases and running
            means take over what batch norms of final masks emitted.
        dense: Network that is matched after every masking; None matches the network as it was
            just before.
        exclude: Patterns of layers that are not refitted, such as the heads.
        since: Version of the callback's state from which on runs are mended like this; one that an
            earlier version began goes on as it began.
    """

    pictures: Callable[[], Sequence[Tensor]]
    refit: bool = False
    dense: nn.Module | None = None
    exclude: Sequence[str] = ()
    since: int = 1


_VERSION = 2
"""Of the callback's state: 0 mended nothing, 1 only detectors, 2 recognizers too."""


class SoftPruningCallback(pl.Callback):
    """Prune by a schedule: renew masks, let filters grow back or not, hold the last mask.

    Masks are set after the last optimizer step of an epoch and before its validation, so that
    the metric and the checkpoint describe the same weights; Lightning's ``on_train_epoch_end``
    would come after validation. While a mask is held it is applied again after every optimizer
    step, because weight decay, momentum and batch norm would otherwise bring filters back.

    A soft mask zeroes filters alone. When masks are final, the scales and shifts of their batch
    norms are zeroed too, and what those emitted is taken over by the layers that read it.

    ``pruning/regrown`` in the metrics is the share of the filters of the last soft mask that the
    next one keeps, ``pruning/nonzero`` the share of them that training moved away from zero.

    Args:
        pruner: Plans and applies masks on the network that is trained.
        schedule: When to do what.
        repair: How the network is mended after masking; None leaves it as it is.
    """

    def __init__(self, pruner: Pruner, schedule: Schedule, repair: Repair | None = None) -> None:
        self.pruner = pruner
        self.schedule = schedule
        self.repair = repair
        self.keep: dict[str, Tensor] = {}
        self.renewals = 0
        self.states: dict[str, dict[str, Tensor]] = {}
        self.version = _VERSION
        self._holder: MaskHolder | None = None
        self._traced: NetworkGraph | None = None

    def prune(self, trainer: pl.Trainer, fraction: float = 1.0, *, final: bool = True) -> None:
        """Plan masks for the weights as they are, agree on them across processes, apply them.

        Args:
            trainer: The trainer.
            fraction: Share of the rates to remove.
            final: Whether no filter may grow back.
        """
        held = self.schedule.kind == "held"
        keep = self.pruner.carried() if held else self.pruner.plan(fraction)
        if self.schedule.kind == "iterative" and self.keep:
            keep = {name: mask & self.keep[name].to(mask.device) for name, mask in keep.items()}
        # Every process has the same weights, but the last bit of a score may depend on the machine.
        self.keep = trainer.strategy.broadcast(keep, src=0)
        self.renewals += 1
        self._holder = None
        model, repair = self.pruner.model, self.repair
        if repair is not None and repair.refit:
            dense = copy_network(model) if repair.dense is None else repair.dense
            self.pruner.apply(self.keep, soft=not final)
            if final:
                self.states["masked"] = _state_of(model)
            self._reconstruct(trainer, dense)
            if final:
                self.states["reconstructed"] = _state_of(model)
            return
        self.pruner.apply(self.keep, soft=True)
        if final:
            soft = copy_network(model) if repair is not None else None
            self.pruner.apply(self.keep)
            if soft is not None and self.pruner.batchnorms:
                # What batch norms of masked filters emitted moves on into those that read it.
                pictures = self._pictures()
                reconstruct(soft, model, pictures, refit=False, traced=self._graph(soft, pictures))

    def hold(self) -> None:
        """Put pruned filters back to zero."""
        if self._holder is None:
            self._holder = MaskHolder(self.pruner.model, self.keep, self.pruner.batchnorms)
        self._holder.apply()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Mask before the first batch where the schedule asks for it."""
        if self.schedule.prunes_before(trainer.current_epoch) and not self.keep:
            self.prune(trainer, final=self.schedule.kind == "oneshot")

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Hold the mask, and renew it after the last batch of an epoch that asks for it."""
        epoch = trainer.current_epoch
        if self.keep and self.schedule.holds_during(epoch):
            self.hold()
        if trainer.is_last_batch and self.schedule.prunes_after(epoch):
            before, grown = self.keep, self._nonzero()
            self.prune(trainer, self.schedule.fraction(epoch), final=self.schedule.is_final(epoch))
            if before and not self.schedule.holds_during(epoch):
                values = {"pruning/nonzero": grown, "pruning/regrown": _regrown(before, self.keep)}
                pl_module.log_dict(values, on_step=False, on_epoch=True, batch_size=1)

    def _reconstruct(self, trainer: pl.Trainer, dense: nn.Module) -> None:
        """Refit the network to a dense one; all processes go on with the same weights."""
        assert self.repair is not None
        started = time.perf_counter()
        model = self.pruner.model
        dense = dense.to(next(model.parameters()).device)
        pictures = self._pictures()
        traced = self._graph(dense, pictures)
        lines = ProgressLines("reconstruction: layer", parts=1)  # a line every half minute
        fits = reconstruct(
            *(dense, model, pictures),
            exclude=self.repair.exclude,
            traced=traced,
            on_layer=lambda done, total: lines.update(done, total) if done < total else None,
        )
        if trainer.world_size > 1:
            model.load_state_dict(trainer.strategy.broadcast(_state_of(model), src=0))
        if fits:
            before, after = (
                sum(getattr(fit, name) for fit in fits) / len(fits)
                for name in ("error_before", "error_after")
            )
            log.info(
                "reconstructed %d layers in %.1f s: mean relative error %.3f, was %.3f",
                *(len(fits), time.perf_counter() - started, after, before),
            )

    def _graph(self, dense: nn.Module, pictures: Sequence[Tensor]) -> NetworkGraph:
        """The operator graph of a network for such pictures; a run records it once."""
        known = self._traced
        if known is None or known.arguments[0].shape != pictures[0].shape:
            known = trace(dense, pictures[0])
        self._traced = known.over(dense) or trace(dense, pictures[0])
        return self._traced

    def _pictures(self) -> list[Tensor]:
        assert self.repair is not None
        device = next(self.pruner.model.parameters()).device
        layout = torch.channels_last
        return [x.to(device).contiguous(memory_format=layout) for x in self.repair.pictures()]

    def _nonzero(self) -> float:
        """Share of the filters that the last mask zeroed that are not zero now."""
        alive, masked = 0, 0
        for name, mask in self.keep.items():
            if name in self.pruner.layers:
                rows = filters_of(self.pruner.layers[name]).detach()
                gone = ~mask.to(rows.device).bool()
                alive += int((rows[gone] != 0).any(1).sum())
                masked += int(gone.sum())
        return alive / max(masked, 1)

    def state_dict(self) -> dict[str, Any]:
        """Masks and states as plain tensors, loadable with ``weights_only=True``."""
        return {
            "keep": {name: mask.cpu() for name, mask in self.keep.items()},
            "renewals": self.renewals,
            "states": self.states,
            "version": self.version,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take masks back from a checkpoint."""
        self.keep = dict(state_dict["keep"])
        self.renewals = int(state_dict.get("renewals", 0))
        self.states = {name: dict(state) for name, state in state_dict.get("states", {}).items()}
        self.version = int(state_dict.get("version", "states" in state_dict))
        if self.repair is not None and self.version < self.repair.since:
            self.repair = None  # such runs were not mended when this one began
        self._holder = None

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Set pruned filters to exact zeros at the end."""
        if self.keep:
            with torch.no_grad():
                self.pruner.apply(self.keep)


def _regrown(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> float:
    """Share of the filters that one mask drops that the next one keeps."""
    dropped = sum(int((~mask.bool()).sum()) for mask in before.values())
    back = sum(
        int((~mask.bool() & after[name].to(mask.device).bool()).sum())
        for name, mask in before.items()
    )
    return back / max(dropped, 1)


def _state_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
