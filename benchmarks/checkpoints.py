"""What safe checkpoints cost beside Lightning's: ``python -m benchmarks.checkpoints``.

Saving, and epochs that save, with Lightning's files and with ours, in turn in one process. With
settings of ``train.py`` behind it, whole epochs of that training instead, processor time::

    python -m benchmarks.checkpoints weights=eresfd.safetensors data=widerface data.root=WIDER
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning.callbacks import Checkpoint, ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from secateur.callbacks.dense_weights import DenseWeights
from secateur.callbacks.phase_checkpoint import PhaseCheckpoint
from secateur.detectors.eresfd import EResFD
from secateur.detectors.extd import EXTD
from secateur.workflows.build import (
    build_data,
    build_network,
    build_task,
    resolve_config,
    resolve_learning_rate,
)
from secateur.workflows.checkpoints import CheckpointFiles
from secateur.workflows.command_line.arguments import CONF

_ROUNDS = 25
_STEPS, _EPOCHS = 10, 8
_REAL_ROUNDS = 3


def state_of(network: nn.Module) -> dict[str, Any]:
    """What a run with Adam saves of a network."""
    optimizer = torch.optim.Adam(network.parameters())
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    return {
        "epoch": 1,
        "global_step": 4,
        "state_dict": network.state_dict(),
        "optimizer_states": [optimizer.state_dict()],
    }


def in_turn(ours: Callable[[], object], other: Callable[[], object]) -> tuple[float, float]:
    """Median seconds of two actions that take turns; the first round is not counted."""
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(_ROUNDS + 1):
        for action, taken in zip((ours, other), times, strict=True):
            started = time.perf_counter()
            action()
            if number:
                taken.append(time.perf_counter() - started)
    return statistics.median(times[0]), statistics.median(times[1])


class Small(pl.LightningModule):
    """A task whose steps cost next to nothing, so that whatever is beside them shows."""

    def __init__(self) -> None:
        super().__init__()
        self.network = EResFD()

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Squares of the weights of the first layer."""
        return next(self.network.parameters()).square().sum() + 0 * batch[0].sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam, as the runs have it."""
        return torch.optim.Adam(self.parameters())


def epochs(folder: Path, plugins: list[Any], times: dict[str, list[float]]) -> None:
    """Train some epochs that save one checkpoint each, and note seconds of steps and epochs."""

    class Clock(pl.Callback):
        def on_train_epoch_start(self, *_: object) -> None:
            self.epoch = time.perf_counter()

        def on_train_batch_start(self, *_: object) -> None:
            self.step = time.perf_counter()

        def on_train_batch_end(self, *_: object) -> None:
            times["step"].append(time.perf_counter() - self.step)

    class Last(Checkpoint):
        """Placed behind the checkpoint, so that an epoch has its saving in it."""

        def on_train_epoch_end(self, *_: object) -> None:
            times["epoch"].append(time.perf_counter() - clock.epoch)

    clock = Clock()
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=_EPOCHS,
        logger=False,
        plugins=plugins,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[
            clock,
            ModelCheckpoint(
                folder, "last", enable_version_counter=False, save_on_train_epoch_end=True
            ),
            Last(),
        ],
    )
    # Lightning puts checkpoint callbacks last.
    trainer.callbacks = [*(c for c in trainer.callbacks if not isinstance(c, Last)), Last()]
    trainer.fit(Small(), DataLoader(TensorDataset(torch.zeros(_STEPS, 1))))


class Processor(Checkpoint):
    """Notes the processor time of an epoch with all that is saved at its end, and of that end.

    Lightning calls callbacks that save after all others, so this has to be one of them.
    """

    def __init__(self) -> None:
        self.started = self.trained = self.seconds = self.saving = 0.0

    def on_train_epoch_start(self, *_: object) -> None:
        """Begin."""
        self.started = time.process_time()

    def on_train_batch_end(self, *_: object) -> None:
        """A step is done, perhaps the last one."""
        self.trained = time.process_time()

    def on_train_epoch_end(self, *_: object) -> None:
        """End; it has to be the last callback."""
        self.seconds = time.process_time() - self.started
        self.saving = time.process_time() - self.trained


def real_epochs(settings: Sequence[str]) -> None:
    """Print seconds of epochs of a training that saves as a run does, and as Lightning does.

    A run keeps the last epoch, the one before, the best one and the dense weights; Lightning's
    own two callbacks keep the last and the best one.

    Args:
        settings: Those of ``train.py``.
    """
    with initialize_config_dir(str(CONF), version_base="1.3"):
        fixed = ("recover=none", "pruning=none", "data.num_workers=0", "trainer=cpu")
        config = compose("train", [*fixed, *settings])
    config = resolve_learning_rate(resolve_config(config))
    pl.seed_everything(0, verbose=False)
    network, architecture = build_network(config)
    data = build_data(config, network)
    data.prepare_data()
    data.setup("fit")
    task = build_task(config, network)

    def epoch(folder: Path, ours: bool) -> tuple[float, float]:
        processor = Processor()
        best = {"monitor": "train/loss", "mode": "min", "enable_version_counter": False}
        last = ModelCheckpoint(
            folder, "last", enable_version_counter=False, save_on_train_epoch_end=True
        )
        saving: list[pl.Callback] = [
            ModelCheckpoint(folder, "best", save_on_train_epoch_end=True, **best)
        ]
        if ours:
            saving = [
                DenseWeights(folder, architecture, None),
                PhaseCheckpoint(folder, "dense", None, "train/loss", "min"),
                PhaseCheckpoint(folder, "pruned", None, "train/loss", "min"),
            ]
        trainer = pl.Trainer(
            accelerator="cpu",
            max_epochs=1,
            logger=False,
            limit_val_batches=0,
            limit_train_batches=config.trainer.limit_train_batches,
            plugins=[CheckpointFiles()] if ours else [],
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[processor, *saving, last],
        )
        others = (c for c in trainer.callbacks if c is not processor)
        trainer.callbacks = [*others, processor]  # Lightning puts checkpoint callbacks last
        trainer.fit(task, datamodule=data)
        values = processor.seconds, processor.saving
        print(
            "{:10}{:8.2f} s{:8.3f} s".format("ours" if ours else "Lightning", *values), flush=True
        )
        return values

    times: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        for number in range(_REAL_ROUNDS):
            for ours in (True, False) if number % 2 else (False, True):
                pl.seed_everything(number, verbose=False)
                times[ours].append(epoch(Path(name) / str(ours), ours))
    for position, what in enumerate(("an epoch", "saving at its end")):
        ours, other = (statistics.median(row[position] for row in times[k]) for k in (True, False))
        print(f"{what}: {ours:.3f} s, Lightning's {other:.3f} s, ratio {ours / other:.3f}")


def main(settings: Sequence[str] = ()) -> None:
    """Print a table of milliseconds and ratios."""
    warnings.simplefilter("ignore")
    if settings:
        real_epochs(settings)
        return
    rows: list[tuple[str, float, float]] = []
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        folder = Path(name)
        for label, network in (("EResFD", EResFD()), ("EXTD-64", EXTD(64))):
            state = state_of(network)
            ours, other = CheckpointFiles(), TorchCheckpointIO()
            pair = in_turn(
                lambda: ours.save_checkpoint(state, folder / "ours" / "last.ckpt"),  # noqa: B023
                lambda: other.save_checkpoint(state, folder / "other" / "last.ckpt"),  # noqa: B023
            )
            size = (folder / "ours" / "last.ckpt").stat().st_size / 2**20
            rows.append((f"checkpoint of {label}, {size:.1f} MB", *pair))
        found: dict[str, dict[str, list[float]]] = {
            kind: {"step": [], "epoch": []} for kind in ("ours", "other")
        }
        for _ in range(3):
            epochs(folder / "a", [CheckpointFiles()], found["ours"])
            epochs(folder / "b", [], found["other"])
        rows += [
            (f"training {what}", *(statistics.median(found[kind][what]) for kind in found))
            for what in ("step", "epoch")
        ]
    print(f"{'':36}{'ours':>10}{'Lightning':>11}{'ratio':>8}")
    for label, a, b in rows:
        print(f"{label:36}{1e3 * a:7.2f} ms{1e3 * b:8.2f} ms{a / b:8.2f}")


if __name__ == "__main__":
    main(sys.argv[1:])
