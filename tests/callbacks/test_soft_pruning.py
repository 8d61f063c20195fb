"""SoftPruningCallback: masks before validation, held to the end, kept in checkpoints."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from secateur.callbacks.soft_pruning import Repair, SoftPruningCallback
from secateur.callbacks.stage_recorder import StageRecorder
from secateur.pruning.pruner import Pruner
from secateur.pruning.schedule import Schedule, ScheduleKind
from secateur.pruning.settings import PruningSettings
from secateur.slimming.graph.network_graph import NetworkGraph, trace

EXAMPLE = (torch.zeros(1, 3, 8, 8),)


def make_network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 4, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


class Task(pl.LightningModule):
    """A regression on noise that notes how many filters were zero when validation read them."""

    def __init__(self) -> None:
        super().__init__()
        self.network = make_network()
        self.zero_filters: list[int] = []

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, targets = batch
        return nn.functional.mse_loss(self.network(images), targets)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        weight = self.network[0].weight
        self.zero_filters.append(int((weight.flatten(1) == 0).all(1).sum()))
        self.log("val/ap_hard", torch.tensor(float(self.current_epoch)))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-2)


def fit(
    folder: Path,
    schedule: Schedule,
    epochs: int | None = None,
    checkpoint: Path | None = None,
    **options: Any,
) -> tuple[Task, SoftPruningCallback, StageRecorder]:
    pl.seed_everything(0, verbose=False)
    task = Task()
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(16, 3, 8, 8, generator=generator)
    targets = torch.randn(16, 4, generator=generator)
    loader = DataLoader(TensorDataset(images, targets), batch_size=4)
    pruner = Pruner(task.network, EXAMPLE, PruningSettings("fpgm", rate=0.5, exclude=["3"]))
    callback = SoftPruningCallback(pruner, schedule)
    recorder = StageRecorder(schedule)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs or schedule.total_epochs,
        callbacks=[callback, recorder, pl.callbacks.ModelCheckpoint(folder, save_last=True)],
        logger=False,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        **options,
    )
    trainer.fit(task, loader, loader, ckpt_path=checkpoint, weights_only=True)
    return task, callback, recorder


def test_validation_reads_masked_weights_and_filters_grow_back_until_held(tmp_path: Path) -> None:
    schedule = Schedule("soft", dense_epochs=1, prune_epochs=4, finetune_epochs=2, every_n_epochs=3)
    task, callback, recorder = fit(tmp_path, schedule)
    # four validation batches an epoch; pruned after epochs 1 and 4, grown back in between
    assert task.zero_filters[::4] == [0, 4, 0, 0, 4, 4, 4]
    assert {name: mask.sum().item() for name, mask in callback.keep.items()} == {"0": 4}
    assert recorder.stages["start"] == {"ap_hard": 0.0}
    assert recorder.stages["masked"] == {"ap_hard": 4.0}
    assert recorder.stages["final"] == {"ap_hard": 6.0}


@pytest.mark.parametrize(
    "options", [{}, {"accumulate_grad_batches": 3}, {"precision": "bf16-mixed"}]
)
def test_mask_is_held_exactly_through_fine_tuning(tmp_path: Path, options: dict[str, Any]) -> None:
    schedule = Schedule("oneshot", prune_epochs=0, finetune_epochs=5)
    task, callback, _ = fit(tmp_path, schedule, **options)
    pruned = ~callback.keep["0"]
    assert pruned.sum() == 4
    convolution, batchnorm = task.network[0], task.network[1]
    assert not convolution.weight[pruned].any()
    assert not batchnorm.weight[pruned].any()
    assert not batchnorm.bias[pruned].any()
    assert convolution.weight[~pruned].any(1).all()


@pytest.mark.parametrize("kind", ["soft", "iterative", "gradual"])
def test_resumed_training_ends_at_the_same_weights(tmp_path: Path, kind: ScheduleKind) -> None:
    schedule = Schedule(kind, dense_epochs=1, prune_epochs=2, finetune_epochs=2)
    whole, callback, recorder = fit(tmp_path / "whole", schedule)
    for stop in (2, 4):
        folder = tmp_path / f"stop{stop}"
        fit(folder, schedule, epochs=stop)
        resumed, again, stages = fit(folder, schedule, checkpoint=folder / "last.ckpt")
        for ours, theirs in zip(resumed.parameters(), whole.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
        assert torch.equal(again.keep["0"], callback.keep["0"])
        assert stages.stages == recorder.stages


def test_iterative_schedule_never_gives_a_filter_back(tmp_path: Path) -> None:
    schedule = Schedule("iterative", prune_epochs=4)
    task, _, _ = fit(tmp_path, schedule)
    assert task.zero_filters[::4] == [1, 2, 3, 4]


def repaired(folder: Path, repair: Repair, epochs: int = 3) -> tuple[Task, SoftPruningCallback]:
    """A task whose network is mended after masking: soft for two epochs, then held."""
    pl.seed_everything(0, verbose=False)
    task = Task()
    # Behind a ReLU a zero filter has a gradient where its batch norm's shift is above zero.
    nn.init.uniform_(task.network[1].bias, 0.1, 0.5)
    pruner = Pruner(task.network, EXAMPLE, PruningSettings("fpgm", rate=0.5, exclude=["3"]))
    schedule = Schedule("soft", prune_epochs=2, finetune_epochs=1, mask_first=True)
    callback = SoftPruningCallback(pruner, schedule, repair)
    loader = DataLoader(TensorDataset(PICTURES, torch.randn(16, 4)), batch_size=4)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=[callback],
        logger=CSVLogger(folder, version=0),
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    trainer.fit(task, loader)
    return task, callback


PICTURES = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(3))


def test_the_graph_that_reconstruction_needs_is_recorded_once(tmp_path: Path) -> None:
    recorded: list[nn.Module] = []

    def record(network: nn.Module, inputs: Tensor) -> NetworkGraph:
        recorded.append(network)
        return trace(network, inputs)

    with patch("secateur.callbacks.soft_pruning.trace", record):
        _, callback = repaired(tmp_path, Repair(lambda: [PICTURES], refit=True))
    assert callback.renewals > 1
    assert len(recorded) == 1


def gradient_under_mask(*, soft: bool) -> tuple[Tensor, nn.Module]:
    """Gradient of the masked filters of a network, and its batch norm."""
    torch.manual_seed(0)
    network = make_network()
    nn.init.uniform_(network[1].bias, 0.1, 0.5)
    pruner = Pruner(network, EXAMPLE, PruningSettings("fpgm", rate=0.5, exclude=["3"]))
    keep = pruner.plan()
    pruner.apply(keep, soft=soft)
    network(PICTURES).square().sum().backward()
    return network[0].weight.grad[~keep["0"]].flatten(1), network[1]


def test_a_soft_mask_leaves_batch_norms_so_that_filters_grow_back() -> None:
    gradient, norm = gradient_under_mask(soft=True)
    assert bool((norm.weight != 0).all())
    assert bool((gradient.abs().amax(1) > 0).all())


def test_under_a_hard_mask_filters_have_no_gradient_and_cannot_grow_back() -> None:
    gradient, norm = gradient_under_mask(soft=False)
    assert int((norm.weight == 0).sum()) == len(gradient) == 4
    assert float(gradient.abs().max()) == 0


def test_shares_that_grew_back_are_in_the_metrics(tmp_path: Path) -> None:
    repaired(tmp_path, Repair(lambda: [PICTURES]))
    rows = list(csv.DictReader((tmp_path / "lightning_logs/version_0/metrics.csv").open()))
    nonzero = [float(row["pruning/nonzero"]) for row in rows if row.get("pruning/nonzero")]
    regrown = [float(row["pruning/regrown"]) for row in rows if row.get("pruning/regrown")]
    assert len(nonzero) == len(regrown) == 2
    assert all(share > 0.5 for share in nonzero)
    assert all(0 <= share <= 1 for share in regrown)


def test_readers_take_over_what_batch_norms_emitted_when_a_mask_becomes_final() -> None:
    network = make_network().eval()
    with torch.no_grad():
        network[1].bias.fill_(0.7)  # a zero filter emits 0.7 - something through the ReLU
        network[1].running_mean.uniform_(-0.1, 0.1)
    pruner = Pruner(network, EXAMPLE, PruningSettings("fpgm", rate=0.5, exclude=["3"]))
    keep = pruner.plan()
    pruner.apply(keep, soft=True)
    with torch.no_grad():
        before = network(PICTURES)
    callback = SoftPruningCallback(pruner, Schedule("oneshot"), Repair(lambda: [PICTURES]))
    callback.prune(pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False))
    with torch.no_grad():
        torch.testing.assert_close(network(PICTURES), before, atol=1e-5, rtol=1e-4)
    gone = ~callback.keep["0"]
    assert bool((network[1].weight[gone] == 0).all())
    assert bool((network[1].bias[gone] == 0).all())


def test_a_final_mask_is_reconstructed_and_both_states_are_kept(tmp_path: Path) -> None:
    dense = make_network().eval()
    task, callback = repaired(tmp_path, Repair(lambda: [PICTURES], True, dense, exclude=[]))
    assert set(callback.states) == {"masked", "reconstructed"}
    readers = [callback.states[name]["3.weight"] for name in ("masked", "reconstructed")]
    assert not torch.equal(*readers)
    gone = ~callback.keep["0"]
    for state in (*callback.states.values(), task.network.state_dict()):
        assert bool((state["0.weight"][gone] == 0).all())
    again = SoftPruningCallback(callback.pruner, callback.schedule)
    again.load_state_dict(callback.state_dict())
    assert again.renewals == callback.renewals == 3
    assert torch.equal(again.states["masked"]["3.weight"], readers[0])


def test_from_scratch_the_network_just_before_a_mask_is_matched() -> None:
    """Equal filters: what is left can give all that the network gave, if it is refitted."""
    network = make_network().eval()
    with torch.no_grad():
        for tensor in (network[0].weight, network[1].weight, network[1].bias):
            tensor[4:] = tensor[:4]
        before = network(PICTURES)
    pruner = Pruner(network, EXAMPLE, PruningSettings("fpgm", rate=0.5, exclude=["3"]))
    half = {"0": torch.arange(8) < 4}
    pruner.plan = lambda fraction: half  # type: ignore[method-assign, assignment]
    callback = SoftPruningCallback(pruner, Schedule("oneshot"), Repair(lambda: [PICTURES], True))
    callback.prune(pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False))
    assert bool((network[0].weight[4:] == 0).all())
    with torch.no_grad():
        torch.testing.assert_close(network(PICTURES), before, atol=0.02, rtol=0.02)
        network.load_state_dict(callback.states["masked"])
        assert float((network(PICTURES) - before).abs().max()) > 0.1


def test_a_run_that_an_earlier_version_began_goes_on_without_repair() -> None:
    pruner = Pruner(make_network(), EXAMPLE, PruningSettings("fpgm", rate=0.5, exclude=["3"]))
    callback = SoftPruningCallback(pruner, Schedule("oneshot"), Repair(lambda: [PICTURES], True))
    callback.load_state_dict({"keep": {"0": torch.arange(8) < 4}})
    assert callback.repair is None


@pytest.mark.parametrize(
    ("state", "since", "mended"),
    [
        ({}, 1, False),
        ({"states": {}}, 1, True),
        ({"states": {}}, 2, False),
        ({"states": {}, "version": 2}, 2, True),
    ],
)
def test_a_run_is_mended_to_its_end_as_the_version_did_that_began_it(
    state: dict[str, Any], since: int, mended: bool
) -> None:
    repair = Repair(lambda: [PICTURES], True, since=since)
    pruner = Pruner(make_network(), EXAMPLE, PruningSettings("fpgm", rate=0.5, exclude=["3"]))
    callback = SoftPruningCallback(pruner, Schedule("oneshot"), repair)
    callback.load_state_dict({"keep": {}, **state})
    assert (callback.repair is not None) is mended
    again = SoftPruningCallback(pruner, Schedule("oneshot"), repair)
    again.load_state_dict(callback.state_dict())  # stopped and continued a second time
    assert (again.repair is not None) is mended
