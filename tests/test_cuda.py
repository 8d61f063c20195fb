"""What runs on a processor runs on a CUDA device too, and gives the same."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from secateur.detectors.detection import detect
from secateur.detectors.eresfd import EResFD
from secateur.detectors.extd import EXTD
from secateur.detectors.yunet import YuNet
from secateur.pruning.criteria import CRITERIA
from secateur.pruning.prune import prune
from secateur.pruning.pruner import Pruner
from secateur.pruning.reconstruction import reconstruct
from secateur.pruning.settings import PruningSettings
from secateur.recovery.detector_task import DistilledDetectorTask
from secateur.recovery.distillation import detector_distances

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

ROOT = Path(__file__).parents[1]
DETECTORS = {
    "eresfd": EResFD,
    "extd": lambda: EXTD(32),
    "yunet": lambda: YuNet(16, 64),
}
FACES = [torch.tensor([[0.2, 0.2, 0.6, 0.7], [0.7, 0.1, 0.9, 0.4]]), torch.zeros(0, 4)]


@pytest.fixture(autouse=True)
def exact_products() -> None:
    """TF32 keeps ten bits of a product; equality is a question of float32."""
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def images(count: int = 2, size: int = 192) -> Tensor:
    return 255 * torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0)) - 120


def network(kind: str) -> nn.Module:
    """A detector whose batch norms know the pictures, so that signals are of a size."""
    torch.manual_seed(0)
    model = DETECTORS[kind]().train()
    with torch.no_grad():
        for _ in range(20):
            model(images())
    return model.eval()


def assert_near(found: Tensor, expected: Tensor, tolerance: float = 1e-4) -> None:
    scale = float(expected.abs().max().clamp(min=1))
    torch.testing.assert_close(found.cpu(), expected.cpu(), rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("kind", DETECTORS)
def test_outputs_losses_and_faces_are_those_of_the_processor(kind: str) -> None:
    model = network(kind)
    there = copy.deepcopy(model).cuda()
    with torch.no_grad():
        outputs, others = model(images()), there(images().cuda())
        for found, expected in zip(others, outputs, strict=True):
            assert_near(found, expected)
        losses = model.losses(outputs, (192, 192), FACES)
        elsewhere = there.losses(others, (192, 192), [faces.cuda() for faces in FACES])
        assert losses.keys() == elsewhere.keys()
        for name, value in losses.items():
            assert float(elsewhere[name]) == pytest.approx(float(value), rel=1e-3, abs=1e-4)
        rows = detect(model, images(), score_threshold=0.02)
        others = detect(there, images().cuda(), score_threshold=0.02)
        for found, expected in zip(others, rows, strict=True):
            assert abs(len(found) - len(expected)) <= 1 + len(expected) // 50


@pytest.mark.parametrize("kind", ["eresfd", "yunet"])
def test_distillation_has_the_gradients_of_the_processor(kind: str) -> None:
    teacher, gradients = network(kind), {}
    for device in ("cpu", "cuda"):
        student, guide = copy.deepcopy(teacher).to(device), copy.deepcopy(teacher).to(device)
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in student.parameters():
                noise = torch.randn(parameter.shape, generator=generator).to(device)
                parameter += 0.05 * parameter.std(correction=0) * noise
            wanted = guide(images().to(device))
        terms = detector_distances(student, student(images().to(device)), guide, wanted)
        sum(terms.values()).backward()
        gradients[device] = {n: p.grad for n, p in student.named_parameters() if p.grad is not None}
    assert gradients["cpu"].keys() == gradients["cuda"].keys()
    for name, expected in gradients["cpu"].items():
        difference = float((gradients["cuda"][name].cpu() - expected).norm())
        assert difference <= 1e-2 * float(expected.norm()) + 1e-5, name


@pytest.mark.parametrize("criterion", sorted(set(CRITERIA) - {"taylor", "taylor_weight", "random"}))
def test_masks_are_those_of_the_processor(criterion: str) -> None:
    masks = {}
    for device in ("cpu", "cuda"):
        model = network("eresfd").to(device)
        settings = PruningSettings(criterion, 0.4, exclude=("loc.*", "conf.*"))
        pruner = Pruner(model, (images(1, 96).to(device),), settings)
        masks[device] = pruner.plan()
    assert all(torch.equal(masks["cpu"][name], mask.cpu()) for name, mask in masks["cuda"].items())


@pytest.mark.parametrize("scope", ["independent", "coupled"])
@pytest.mark.parametrize("kind", DETECTORS)
def test_a_network_is_pruned_refitted_and_proved_where_it_is(kind: str, scope: str) -> None:
    model = network(kind).cuda()
    pictures = list(images(8, 96).cuda().split(4))
    slim, report = prune(
        model, images(1, 96).cuda(), "fpgm", 0.3, scope=scope, reconstruct=pictures
    )
    assert {p.device.type for p in slim.parameters()} == {"cuda"}
    assert sum(p.numel() for p in slim.parameters()) < sum(p.numel() for p in model.parameters())
    assert report.account.total.sparsity > 0.05


def test_reconstruction_gives_the_weights_of_the_processor() -> None:
    dense, found = network("eresfd"), {}
    for device in ("cpu", "cuda"):
        masked, original = copy.deepcopy(dense).to(device), copy.deepcopy(dense).to(device)
        settings = PruningSettings("l2", 0.3, exclude=("loc.*", "conf.*"))
        pruner = Pruner(masked, (images(1, 96).to(device),), settings)
        pruner.apply(pruner.plan())
        reconstruct(original, masked, list(images(8, 96).to(device).split(4)))
        found[device] = masked(images(2, 96).to(device))
    for here, there in zip(found["cpu"], found["cuda"], strict=True):
        assert_near(there, here, 1e-2)


@pytest.mark.parametrize("kind", ["eresfd", "yunet"])
def test_a_distilled_step_runs_through_frozen_norms(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secateur.training_steps.check_loss", lambda *_: None)
    model = network(kind)
    task = DistilledDetectorTask(copy.deepcopy(model), model).cuda()
    monkeypatch.setattr(type(task), "log_dict", lambda *_, **__: None)
    monkeypatch.setattr(type(task), "log", lambda *_, **__: None)
    monkeypatch.setattr(type(task), "trainer", None)
    task.train()
    total = task.training_step((images().cuda(), [faces.cuda() for faces in FACES]), 1)
    total.backward()
    assert total.isfinite()


@pytest.mark.parametrize(
    "overrides",
    [
        ["model=eresfd"],
        ["model=eresfd", "trainer.precision=bf16-mixed"],
        ["model=yunet_n"],
        ["model=extd_32", "pruning=l1"],
        ["model=squeezenet"],
        ["model=mobilenet_v2", "pruning=taylor"],
    ],
    ids=" ".join,
)
def test_a_run_goes_through_every_phase(overrides: list[str], tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "train.py"), *overrides, "trainer=gpu", "debug=fast"]
    folder = tmp_path / "run"
    subprocess.run(
        [*command, f"output_dir={folder}", f"paths.data={tmp_path / 'data'}"],
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["params_slim"] < summary["params_dense"]


def test_a_run_from_weights_recovers_and_goes_on(tmp_path: Path) -> None:
    first = tmp_path / "first"
    base = [sys.executable, str(ROOT / "train.py"), "model=eresfd", "trainer=gpu", "debug=fast"]
    base.append(f"paths.data={tmp_path / 'data'}")
    subprocess.run([*base, "pruning=none", f"output_dir={first}"], check=True)
    weights = f"weights={first / 'checkpoints' / 'last.ckpt'}"
    for precision in ("32-true", "bf16-mixed"):
        folder = tmp_path / precision
        options = ["pruning=l2", weights, f"trainer.precision={precision}", f"output_dir={folder}"]
        subprocess.run([*base, *options], check=True)
        summary = json.loads((folder / "summary.json").read_text())
        assert summary["params_slim"] < summary["params_dense"]
