"""Tests of the objective: a pure function of the rates that leaves no trace."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from secateur.datamodules.demo_faces import DemoFacesData
from secateur.detectors.detection import batch_losses
from secateur.detectors.eresfd import GROUPS, EResFD
from secateur.errors import InputError
from secateur.pruning.masks import masks_from_zeros
from secateur.pruning.pruner import Pruner
from secateur.pruning.settings import PruningSettings
from secateur.search.face_objective import HeldOutLoss, face_evaluator
from secateur.search.fixed_batches import FixedBatches
from secateur.search.objective import Objective, ObjectiveSettings, TrialNetwork, recalibrate
from secateur.search.rate_levels import RateMasks

RATES = {"g1": 0.25, "g2": 0.3, "g3": 0.1, "g4": 0.5, "g5": 0.2, "g6": 0.4}
SMALL = ObjectiveSettings(
    batch_size=2, batches=2, calibration_batches=2, train_batch_size=2, pictures=3
)


Parts = tuple[nn.Module, RateMasks]


@pytest.fixture(scope="module")
def parts() -> Parts:
    torch.manual_seed(0)
    network = EResFD().eval()
    pruner = Pruner(
        network,
        (torch.zeros(1, 3, 64, 64),),
        PruningSettings(
            "fpgm",
            rate=0.0,
            groups=GROUPS["released"],
            exclude=["loc.*", "conf.*"],
        ),
    )
    return network, RateMasks(pruner, 0.9)


@pytest.fixture
def trial_network(parts: Parts) -> TrialNetwork:
    network, rate_masks = parts
    return TrialNetwork(copy.deepcopy(network), rate_masks)


def make(trial_network: TrialNetwork, data: DemoFacesData, **options: object) -> Objective:
    steps = options.pop("train_steps", 0)
    settings = ObjectiveSettings(
        **{**{name: getattr(SMALL, name) for name in SMALL.__slots__}, **options}  # type: ignore[arg-type]
    )
    evaluator = face_evaluator(
        data.training_pictures(),
        data.holdout_pictures(),
        settings,
        64,
        steps,  # type: ignore[arg-type]
        seed=0,
    )
    return Objective(trial_network, evaluator)


def state_of(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("options", [{}, {"train_steps": 2}, {"kind": "ap"}])
def test_same_rates_give_the_same_figure_and_leave_no_trace(
    trial_network: TrialNetwork, data: DemoFacesData, options: dict[str, object]
) -> None:
    objective = make(trial_network, data, **options)
    before = state_of(trial_network.network)
    first = objective(RATES)
    between = objective(dict.fromkeys(RATES, 0.6))
    torch.rand(7)
    assert objective(RATES) == first
    assert np.isfinite(first)
    if options.get("kind") != "ap":  # a fresh network may find nothing either way
        assert between != first
    after = trial_network.network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not trial_network.network.training


def test_no_rates_without_calibration_is_the_plain_loss(
    trial_network: TrialNetwork, data: DemoFacesData
) -> None:
    objective = make(trial_network, data, calibration_batches=0)
    quality = objective.evaluator.quality
    assert isinstance(quality, HeldOutLoss)
    network = trial_network.network
    with torch.no_grad():
        losses = [batch_losses(network, images, faces) for images, faces in quality.batches]
    expected = -sum(
        np.mean([float(terms[name]) for terms in losses]) for name in ("location", "confidence")
    )
    assert objective(dict.fromkeys(RATES, 0.0)) == pytest.approx(expected, rel=1e-6)


def test_held_out_pictures_are_neither_trained_on_nor_validation(data: DemoFacesData) -> None:
    def names(folder: Path, annotations: list[object]) -> set[Path]:
        return {folder / item.name for item in annotations}  # type: ignore[attr-defined]

    training = data.training_pictures()
    held_out = data.holdout_pictures()
    validation = data.validation_pictures()
    train = names(training.folder, list(training.annotations))
    held = names(held_out.folder, list(held_out.annotations))
    val = names(validation.folder, list(validation.annotations))
    assert len(train) == 6
    assert len(held) == 4
    assert not held & train
    assert not held & val


def test_masks_within_and_restored_after(trial_network: TrialNetwork) -> None:
    network = trial_network.network
    convolutions = {n: m for n, m in network.named_modules() if isinstance(m, nn.Conv2d)}
    masks = trial_network.rate_masks.masks(RATES)
    removed = {name: int((~mask).sum()) for name, mask in masks.items()}
    with trial_network.masked(RATES):
        recalibrate(network, [torch.randn(2, 3, 64, 64)])
        masks = masks_from_zeros(convolutions)
        assert {name: int((~masks[name]).sum()) for name in removed} == removed
        seen: dict[str, Tensor] = {}
        handles = [
            network.get_submodule(norm).register_forward_hook(
                lambda _, __, output, name=name: seen.update({name: output})
            )
            for name, norm in trial_network.rate_masks.batchnorms.items()
            if name in removed
        ]
        with torch.no_grad():
            network(torch.randn(2, 3, 64, 64))
        for name, output in seen.items():
            assert torch.all(output[:, ~masks[name]] == 0)
        for handle in handles:
            handle.remove()
    assert all(mask.all() for mask in masks_from_zeros(convolutions).values())


def test_restored_after_an_error(trial_network: TrialNetwork) -> None:
    before = state_of(trial_network.network)

    def explode() -> None:
        with trial_network.masked(RATES):
            raise KeyError("in the middle")

    with pytest.raises(KeyError):
        explode()
    after = trial_network.network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_held_filters_stay_zero_in_training_and_free_ones_grow(
    trial_network: TrialNetwork, data: DemoFacesData
) -> None:
    counts = {}
    for hold in (True, False):
        objective = make(trial_network, data, train_steps=2, hold=hold)

        def count(network: nn.Module) -> float:
            return float(sum(int((p == 0).sum()) for p in network.parameters()))

        objective.evaluator.quality = count
        counts[hold] = objective(RATES)
    assert counts[True] > counts[False]


def test_recalibration_averages_batches() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3, track_running_stats=False))
    batches = [torch.randn(4, 3, 5, 5) * scale for scale in (1.0, 2.0, 3.0)]
    model.train()
    recalibrate(model, batches)
    norm = model[0]
    assert isinstance(norm, nn.BatchNorm2d)
    means = torch.stack([batch.mean((0, 2, 3)) for batch in batches]).mean(0)
    variances = torch.stack([batch.var((0, 2, 3)) for batch in batches]).mean(0)
    torch.testing.assert_close(norm.running_mean, means)
    torch.testing.assert_close(norm.running_var, variances)
    assert norm.momentum == 0.1
    assert norm.training


def test_batches_are_a_function_of_the_seed(data: DemoFacesData) -> None:
    training = data.training_pictures()
    batches, again = (FixedBatches(training, 5, 4, seed=1) for _ in range(2))
    for (images, faces), (images_again, faces_again) in zip(batches, again, strict=True):
        assert images.shape == (4, 3, 64, 64)
        assert torch.equal(images, images_again)
        assert all(map(torch.equal, faces, faces_again))
    other = FixedBatches(training, 5, 4, seed=2)
    assert not torch.equal(batches[0][0], other[0][0])
    with pytest.raises(IndexError):
        batches[5]


def test_identity_is_that_of_the_masks(trial_network: TrialNetwork, data: DemoFacesData) -> None:
    objective = make(trial_network, data)
    near = {name: rate + 1e-6 for name, rate in RATES.items()}
    assert objective.identity(RATES) == objective.identity(near)
    assert objective.identity(RATES) != objective.identity({**RATES, "g4": 0.6})


def test_settings_that_cannot_be(trial_network: TrialNetwork, data: DemoFacesData) -> None:
    with pytest.raises(InputError, match=r"objective\.kind must be one of"):
        ObjectiveSettings(kind="luck")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"objective\.batches must be at least 1"):
        ObjectiveSettings(batches=0)
    whole = DemoFacesData(data.root or "", n_train=10, n_val=2, input_size=64)
    whole.setup("fit")
    with pytest.raises(InputError, match="set holdout above 0"):
        make(trial_network, whole)
