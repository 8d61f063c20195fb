"""What a slim network must still be good for, over the networks of the standing comparison."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from benchmarks.any_network import NAMES, example, make_network
from secateur.pruning import load_slim, prune, save_slim
from secateur.slimming.slim import largest_difference

pytestmark = pytest.mark.slow


def tensors(outputs: object) -> list[Tensor]:
    """All tensors that a forward returned."""
    return [leaf for leaf in torch.utils._pytree.tree_leaves(outputs) if isinstance(leaf, Tensor)]


def worth(network: nn.Module, images: Tensor) -> Tensor:
    """One number that every output has a part in."""
    return torch.stack([out.float().square().mean() for out in tensors(network(images))]).sum()


@pytest.mark.parametrize("name", NAMES)
def test_a_slim_network_trains_exports_halves_loads_and_is_pruned_again(
    name: str, tmp_path: Path
) -> None:
    dense = make_network(name)
    images = example(dense)
    slim = prune(dense, images, "l1", 0.5).model

    save_slim(tmp_path, slim, {"name": "network", "arguments": {}})
    loaded = load_slim(tmp_path, {"network": lambda: make_network(name)})
    assert largest_difference(slim, loaded, [(images,)]) == 0.0

    with torch.no_grad():
        expected = tensors(slim(images))
        exported = torch.export.export(slim, (images,), strict=False).module()
        compiled = torch.compile(slim, backend="eager")
        for form in (exported, compiled):
            for ours, theirs in zip(expected, tensors(form(images)), strict=True):
                torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    path = tmp_path / "network.onnx"
    torch.onnx.export(slim, (images,), path, dynamo=True, verbose=False)
    assert path.stat().st_size > 0

    again = prune(slim, images, "l1", 0.3).report.account.total
    assert again.parameters_slim < again.parameters

    trained = loaded.train()
    batch = images.repeat(2, 1, 1, 1) + 0.1 * torch.randn(2, *images.shape[1:])
    before = worth(trained, batch)
    before.backward()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for parameter in trained.parameters():
            if parameter.grad is not None:
                assert parameter.grad.isfinite().all()
                parameter -= 1e-6 * parameter.grad
    trained.zero_grad()

    half = slim.to(torch.bfloat16)
    assert all(out.dtype == torch.bfloat16 for out in tensors(half(images.bfloat16())))
