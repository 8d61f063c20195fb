"""Tests of trials that refit what is left and count the distance from the dense network."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest
import torch

from secateur.datamodules.demo_faces import DemoFacesData
from secateur.detectors.eresfd import GROUPS, HEADS, EResFD
from secateur.pruning.pruner import Pruner
from secateur.pruning.settings import PruningSettings
from secateur.search.dense_distance import DenseRefit
from secateur.search.face_objective import face_evaluator
from secateur.search.objective import Objective, ObjectiveSettings, TrialEvaluator, TrialNetwork
from secateur.search.rate_levels import RateMasks
from secateur.weights.detector_weights import read_weights

RATES = {"g1": 0.0, "g2": 0.0, "g3": 0.25, "g4": 0.5, "g5": 0.25, "g6": 0.0}
VIEWS = {"whole": 0.5, "zoom": 0.25, "native": 0.25}


@pytest.fixture(scope="module")
def network(reference: Path) -> EResFD:
    network = EResFD(anchor_ratio=1.25)
    network.load_state_dict(read_weights(reference / "weights/clovaai_eresfd_16.safetensors"))
    return network.eval()


def evaluator(network: EResFD, data: DemoFacesData, reconstruct: int) -> TrialEvaluator:
    settings = ObjectiveSettings(
        "distillation", batch_size=2, batches=2, reconstruct=reconstruct, views=VIEWS
    )
    return face_evaluator(
        data.training_pictures(),
        data.holdout_pictures(),
        settings,
        64,
        0,
        seed=0,
        dense=network,
        exclude=HEADS,
    )


def test_the_dense_network_has_no_distance_from_itself(
    network: EResFD, data: DemoFacesData
) -> None:
    assert evaluator(network, data, 0).quality(network) == pytest.approx(0, abs=1e-6)


def test_refitting_brings_a_pruned_network_nearer_and_leaves_no_trace(
    network: EResFD, data: DemoFacesData
) -> None:
    trained = copy.deepcopy(network)
    pruner = Pruner(
        trained,
        (torch.zeros(1, 3, 64, 64),),
        PruningSettings("fpgm", 0.0, groups=GROUPS["released"], exclude=list(HEADS)),
    )
    before = copy.deepcopy(trained.state_dict())
    masks = RateMasks(pruner, 0.9)
    plain, refitted = (
        Objective(TrialNetwork(trained, masks), evaluator(network, data, count))(RATES)
        for count in (0, 8)
    )
    assert plain < refitted < 0
    after = trained.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_a_refit_travels_to_another_process() -> None:
    network = EResFD().eval()
    refit = DenseRefit(network, [torch.zeros(1, 3, 64, 64)], HEADS)
    masked = copy.deepcopy(network)
    with torch.no_grad():
        masked.base.conv3[0].weight[:4] = 0
    refit(masked)
    assert len(pickle.loads(pickle.dumps(refit)).pictures) == 1
