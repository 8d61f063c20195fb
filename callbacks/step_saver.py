"""StepSaver: the slim network of one step of pruning, and a recogniser's embeddings."""

from __future__ import annotations

import copy
import logging
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.seed import isolate_rng
from torch import Tensor, nn

from secateur.cost.macs import count_macs
from secateur.cost.parameters import count_parameters
from secateur.described_network import Builders
from secateur.files import replacing_folder
from secateur.metrics.embedding_file import Embeddings, write_embeddings
from secateur.metrics.embeddings import embed
from secateur.pruning.artifact import PICTURES, save_verified_slim
from secateur.recognizers.task import RecognizerTask
from secateur.slimming.equivalence import TOLERANCE
from secateur.slimming.graph.network_graph import NetworkGraph

log = logging.getLogger(__name__)

ROUGH_TOLERANCE = 0.05  # relative; validation in half precision or TF32 against single precision


class SavedStep(NamedTuple):
    """Size of the slim network of a step.

    Attributes:
        parameters: Parameters of the slim network.
        macs: MACs of the slim network, for one picture of the training size.
    """

    parameters: int
    macs: int


class StepSaver:
    """Writes a folder that ``evaluate.py run=`` and ``load_slim`` take like that of a run.

    The network is slimmed as at the end of a run and proved equal to the masked one on real
    pictures. Embeddings are those that validation has just computed, so they cost no forward; the
    slim network must give the same for the pictures of the proof.

    Args:
        folder: Run folder.
        architecture: Name and arguments that build the dense network.
        builders: Architecture name -> what builds it.
        input_size: Side of the picture that MACs are counted for, in pixels.
        align: Numbers of filters become multiples of this, or stay whole.
        equal: False lets layer norms and group norms lose channels, see ``slim``.
        traced: Operator graph of the network, see ``save_verified_slim``.
    """

    def __init__(
        self,
        folder: Path,
        architecture: Mapping[str, Any],
        builders: Builders,
        input_size: int,
        align: int = 1,
        equal: bool = True,
        traced: NetworkGraph | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.architecture = architecture
        self.builders = builders
        self.align = align
        self.equal = equal
        self.traced = traced
        self.example = torch.zeros(1, 3, input_size, input_size)

    def save(self, trainer: pl.Trainer, pl_module: pl.LightningModule, name: str) -> SavedStep:
        """Write the step; every process takes part in gathering, and the first one writes.

        Args:
            trainer: Right after a validation.
            pl_module: The task around the masked network.
            name: Name of the folder under ``steps``.

        Raises:
            RuntimeError: If slim network or embeddings differ from the masked network.
        """
        found = _gather(trainer, pl_module)
        if not trainer.is_global_zero:
            return SavedStep(0, 0)  # it writes nothing, and only the first process draws
        started = time.perf_counter()
        network = pl_module.network
        assert isinstance(network, nn.Module)
        masked = copy.deepcopy(network).cpu().eval()
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        pictures = [image[None] for image in data.validation_images(PICTURES)]
        # Building the slim network anew draws weights that the training must not miss.
        with isolate_rng(), replacing_folder(self.folder / "steps" / name) as temporary:
            slimmed, difference, _ = save_verified_slim(
                temporary,
                masked,
                self.architecture,
                self.builders,
                self.example,
                ((picture,) for picture in pictures),
                align=self.align,
                equal=self.equal,
                traced=self.traced,
            )
            if found is not None:
                assert isinstance(pl_module, RecognizerTask)
                tolerance = _tolerance(trainer, pl_module)
                prove_embeddings(slimmed, pictures, found, pl_module.flip, tolerance)
                write_embeddings(temporary / "embeddings.safetensors", found)
            if (self.folder / "config.yaml").is_file():  # evaluate.py reads the data from it
                shutil.copyfile(self.folder / "config.yaml", temporary / "config.yaml")
            step = SavedStep(count_parameters(slimmed), count_macs(slimmed, (self.example,)).total)
        log.info(
            "steps/%s: %s parameters, %.4g MACs, max abs difference %.2g, saved in %.1f s",
            *(name, f"{step.parameters:,}", step.macs, difference, time.perf_counter() - started),
        )
        return step


def prove_embeddings(
    slimmed: nn.Module, pictures: list[Tensor], found: Embeddings, flip: bool, tolerance: float
) -> None:
    """Compare what a slim network says of the first pictures with what was kept.

    Args:
        slimmed: The slim network.
        pictures: Inputs (1, 3, S, S) of the first pictures.
        found: Embeddings of pictures.
        flip: Whether embeddings are means over mirror images.
        tolerance: Largest difference, relative to the largest element.

    Raises:
        RuntimeError: If one differs by more.
    """
    for row, number in enumerate(found.images[: len(pictures)].tolist()):
        if number >= len(pictures):
            break
        with torch.inference_mode():
            again = embed(slimmed, pictures[number], flip)[0]
        kept = found.embeddings[row]
        gap = float((again - kept).abs().max())
        if gap > tolerance * max(1.0, float(kept.abs().max())):
            name = found.pictures[number]
            raise RuntimeError(
                f"the slim network gives another embedding of {name} than validation did, by "
                f"{gap:.2g}: this is a defect of slimming, please report it"
            )


def _gather(trainer: pl.Trainer, pl_module: pl.LightningModule) -> Embeddings | None:
    """Embeddings of the validation that has just ended, of all processes; None for a detector."""
    if not isinstance(pl_module, RecognizerTask) or pl_module.verification is None:
        return None
    metric = pl_module.verification
    with metric.sync_context():
        embeddings, images = (tensor.cpu() for tensor in metric.embedded())
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    return Embeddings(
        embeddings=embeddings,
        images=images,
        first=metric.first.cpu(),
        second=metric.second.cpu(),
        same=metric.same.cpu(),
        fold=None if metric.fold is None else metric.fold.cpu(),
        pictures=tuple(data.picture_names),
    )


def _tolerance(trainer: pl.Trainer, pl_module: pl.LightningModule) -> float:
    """Largest difference that precision explains: the proof runs in single precision on a CPU."""
    exact = trainer.precision == "32-true" and pl_module.device.type == "cpu"
    return TOLERANCE if exact else ROUGH_TOLERANCE
