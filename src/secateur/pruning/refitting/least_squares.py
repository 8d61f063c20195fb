"""Ridge regression from sums over positions, so that memory does not grow with the pictures.

Where a map has more inputs than there are samples, the samples themselves take less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


class NormalEquations:
    """Sums from which the weights of a linear map can be fitted in closed form.

    A layer with several groups is as many maps side by side, each with inputs of its own; an
    ordinary convolution is one group, a depthwise one has a group per channel.

    Products are taken in the precision of the samples around the mean of the first ones, so that
    large means cancel before anything is rounded, and are added up in double precision.

    Args:
        mean_x: (G, K) about the mean of the inputs.
        mean_y: (G, O) about the mean of the outputs.
    """

    def __init__(self, mean_x: Tensor, mean_y: Tensor) -> None:
        self.offset_x, self.offset_y = mean_x, mean_y
        groups, inputs, outputs = *mean_x.shape, mean_y.shape[1]

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(groups, *shape, dtype=torch.float64, device=mean_x.device)

        self.count = 0
        self.sum_x, self.sum_y = zeros(inputs), zeros(outputs)
        self.xx, self.xy, self.yy = zeros(inputs, inputs), zeros(inputs, outputs), zeros(outputs)

    def add(self, x: Tensor, y: Tensor) -> None:
        """Count samples in.

        Args:
            x: (P, G, K) inputs.
            y: (P, G, O) outputs that are wanted.
        """
        x, y = (x - self.offset_x).movedim(0, 1), (y - self.offset_y).movedim(0, 1)
        self.count += x.shape[1]
        self.sum_x += x.sum(1)
        self.sum_y += y.sum(1)
        self.xx += x.mT @ x
        self.xy += x.mT @ y
        self.yy += y.square().sum(1)

    def add_sums(self, other: NormalEquations) -> None:
        """Count the samples of other sums in, which were made around the same means."""
        self.count += other.count
        for name in ("sum_x", "sum_y", "xx", "xy", "yy"):
            getattr(self, name).add_(getattr(other, name))

    @property
    def mean_x(self) -> Tensor:
        """Mean of the inputs, (G, K)."""
        return self.sum_x / self.count + self.offset_x

    @property
    def mean_y(self) -> Tensor:
        """Mean of the outputs, (G, O)."""
        return self.sum_y / self.count + self.offset_y

    def moments(self, *, centered: bool = True) -> tuple[Tensor, Tensor, Tensor]:
        """Second moments of the samples, times their number.

        Args:
            centered: Around the means; otherwise around zero.

        Returns:
            (G, K, K) of inputs, (G, K, O) of inputs and outputs, (G, O) of outputs.
        """
        mean_x, mean_y = self.sum_x / self.count, self.sum_y / self.count
        xx = self.xx - self.count * _outer(mean_x, mean_x)
        xy = self.xy - self.count * _outer(mean_x, mean_y)
        yy = self.yy - self.count * mean_y.square()
        if not centered:
            xx += self.count * _outer(self.mean_x, self.mean_x)
            xy += self.count * _outer(self.mean_x, self.mean_y)
            yy += self.count * self.mean_y.square()
        return xx, xy, yy


class Samples:
    """The samples of a linear map that has more inputs than there are samples.

    The last linear layer of a recognizer reads 25,088 numbers of each of some hundred pictures; the
    sums over their products would take 5 GB.

    Args:
        mean_x: (G, K) about the mean of the inputs.
        mean_y: (G, O) about the mean of the outputs.
    """

    def __init__(self, mean_x: Tensor, mean_y: Tensor) -> None:
        self.offset_x, self.offset_y = mean_x, mean_y
        self.x: list[Tensor] = []
        self.y: list[Tensor] = []

    def add(self, x: Tensor, y: Tensor) -> None:
        """Keep samples, (P, G, K) inputs and (P, G, O) outputs that are wanted."""
        self.x.append(x.movedim(0, 1))
        self.y.append(y.movedim(0, 1))

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(x.shape[1] for x in self.x)

    @property
    def mean_x(self) -> Tensor:
        """Mean of the inputs, (G, K)."""
        return torch.cat(self.x, 1).double().mean(1)

    @property
    def mean_y(self) -> Tensor:
        """Mean of the outputs, (G, O)."""
        return torch.cat(self.y, 1).double().mean(1)


@dataclass(frozen=True, slots=True)
class LinearFit:
    """Weights that were fitted, and how well they and those before fit.

    Args:
        weights: (G, K, O).
        error_before: Squared error of each output with the weights as they were, (G, O).
        error_after: The same with those that were fitted, (G, O).
        power: Squares of the outputs that are wanted, (G, O).
    """

    weights: Tensor
    error_before: Tensor
    error_after: Tensor
    power: Tensor


def fit_sums(
    sums: Sequence[tuple[NormalEquations, bool]], start: Tensor, damping: float | None
) -> LinearFit:
    """Fit one map to all samples that were summed up.

    Args:
        sums: Sums, each with whether its means are to be subtracted.
        start: (G, K, O) weights to stay near, in double precision.
        damping: As of ``solve_ridge``; None leaves the weights.
    """
    moments = [one.moments(centered=centered) for one, centered in sums]
    xx, xy, yy = (torch.stack(list(parts)).sum(0) for parts in zip(*moments, strict=True))
    weights = start if damping is None else solve_ridge(xx, xy, start, damping)
    before, after = (squared_error(xx, xy, yy, w) for w in (start, weights))
    return LinearFit(weights, before, after, yy)


def fit_samples(
    samples: Samples, start: Tensor, damping: float | None, *, centered: bool
) -> LinearFit:
    """``fit_sums`` of samples that are fewer than the inputs.

    Args:
        samples: The samples.
        start: (G, K, O) weights to stay near, in double precision.
        damping: As of ``solve_ridge``; None leaves the weights.
        centered: Whether their means are to be subtracted.
    """
    x, y = (torch.cat(parts, 1).double() for parts in (samples.x, samples.y))
    if centered:
        x, y = x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True)
    missing = y - x @ start
    step = torch.zeros_like(start) if damping is None else ridge_step(x, missing, damping)
    before, after = (error.square().sum(1) for error in (missing, missing - x @ step))
    return LinearFit(start + step, before, after, y.square().sum(1))


def ridge_step(x: Tensor, missing: Tensor, damping: float) -> Tensor:
    """How far ``solve_ridge`` moves weights, by the products of samples instead of inputs.

    (X'X + s I)^-1 X' = X' (X X' + s I)^-1, and the matrix on the right is the smaller one here.

    Args:
        x: (G, N, K) inputs.
        missing: (G, N, O) what the weights as they are leave of the outputs.
        damping: As of ``solve_ridge``.

    Returns:
        (G, K, O) to be added to the weights.
    """
    products = x @ x.mT
    diagonal = products.diagonal(dim1=1, dim2=2)
    strength = (damping * diagonal.sum(1) / x.shape[2]).clamp(min=torch.finfo(x.dtype).tiny ** 0.5)
    diagonal.add_(strength[:, None])
    factor, failed = torch.linalg.cholesky_ex(products)
    step = x.mT @ torch.cholesky_solve(missing, factor)
    usable = (failed == 0)[:, None, None] & step.isfinite().all(dim=(1, 2), keepdim=True)
    return torch.where(usable, step, 0.0)


def solve_ridge(xx: Tensor, xy: Tensor, start: Tensor, damping: float) -> Tensor:
    """Weights of least squared error that stay near given ones.

    Minimises ``||X W - Y||^2 + damping * mean(diag X'X) * ||W - start||^2`` for every group; the
    term keeps what no sample says anything about, such as weights that read dead channels.

    Args:
        xx: (G, K, K) X'X.
        xy: (G, K, O) X'Y.
        start: (G, K, O) weights to stay near.
        damping: Weight of the second term, above 0.

    Returns:
        (G, K, O) weights.

    Examples:
        >>> x = torch.tensor([[[1.0, 1.0], [2.0, 2.0]]]).double()  # one group; equal columns
        >>> y = torch.tensor([[[2.0], [4.0]]]).double()
        >>> xx, xy = x.mT @ x, x.mT @ y
        >>> start = torch.tensor([[[1.0], [0.0]]]).double()
        >>> solve_ridge(xx, xy, start, 1e-6).round(decimals=3).flatten().tolist()
        [1.5, 0.5]
    """
    diagonal = xx.diagonal(dim1=1, dim2=2)
    # An input that is constant everywhere leaves nothing to fit; any positive number keeps start.
    strength = (damping * diagonal.mean(1)).clamp(min=torch.finfo(xx.dtype).tiny ** 0.5)
    damped = xx.clone()
    damped.diagonal(dim1=1, dim2=2).add_(strength[:, None])
    factor, failed = torch.linalg.cholesky_ex(damped)
    right = xy + strength[:, None, None] * start
    solved = torch.cholesky_solve(right, factor)
    # Rounding can make a matrix of many equal columns indefinite; such a group stays as it was.
    usable = (failed == 0)[:, None, None] & solved.isfinite().all(dim=(1, 2), keepdim=True)
    return torch.where(usable, solved, start)


def squared_error(xx: Tensor, xy: Tensor, yy: Tensor, weights: Tensor) -> Tensor:
    """``||X W - Y||^2`` of every output, (G, O), at least 0.

    Args:
        xx: (G, K, K) X'X.
        xy: (G, K, O) X'Y.
        yy: (G, O) squares of Y.
        weights: (G, K, O).
    """
    error = yy - 2 * (weights * xy).sum(1) + (weights * (xx @ weights)).sum(1)
    return error.clamp(min=0)


def _outer(first: Tensor, second: Tensor) -> Tensor:
    return first[:, :, None] * second[:, None, :]
