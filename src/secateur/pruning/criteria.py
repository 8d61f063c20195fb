"""Criteria: they score the filters of a layer; filters of low score are removed first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches

import torch
from torch import Tensor, nn

from secateur.errors import InputError
from secateur.filters import filters_of

_BLOCK = 128  # filters whose distances are held at once: 2 MB a layer against 2048 others
_WEIGHTS = 2**22  # weights that are held in float64 at once: 32 MB
_CACHED = 2**18  # the same where a processor's own memory decides on the speed: 2 MB


def fpgm(weight: Tensor) -> Tensor:
    """Sum of the Euclidean distances to the layer's other filters (He et al. 2019, eq. 4).

    A filter near the geometric median of its layer can be replaced by the others. Distances come
    from inner products in float64 of filters whose mean was subtracted; distances do not depend
    on the mean, and without it no cancellation can cost more than 1e-7 of a score.

    Args:
        weight: Filters (n_filters, ...).

    Returns:
        Scores (n_filters,).

    Example:
        >>> fpgm(torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]]))
        tensor([ 5., 10.,  5.])
    """
    return _fpgm(_stacked(weight))[0]


def l1(weight: Tensor) -> Tensor:
    """Sum of absolute weights (Li et al. 2017, section 3.1).

    Args:
        weight: Filters (n_filters, ...).

    Returns:
        Scores (n_filters,).

    Example:
        >>> l1(torch.tensor([[3.0, -4.0], [0.0, 1.0]]))
        tensor([7., 1.])
    """
    return _l1(_stacked(weight))[0]


def l2(weight: Tensor) -> Tensor:
    """Euclidean norm (He et al. 2018, soft filter pruning).

    Args:
        weight: Filters (n_filters, ...).

    Returns:
        Scores (n_filters,).

    Example:
        >>> l2(torch.tensor([[3.0, -4.0], [0.0, 1.0]]))
        tensor([5., 1.])
    """
    return _l2(_stacked(weight))[0]


def random(weight: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Random scores: the control that every criterion has to beat.

    Args:
        weight: Filters (n_filters, ...); only their number counts.
        generator: Source of randomness on the CPU; torch's own by default.

    Returns:
        Scores (n_filters,) in [0, 1).
    """
    return torch.rand(weight.shape[0], generator=generator).to(weight.device)


def batchnorm(scale: Tensor) -> Tensor:
    """Absolute scale of the batch norm behind a filter (Liu et al. 2017, network slimming).

    Args:
        scale: Scales (n_filters,) of the batch norm that reads the layer.

    Returns:
        Scores (n_filters,).

    Example:
        >>> batchnorm(torch.tensor([-0.5, 0.0]))
        tensor([0.5000, 0.0000])
    """
    return scale.detach().abs()


def taylor(activation: Tensor, gradient: Tensor) -> Tensor:
    """First-order change of the loss if a channel is removed (Molchanov et al. 2017, section 2.2).

    For example b and channel c with M positions m: score = mean over b of
    ``| 1/M * sum over m of (dC/dz_bcm * z_bcm) |``. The score of an epoch is the mean over its
    mini-batches. The layer-wise division by the l2 norm of all scores, which the paper adds to
    compare layers, belongs to the scope that compares layers.

    Args:
        activation: Channels z (batch, n_filters, ...) that the layer wrote.
        gradient: Gradient of the loss with respect to them, same shape.

    Returns:
        Scores (n_filters,) of this mini-batch.

    Example:
        >>> activation = torch.tensor([[[1.0, 3.0], [2.0, 2.0]]])  # one picture, two channels
        >>> taylor(activation, torch.tensor([[[1.0, 1.0], [1.0, -1.0]]]))
        tensor([2., 0.])
    """
    return (activation * gradient).flatten(2).mean(2).abs().mean(0)


def taylor_weight(weight: Tensor, gradient: Tensor) -> Tensor:
    """Squared first-order change of the loss if a filter is removed (Molchanov et al. 2019).

    Score of filter i (section 3): ``(sum over its weights s of g_s * w_s) ** 2``. The score of an
    epoch is the mean over its mini-batches.

    Args:
        weight: Filters (n_filters, ...).
        gradient: Gradient of the loss with respect to them, same shape.

    Returns:
        Scores (n_filters,) of this mini-batch.
    """
    return (weight * gradient).flatten(1).sum(1).square()


def register_criterion(score: Callable[[Tensor], Tensor], name: str | None = None) -> str:
    """Add a criterion of your own, which every ``criterion=NAME`` then finds.

    Args:
        score: Scores (n_filters,) of filters (n_filters, k), low = removed first.
        name: Its name; by default module and name of the function.

    Returns:
        The name.

    Raises:
        InputError: If a criterion of secateur has the name.

    Example:
        >>> register_criterion(lambda filters: filters.abs().amax(1), "largest_weight")
        'largest_weight'
        >>> layers = {"fc": nn.Conv2d(2, 3, 1)}
        >>> score_layers(layers, "largest_weight")["fc"].shape
        torch.Size([3])
    """
    name = name or f"{score.__module__}.{score.__qualname__}"
    if name in CRITERIA:
        raise InputError(f"secateur has a criterion {name!r} already; give yours another name")
    _REGISTERED[name] = score
    return name


def check_criterion(criterion: str) -> None:
    """Check that a criterion exists.

    Raises:
        InputError: If ``criterion`` is unknown.
    """
    names = (*CRITERIA, *_REGISTERED)
    if criterion not in names:
        close = get_close_matches(criterion, names, n=1)
        hint = f"did you mean {close[0]}?" if close else f"choose from {', '.join(names)}"
        raise InputError(f"criterion {criterion!r} does not exist; {hint}")


@torch.no_grad()
def score_layers(
    layers: Mapping[str, nn.Module],
    criterion: str,
    *,
    statistics: Mapping[str, Tensor] | None = None,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Score the filters of many layers, those of equal shape in one go.

    Args:
        layers: Layers by name.
        criterion: ``fpgm``, ``l1``, ``l2`` (from the weights), ``random``, ``batchnorm``,
            ``taylor`` or ``taylor_weight`` (from ``statistics``), or one that was registered.
        statistics: Per layer (n_filters,): scales of the batch norm behind it for ``batchnorm``,
            mean scores of the mini-batches for the Taylor criteria.
        generator: Source of randomness of ``random``.

    Returns:
        Per layer scores (n_filters,), float32, on the layer's device.

    Raises:
        InputError: If the criterion is unknown or a layer lacks its statistics.
    """
    check_criterion(criterion)
    if criterion in _FROM_WEIGHTS:
        return _score_by_shape(layers, _FROM_WEIGHTS[criterion])
    if criterion in _REGISTERED:
        return {name: _own_scores(criterion, name, layer) for name, layer in layers.items()}
    if criterion == "random":
        return {name: random(filters_of(layer), generator) for name, layer in layers.items()}
    given = statistics or {}
    for name in layers:
        if name not in given:
            raise InputError(
                f"criterion {criterion} has nothing to score layer {name} by"
                + (", because no batch norm follows it" if criterion == "batchnorm" else "")
                + "; exclude the layer or choose another criterion"
            )
    if criterion == "batchnorm":
        return {name: batchnorm(given[name]) for name in layers}
    return {name: given[name].detach() for name in layers}


def _own_scores(criterion: str, name: str, layer: nn.Module) -> Tensor:
    """Scores of a layer by a registered criterion, checked."""
    filters = filters_of(layer).detach().flatten(1)
    scores = _REGISTERED[criterion](filters)
    if not isinstance(scores, Tensor) or scores.shape != filters.shape[:1]:
        found = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise InputError(
            f"criterion {criterion} must give scores ({len(filters)},) for the filters of {name}, "
            f"got {found}"
        )
    if bool(scores.isnan().any()):
        raise InputError(f"criterion {criterion} gives NaN for filters of {name}: give numbers")
    return scores.detach().float()


def _score_by_shape(
    layers: Mapping[str, nn.Module], score: Callable[[Tensor], Tensor]
) -> dict[str, Tensor]:
    """Call ``score`` once for all layers whose filters have one shape, device and type.

    Layers whose weights together are many are scored one after the other, without a copy.
    """
    filters = {name: filters_of(layer).detach() for name, layer in layers.items()}
    alike: dict[tuple[object, ...], list[str]] = {}
    for name, rows in filters.items():
        alike.setdefault((rows.shape, rows.device, rows.dtype), []).append(name)
    scores: dict[str, Tensor] = {}
    for names in alike.values():
        at_once = max(1, _WEIGHTS // max(filters[names[0]].numel(), 1))
        for some in (names[i : i + at_once] for i in range(0, len(names), at_once)):
            several = [filters[name] for name in some]
            stack = torch.stack(several) if len(several) > 1 else several[0][None]
            scores.update(zip(some, score(stack).unbind(), strict=True))
    return {name: scores[name] for name in layers}


def _stacked(weight: Tensor) -> Tensor:
    return weight.detach().flatten(1)[None]


def _fpgm(filters: Tensor) -> Tensor:
    """Distance sums of stacked layers: (layers, n_filters, k) -> (layers, n_filters).

    Squared distances are summed over slices of the k weights, so that a large layer is never
    held in float64; a layer of one slice is converted once for all blocks of its filters.
    """
    n_layers, n_filters, k = filters.shape
    width = max(1, _WEIGHTS // max(n_layers * n_filters, 1))
    whole = [_centered(filters)] if k <= width else None

    def slices() -> Iterable[Tensor]:
        return whole or (_centered(part) for part in torch.split(filters, width, 2))

    squares = _summed(rows.square().sum(2) for rows in slices())
    scores = torch.zeros_like(squares)
    # Slices are converted anew for every block: larger blocks, fewer conversions.
    size = 4 * _BLOCK if whole is None else _BLOCK
    # Blocks on and above the diagonal: the distance from i to j is that from j to i.
    for start in range(0, n_filters, size):
        end = min(start + size, n_filters)
        distances = squares[:, None, start:]
        for rows in slices():
            block, rest = rows[:, start:end], rows[:, start:]
            distances = torch.baddbmm(distances, block, rest.mT, alpha=-2)
        distances += squares[:, start:end, None]
        distances.clamp_(min=0).sqrt_().diagonal(dim1=1, dim2=2).zero_()
        scores[:, start:end] += distances.sum(2)
        if end < n_filters:
            scores[:, end:] += distances[:, :, end - start :].sum(1)
    return scores.float()


def _centered(filters: Tensor) -> Tensor:
    rows = filters.double()
    return rows - rows.mean(1, keepdim=True)


def _summed(terms: Iterator[Tensor]) -> Tensor:
    total = next(terms)
    for term in terms:
        total += term
    return total


def _l1(filters: Tensor) -> Tensor:
    return _by_rows(filters, lambda rows: rows.double().abs_().sum(2))


def _l2(filters: Tensor) -> Tensor:
    return _by_rows(filters, lambda rows: rows.double().square().sum(2).sqrt())


def _by_rows(filters: Tensor, score: Callable[[Tensor], Tensor]) -> Tensor:
    """Scores of stacked layers (layers, n_filters, k) that each filter has by itself."""
    n_layers, n_filters, k = filters.shape
    at_once = max(1, (_CACHED if filters.is_cpu else _WEIGHTS) // max(n_layers * k, 1))
    if at_once >= n_filters:
        return score(filters).float()
    return torch.cat([score(rows) for rows in torch.split(filters, at_once, 1)], 1).float()


_REGISTERED: dict[str, Callable[[Tensor], Tensor]] = {}

_FROM_WEIGHTS: dict[str, Callable[[Tensor], Tensor]] = {"fpgm": _fpgm, "l1": _l1, "l2": _l2}

CRITERIA: tuple[str, ...] = (*_FROM_WEIGHTS, "batchnorm", "taylor", "taylor_weight", "random")
