"""Reconstruction of recognizers: what is left right after pruning, without it and with it.

    PYTHONPATH=. python experiments/recognizer_reconstruction.py squeezenet --root LFW \
        --weights outputs/.../checkpoints/dense.safetensors

A ResNet-18 is trained first by

    PYTHONPATH=. python train.py model=resnet50 model.name=resnet18 model.network.stride=2 \
        model.network._target_=experiments.recognizer_reconstruction.ResNet18 pruning=none \
        data=lfw data.root=LFW data.input_size=48 data.batch_size=32 phases.dense_epochs=8

Prints one row of Markdown for each criterion and rate: accuracy, EER, AUC and the mean cosine with
the dense embeddings, pruned and, for each number of pictures, refitted. Nothing is trained. The
seconds are of the processor, on the threads that PyTorch may use (OMP_NUM_THREADS).
"""

from __future__ import annotations

import argparse
import copy
import time
from itertools import product
from pathlib import Path

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from torch import Tensor, nn
from torchvision.models import resnet18

from secateur.datamodules.identities import IdentitiesData
from secateur.metrics.embeddings import embed
from secateur.metrics.verification_metric import PairVerification
from secateur.pruning.pruner import Pruner
from secateur.pruning.reconstruction import reconstruct
from secateur.pruning.settings import PruningSettings
from secateur.workflows.build import build_data, build_network
from secateur.workflows.config.pruning_config import excluded_layers

HOME = Path(__file__).resolve().parents[1]

HEADS: tuple[str, ...] = ("layer4.1.conv2",)
"""The last convolution of `ResNet18` writes the embedding."""


class ResNet18(nn.Sequential):
    """Torchvision's ResNet-18, 11.2 M parameters; the embedding is the mean of its last map.

    Args:
        stride: Of the first convolution.
    """

    embedding_size = 512

    def __init__(self, stride: int = 2) -> None:
        base = resnet18()
        base.conv1.stride = (stride, stride)
        super().__init__()
        for name, part in list(base.named_children())[:-1]:
            self.add_module(name, part)
        self.add_module("flatten", nn.Flatten())


MODELS = {
    "squeezenet": ["model=squeezenet"],
    "resnet18": [
        "model=resnet50",
        "model.name=resnet18",
        "model.network._target_=experiments.recognizer_reconstruction.ResNet18",
        "model.network.stride=2",
    ],
}


def main() -> None:
    """Measure every combination and print its row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--root", required=True, help="LFW: folder with train, test and pairs.txt")
    parser.add_argument("--weights", required=True, help="trained dense network")
    parser.add_argument("--size", type=int, default=48, help="side of the pictures")
    parser.add_argument("--scopes", nargs="+", default=["independent"])
    parser.add_argument("--criteria", nargs="+", default=["fpgm", "l1"])
    parser.add_argument("--rates", nargs="+", type=float, default=[0.1, 0.2, 0.3, 0.4, 0.5])
    parser.add_argument("--pictures", nargs="+", type=int, default=[512])
    parser.add_argument("--every", type=int, default=1, help="2 takes every second pair, and so on")
    parser.add_argument("--embedding", action="store_true", help="refit the embedding layer too")
    options = parser.parse_args()
    config = composed(options.model, options.root, options.weights, options.size)
    network, _ = build_network(config)
    network.eval().to(memory_format=torch.channels_last)
    data = build_data(config, network)
    data.setup("fit")
    judge = Judge(data, options.every, network)
    heads = excluded_layers(config)
    pictures = {count: batched(data.recovery_pictures(count)) for count in options.pictures}
    print(f"dense: {judge(network)}", flush=True)
    for scope, criterion, rate in product(options.scopes, options.criteria, options.rates):
        masked = copy.deepcopy(network)
        settings = PruningSettings(criterion, rate, scope=scope, exclude=heads)
        pruner = Pruner(masked, (pictures[options.pictures[0]][0][:1],), settings)
        pruner.apply(pruner.plan())
        cells = [scope, criterion, f"{rate:g}", judge(masked)]
        for count in pictures:
            refitted = copy.deepcopy(masked)
            exclude = () if options.embedding else heads
            started = time.process_time()
            reconstruct(network, refitted, pictures[count], exclude=exclude)
            seconds = time.process_time() - started
            cells += [judge(refitted), f"{seconds:.1f}"]
        print(f"| {' | '.join(cells)} |", flush=True)


class Judge:
    """Accuracy, EER and AUC of LFW's pairs, and the mean cosine with the dense embeddings.

    Args:
        data: Datamodule, set up.
        every: Distance of the pairs that count, 1 for all.
        dense: Network before pruning.
    """

    def __init__(self, data: IdentitiesData, every: int, dense: nn.Module) -> None:
        pairs = data.pairs
        self.pairs = [x[::every] for x in (pairs.first, pairs.second, pairs.same, pairs.fold)]
        self.rows = torch.from_numpy(np.unique(np.concatenate(self.pairs[:2])))
        images, cut = data.verified.images, data.cut
        self.images = torch.stack([cut.middle(images[int(row)]) for row in self.rows])
        self.wanted = self._embed(dense)

    def __call__(self, network: nn.Module) -> str:
        """The figures of a network in one cell."""
        embeddings = self._embed(network)
        verification = PairVerification(*self.pairs)
        verification.update(embeddings, self.rows)
        figures = verification.compute()
        alike = nn.functional.cosine_similarity(embeddings, self.wanted).mean()
        return ", ".join(f"{float(figures[x]):.3f}" for x in ("accuracy", "eer", "auc")) + (
            f", {float(alike):.3f}"
        )

    @torch.inference_mode()
    def _embed(self, network: nn.Module) -> Tensor:
        batches = torch.split(self.images.contiguous(memory_format=torch.channels_last), 64)
        return torch.cat([embed(network, batch) for batch in batches])


def composed(model: str, root: str, weights: str, size: int) -> DictConfig:
    """The configuration of a training that starts from these weights."""
    settings = [f"data.root={root}", f"weights='{weights}'", f"data.input_size={size}"]
    with initialize_config_dir(str(HOME / "conf"), version_base="1.3"):
        return compose("train", [*MODELS[model], "data=lfw", *settings, "data.num_workers=0"])


def batched(images: Tensor) -> list[Tensor]:
    """Batches of one size, of at most 128 pictures."""
    size = next(size for size in range(128, 0, -1) if len(images) % size == 0)
    return [
        batch.contiguous(memory_format=torch.channels_last) for batch in torch.split(images, size)
    ]


if __name__ == "__main__":
    main()
