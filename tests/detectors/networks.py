"""What both detectors must do: checks that their test files share."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from secateur.detectors.multibox_loss import multibox_loss
from secateur.detectors.postprocess import select_faces
from secateur.detectors.prediction_heads import decode_chosen, face_probabilities


def select_anchored(
    locations: Tensor,
    logits: Tensor,
    anchors: Tensor,
    select: Callable[..., Any] = select_faces,
    **limits: float,
) -> Any:
    """Faces from the outputs of a detector with anchors."""
    scores = face_probabilities(logits)
    return select(scores, lambda chosen: decode_chosen(locations, anchors, chosen), **limits)


def random_input(height: int, width: int, batch: int = 1, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 3, height, width, generator=generator) * 60


def assert_freezes(network: nn.Module) -> None:
    """Exported with free sizes, and traced, the network computes the same at another size."""
    network.eval()
    example, other = random_input(136, 160), random_input(165, 259, seed=1)
    dynamic = {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    exported = torch.export.export(network, (example,), dynamic_shapes=(dynamic,)).module()
    traced = torch.jit.trace(network, example, check_trace=False)
    with torch.inference_mode():
        expected = network(other)
        for frozen in (exported, traced):
            for one, two in zip(frozen(other), expected, strict=True):
                torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-4)


def assert_any_size(network: nn.Module) -> None:
    """One location, one pair of logits and one anchor per cell at sizes no stride divides."""
    network.eval()
    for height, width in ((333, 517), (65, 128), (31, 1)):
        with torch.inference_mode():
            locations, logits = network(random_input(height, width, batch=2))
        n_anchors = len(network.anchors(height, width))
        assert locations.shape == (2, n_anchors, 4)
        assert logits.shape == (2, n_anchors, 2)


def assert_copies(network: nn.Module) -> None:
    """Copies by both ways are equal, and anchors add nothing to the state dict."""
    network.eval()
    names = set(network.state_dict())
    anchors = network.anchors(96, 64)
    image = random_input(96, 64)
    for other in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert set(other.state_dict()) == names
        assert torch.equal(other.anchors(96, 64), anchors)
        with torch.inference_mode():
            assert torch.equal(other(image)[0], network(image)[0])


def assert_golden_outputs(
    reference: Path, name: str, network: nn.Module, golden_input: Callable[[int], Tensor]
) -> None:
    """Raw outputs for the golden pictures, to 1e-4, and the anchors exactly."""
    with np.load(reference / f"golden/forward/{name}_raw320.npz") as golden:
        assert np.array_equal(network.anchors(320, 320).numpy(), golden["priors"])
        for index in range(5):
            with torch.inference_mode():
                locations, logits = network(golden_input(index))
            assert np.abs(locations[0].numpy() - golden[f"img{index}_loc"]).max() <= 1e-4
            assert np.abs(logits[0].numpy() - golden[f"img{index}_conf"]).max() <= 1e-4


def assert_golden_training_step(
    reference: Path,
    prefix: str,
    network: nn.Module,
    optimizer: Optimizer,
    images: Tensor,
    stored_name: Callable[[str], str],
    unused: str | None = None,
) -> None:
    """One step in training mode: losses, gradients, parameters and batch-norm buffers.

    Parameters and buffers whose name begins with ``unused`` are left out of the comparison.
    """
    folder = reference / "golden/loss"
    golden = json.loads((folder / f"{prefix}_meta.json").read_text())["trainstep"]
    with np.load(folder / f"{prefix}_trainstep_320.npz") as file:
        arrays = {name: file[name] for name in file.files}
    faces = [torch.from_numpy(arrays[f"gt{n}"][:, :4]) for n in range(2)]
    network.train()
    losses = multibox_loss(*network(images), network.anchors(320, 320), faces)
    for loss, key in zip(losses, ("loss_l", "loss_c"), strict=True):
        assert abs(loss.item() - golden[key]) <= 1e-4
    sum(losses).backward()

    def assert_norm(value: Tensor, expected: float, what: str, tolerance: float = 1e-3) -> None:
        # Gradients that are rounding noise (a bias before a batch norm) have no digits to agree.
        assert abs(value.double().norm().item() - expected) <= tolerance * expected + 1e-4, what

    parameters = {
        name: value
        for name, value in network.named_parameters()
        if unused is None or not name.startswith(unused)
    }
    full_gradients = 0
    for name, value in parameters.items():
        stored = stored_name(name)
        gradient = torch.zeros(()) if value.grad is None else value.grad
        # The slope of a PReLU sums millions of float32 terms of both signs into one number, whose
        # third digit depends on the number of threads.
        tolerance = 2e-2 if value.numel() == 1 else 1e-3
        assert_norm(gradient, golden["grad_norm_sum"][stored][0], name, tolerance)
        if f"grad/{stored}" in arrays:
            expected = torch.from_numpy(arrays[f"grad/{stored}"])
            error = (gradient - expected).norm() / expected.norm()
            assert error <= 1e-3, name
            full_gradients += 1
    assert full_gradients >= 5
    optimizer.step()
    for name, value in parameters.items():
        assert_norm(value, golden["params_after_step_norm_sum"][stored_name(name)][0], name)
    for name, value in network.named_buffers():
        stored = stored_name(name)
        if stored in golden["buffers_after_step_norm_sum"] and not (
            unused and name.startswith(unused)
        ):
            assert_norm(value, golden["buffers_after_step_norm_sum"][stored][0], name)
