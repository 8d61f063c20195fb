from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from secateur.errors import InputError
from secateur.pruning.criteria import taylor, taylor_weight
from secateur.pruning.taylor import TaylorStatistics


class Twice(nn.Module):
    """A layer that is called at two sizes, behind an activation that works in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 5, 3, padding=1)
        self.shared = nn.Conv2d(5, 5, 3, padding=1)
        self.gate: Tensor = torch.ones(5)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.hardswish(self.first(x), inplace=True)
        x = (self.shared(x) * self.gate[:, None, None]).relu_()
        x = self.shared(x[..., ::2]) * self.gate[:, None, None]
        return x.tanh().mean((1, 2, 3))


def batches(dtype: torch.dtype = torch.float32) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(3)
    return [
        (
            torch.randn(4, 2, 6, 6, generator=generator, dtype=dtype),
            torch.randn(4, generator=generator, dtype=dtype),
        )
        for _ in range(3)
    ]


def gathered(model: nn.Module, criterion: str) -> dict[str, Tensor]:
    layers = {"first": model.first, "shared": model.shared}
    with TaylorStatistics(layers, criterion) as statistics:
        for images, targets in batches(model.first.weight.dtype):
            nn.functional.mse_loss(model(images), targets).backward()
            statistics.end_batch()
    assert not model.first._forward_hooks
    return statistics.means()


def test_taylor_is_the_finite_difference_of_the_loss_to_first_order() -> None:
    torch.manual_seed(0)
    model = Twice().double()
    found = gathered(model, "taylor")["shared"]
    positions = 6 * 6 + 6 * 3
    epsilon = 1e-5
    expected = torch.zeros(3, 5, dtype=torch.float64)
    for batch, (images, targets) in enumerate(batches(torch.float64)):
        for channel in range(5):
            # The share of each picture in the loss, with the channel scaled up and down.
            losses = []
            for scale in (1 + epsilon, 1 - epsilon):
                model.gate = torch.ones(5, dtype=torch.float64)
                model.gate[channel] = scale
                with torch.no_grad():
                    losses.append((model(images) - targets).square() / len(images))
            change = (losses[0] - losses[1]) / (2 * epsilon)
            expected[batch, channel] = (change / positions).abs().mean()
    torch.testing.assert_close(found.double(), expected.mean(0), rtol=1e-4, atol=1e-9)


def test_taylor_weight_is_the_squared_finite_difference() -> None:
    torch.manual_seed(0)
    model = Twice().double()
    found = gathered(model, "taylor_weight")["first"]
    epsilon = 1e-5
    expected = torch.zeros(3, 5, dtype=torch.float64)
    weight = model.first.weight.detach().clone()
    for batch, (images, targets) in enumerate(batches(torch.float64)):
        for channel in range(5):
            losses = []
            for scale in (1 + epsilon, 1 - epsilon):
                with torch.no_grad():
                    model.first.weight.copy_(weight)
                    model.first.weight[channel] *= scale
                    losses.append(nn.functional.mse_loss(model(images), targets))
            expected[batch, channel] = ((losses[0] - losses[1]) / (2 * epsilon)).square()
    torch.testing.assert_close(found.double(), expected.mean(0), rtol=1e-4, atol=1e-12)


def test_scores_of_a_layer_called_once_are_those_of_the_criterion() -> None:
    torch.manual_seed(0)
    model = Twice()
    images, targets = batches()[0]
    seen: list[Tensor] = []

    def note(_: nn.Module, __: object, output: Tensor) -> None:
        seen.append(output.detach().clone())
        output.register_hook(seen.append)

    handle = model.first.register_forward_hook(note)
    with TaylorStatistics({"first": model.first}, "taylor") as statistics:
        nn.functional.mse_loss(model(images), targets).backward()
        statistics.end_batch()
    handle.remove()
    activation, derivative = seen
    torch.testing.assert_close(statistics.means()["first"], taylor(activation, derivative))
    gradient = model.first.weight.grad
    assert gradient is not None
    model.zero_grad()
    with TaylorStatistics({"first": model.first}, "taylor_weight") as statistics:
        nn.functional.mse_loss(model(images), targets).backward()
        statistics.end_batch()
    torch.testing.assert_close(
        statistics.means()["first"], taylor_weight(model.first.weight.detach(), gradient)
    )


@pytest.mark.parametrize("criterion", ["taylor", "taylor_weight"])
def test_gathering_changes_no_gradient_and_accumulated_gradients_change_no_score(
    criterion: str,
) -> None:
    torch.manual_seed(0)
    model, plain = Twice(), Twice()
    plain.load_state_dict(model.state_dict())
    scores = gathered(model, criterion)
    for images, targets in batches():
        nn.functional.mse_loss(plain(images), targets).backward()
    for a, b in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)
    fresh = copy.deepcopy(plain)
    again = gathered(fresh, criterion)
    for name, score in scores.items():
        torch.testing.assert_close(again[name], score)


def test_processes_with_unequal_numbers_of_batches_count_every_batch_once() -> None:
    torch.manual_seed(0)
    model = Twice()
    layers = {"first": model.first}
    expected = gathered(model, "taylor")["first"]
    parts = []
    for share in (batches()[:2], batches()[2:]):
        with TaylorStatistics(layers, "taylor") as statistics:
            for images, targets in share:
                nn.functional.mse_loss(model(images), targets).backward()
                statistics.end_batch()
        parts.append(statistics)
    # What an all-reduce adds up, in the order in which the means ask for it.
    asked: list[list[Tensor]] = [[], []]
    for part, tensors in zip(parts, asked, strict=True):
        part.means(lambda tensor, tensors=tensors: tensors.append(tensor) or tensor)  # type: ignore[misc]
    sums = iter([a + b for a, b in zip(*asked, strict=True)])
    torch.testing.assert_close(parts[0].means(lambda _: next(sums))["first"], expected)


def test_without_a_batch_there_is_one_sentence() -> None:
    statistics = TaylorStatistics({"layer": nn.Conv2d(1, 2, 1)}, "taylor")
    with pytest.raises(InputError, match="no batch has been trained on yet"):
        statistics.means()
    with pytest.raises(ValueError, match="not fpgm"):
        TaylorStatistics({}, "fpgm")
