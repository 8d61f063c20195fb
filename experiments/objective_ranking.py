"""How well the figure of a trial ranks what training makes of it: a rank correlation.

    PYTHONPATH=. python experiments/objective_ranking.py ROOT clovaai_eresfd_16.safetensors

Rates of the layers of EResFD are drawn and brought to one size. Every network is refitted, judged
by `objective=recovery` and by the average precision of held-out training pictures, then trained by
distillation for a few steps and judged by the average precision again. Prints a row of Markdown per
network and Spearman's rank correlation of both figures with the last. No validation picture is
read.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn
from torchmetrics.functional import spearman_corrcoef

from secateur.cost.parameters import sparsity
from secateur.data.augmentations.face_augmentation import FaceAugmentation
from secateur.data.face_dataset import FaceDataset
from secateur.detectors.detection import run, sum_losses
from secateur.pruning.masks import MaskHolder
from secateur.pruning.pruner import Pruner
from secateur.pruning.settings import PruningSettings
from secateur.recovery.distillation import detector_distances
from secateur.search.fixed_batches import FaceBatch, FixedBatches
from secateur.search.objective import Training, train_shortly
from secateur.workflows.build import build_data
from secateur.workflows.config.pruning_config import pruning_settings
from secateur.workflows.search.trial_setup import (
    build_evaluator,
    build_pruner,
    resolve_search_config,
)

HOME = Path(__file__).resolve().parents[1]

STEP = 4  # windows of one training step


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one rate vector gives.

    Attributes:
        sparsity: Zero parameters over all parameters.
        distance: From the dense network after refitting, on held-out pictures.
        refitted: Average precision on held-out pictures right after refitting.
        trained: The same after the training.
    """

    sparsity: float
    distance: float
    refitted: float
    trained: float


def main() -> None:
    """Measure every rate vector, then print both correlations."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", help="WIDER FACE layout")
    parser.add_argument("weights", help="official EResFD")
    parser.add_argument("--vectors", type=int, default=14)
    parser.add_argument("--params", type=float, default=48_700, help="of every slim network")
    parser.add_argument("--size", type=int, default=448, help="side of the windows")
    parser.add_argument("--steps", type=int, default=120, help="of 4 windows")
    options = parser.parse_args()
    recovery, precision = (
        composed(options.root, options.weights, options.size, objective)
        for objective in ("recovery", "ap")
    )
    pruner = build_pruner(recovery)
    dense = copy.deepcopy(pruner.model)
    judge = build_evaluator(recovery, dense)
    judge_precision = build_evaluator(precision, dense).quality
    batches = training_batches(recovery, dense, options.size, options.steps)
    print(f"dense: {judge_precision(dense):.3f}")
    print("| vector | sparsity | distance | AP refitted | AP trained |\n|---:|---:|---:|---:|---:|")
    outcomes = []
    for number in range(options.vectors):
        network = copy.deepcopy(dense)
        holder = masked(network, recovery, options.params, number)
        gone = sparsity(network)
        distance = -judge(network, holder.apply)
        refitted = judge_precision(network)
        training = Training(batches, Distillation(dense), lr=6e-4, weight_decay=0.0)
        train_shortly(network, training, holder.apply)
        found = Outcome(gone, distance, refitted, judge_precision(network))
        outcomes.append(found)
        cells = (f"{value:.3f}" for value in (gone, distance, refitted, found.trained))
        print(f"| {number} | {' | '.join(cells)} |", flush=True)
    trained = torch.tensor([found.trained for found in outcomes])
    for name, values in (
        ("minus the distance", [-found.distance for found in outcomes]),
        ("AP right after refitting", [found.refitted for found in outcomes]),
    ):
        print(f"rank correlation of {name}: {spearman_corrcoef(torch.tensor(values), trained):.2f}")


class Distillation:
    """The distance of a network from its dense self on a batch, as ``recover=distill`` weighs it.

    Args:
        dense: Network as it is before anything is masked.
    """

    def __init__(self, dense: nn.Module) -> None:
        self.dense: Any = dense.eval()

    def __call__(self, network: Any, batch: FaceBatch) -> Tensor:  # noqa: ANN401
        """Scalar loss; batch norms stay in evaluation mode."""
        network.eval()
        with torch.no_grad():
            wanted = run(self.dense, batch[0])[0]
        outputs = run(network, batch[0])[0]
        return sum_losses(
            detector_distances(network, outputs, self.dense, wanted, probabilities=10.0)
        )


def masked(network: nn.Module, config: DictConfig, params: float, seed: int) -> MaskHolder:
    """Mask a network at rates somewhere between those of the recipe and random ones.

    Layers that the recipe leaves alone stay whole: without them no network sees a face, and there
    would be nothing to rank.
    """
    generator = torch.Generator().manual_seed(seed)
    strange = float(torch.rand(1, generator=generator))
    recipe = OmegaConf.load(HOME / "conf/experiment/recover/eresfd_50.yaml")
    drawn = torch.rand(len(recipe.rates), generator=generator).tolist()
    settings = PruningSettings(
        config.pruning.criterion,
        rates={
            name: (1 - strange) * rate + strange * other
            for (name, rate), other in zip(recipe.rates.items(), drawn, strict=True)
        },
        groups={name: list(layers) for name, layers in recipe.pruning.groups.items()},
        exclude=pruning_settings(config).exclude,
        target={"params": params},
    )
    pruner = Pruner(network, (torch.zeros(1, 3, 128, 128),), settings)
    holder = MaskHolder(network, pruner.plan(), pruner.batchnorms)
    holder.apply()
    return holder


def training_batches(
    config: DictConfig, network: nn.Module, size: int, steps: int
) -> Sequence[FaceBatch]:
    """Windows of training pictures, in memory."""
    data = build_data(config, network)
    data.prepare_data()
    data.setup("fit")
    pictures = data.training_pictures()
    views = FaceAugmentation(size, views={"whole": 0.5, "zoom": 0.25, "native": 0.25})
    dataset = FaceDataset(pictures.folder, pictures.annotations, views, 0, pictures.preprocessing)
    return list(FixedBatches(dataset, steps, STEP, 0))


def composed(root: str, weights: str, size: int, objective: str) -> DictConfig:
    """The configuration of a search by layers."""
    settings = [
        *("model=eresfd", "pruning=l2", "data=widerface", f"data.root={root}"),
        *(f"weights='{weights}'", f"objective={objective}", f"search_size={size}"),
        *("holdout=0.1", "pruning.exclude=[loc.*,conf.*,base.m0.FEM_*]", "data.num_workers=0"),
    ]
    with initialize_config_dir(str(HOME / "conf"), version_base="1.3"):
        return resolve_search_config(compose("sensitivity", settings))


if __name__ == "__main__":
    main()
