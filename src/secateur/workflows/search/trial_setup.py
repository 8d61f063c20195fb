"""Trial setup, shared by search and sensitivity: network, pruner and evaluator of trials."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Literal

import torch
from omegaconf import DictConfig, OmegaConf, open_dict
from torch import Tensor, nn

from secateur.errors import InputError
from secateur.pruning.pruner import Pruner
from secateur.recognizers.classification_heads import make_head
from secateur.runtime.allocator import keep_large_blocks
from secateur.search.face_objective import face_evaluator
from secateur.search.identity_objective import identity_evaluator
from secateur.search.objective import ObjectiveSettings, TrialEvaluator
from secateur.weights.detector_weights import read_weights
from secateur.weights.recognizer_weights import head_weights, is_imagenet
from secateur.workflows.build import build_data, build_network
from secateur.workflows.config.pruning_config import pruning_settings, tell_dead_filters

log = logging.getLogger(__name__)

TRACE_SIZE = 128  # pixels; which batch norm follows a layer does not depend on the picture

_FACE_SIZE = 320  # pixels; recognisers keep the size of their data


def resolve_search_config(config: DictConfig) -> DictConfig:
    """Write out what depends on the kind of model, so that it is saved as it ran.

    Raises:
        InputError: If the model can neither detect nor recognise, or is one to compare with.
    """
    if config.model.task not in ("detection", "recognition"):
        raise InputError(
            f"search.py knows detectors and recognisers, and {config.model.name} is neither"
        )
    config = config.copy()
    with open_dict(config):
        if config.model.task == "detection":
            config.search_size = config.search_size or _FACE_SIZE
            config.data.official_lists = False  # the validation pictures have no part in it
        else:
            config.search_size = config.search_size or config.data.input_size
        config.data.input_size = config.search_size
        config.rate, config.rates = 0.0, {}  # what is searched for
    return config


def build_pruner(config: DictConfig) -> Pruner:
    """The network of the configuration in evaluation mode, and its pruner.

    Raises:
        InputError: If the weights, a layer or a group does not fit, or a criterion needs training.
    """
    keep_large_blocks()
    torch.manual_seed(int(config.seed))
    network, _ = build_network(config)
    network.to(memory_format=torch.channels_last)
    network.eval()
    settings = replace(pruning_settings(config), target={})
    # The last layer of a recognizer may be made for pictures of one size.
    side = TRACE_SIZE if config.model.task == "detection" else int(config.search_size)
    pruner = Pruner(network, (torch.zeros(1, 3, side, side),), settings)
    if pruner.needs_statistics:
        raise InputError(
            f"pruning={pruner.criterion} scores filters by what happens in training, and here "
            "scores come first: take fpgm, l1, l2 or batchnorm"
        )
    tell_dead_filters(config, pruner)
    return pruner


def build_evaluator(
    config: DictConfig, network: nn.Module, train_steps: object = 0
) -> TrialEvaluator:
    """Make the evaluator of masked networks, on pictures held out of the training list.

    Raises:
        InputError: If nothing is held out, or the objective does not suit the model.
    """
    data = build_data(config, network)
    data.prepare_data()
    data.setup("fit")
    log.info("%s", data.describe())
    settings = ObjectiveSettings(**OmegaConf.to_container(config.objective, resolve=True))  # type: ignore[arg-type]
    steps, seed = _train_steps(train_steps), int(config.seed)
    exclude = pruning_settings(config).exclude
    if config.model.task == "detection":
        return face_evaluator(
            data.training_pictures(),
            data.holdout_pictures(),
            settings,
            int(config.search_size),
            steps,
            seed,
            network,
            exclude,
        )
    images, labels, _ = data.labeled
    head = trained_head(config, network, data.n_identities)
    return identity_evaluator(
        images,
        labels,
        data.training,
        data.held_out,
        data.cut,
        head,
        settings,
        steps,
        seed,
        network,
        exclude,
    )


def trained_head(config: DictConfig, network: nn.Module, n_identities: int) -> nn.Module | None:
    """The identification head in the weights; None if there is none for these people."""
    if is_imagenet(config.weights):
        return None
    found: dict[str, Tensor] = head_weights(read_weights(str(config.weights)))
    lightning = config.model.lightning
    size = network.embedding_size
    assert isinstance(size, int)
    head = make_head(lightning.head, size, n_identities, lightning.scale, lightning.margin)
    shapes = {name: tensor.shape for name, tensor in head.state_dict().items()}
    if shapes != {name: tensor.shape for name, tensor in found.items()}:
        return None
    head.load_state_dict(found)
    return head


def objective_name(config: DictConfig) -> str:
    """What the objective is, for plots; larger is better."""
    names = {
        "ap": "AP on held-out pictures",
        "loss": "minus held-out loss",
        "distillation": "minus distance from the dense network",
        "verification": "minus EER of held-out people",
    }
    return names[str(config.objective.kind)]


def _train_steps(wanted: object) -> int | Literal["epoch"]:
    if wanted == "epoch":
        return "epoch"
    if isinstance(wanted, int) and wanted >= 0:
        return wanted
    raise InputError(f"train_steps must be 0, a number of steps or epoch, got {wanted}")
