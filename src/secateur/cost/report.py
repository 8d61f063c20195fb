"""Cost report: filters, parameters and MACs of each layer, masked (nominal) and slim (physical)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from secateur.cost.macs import Costs, LayerCost, count_macs
from secateur.cost.parameters import count_parameters, nonzero_of_parameters
from secateur.filters import FilterLayer, number_of_filters


@dataclass(frozen=True, slots=True)
class LayerCosts:
    """One layer; nominal figures first, physical ones end in ``_slim``.

    Args:
        name: Name of the layer.
        group: Group whose rate it has, if any.
        rate: Fraction of its filters that was to go; None for a layer that is not pruned.
        filters: Filters of the dense layer.
        kept: Filters that the mask keeps.
        slim: Filters of the slim layer: more than kept where removal would change the output,
            fewer where a kept filter reaches no output; 0 for a removed layer.
        parameters: Weights and biases of the dense layer.
        nonzero: Those that are not zero under the mask.
        parameters_slim: Weights and biases of the slim layer.
        macs: Multiply-accumulates of the dense layer, all calls together.
        macs_slim: Multiply-accumulates of the slim layer.
        activation_bytes: Bytes of input and output of the largest call of the dense layer.
        activation_bytes_slim: The same for the slim layer.
        score_min: Lowest score of its filters; None where nothing was scored.
        score_max: Highest score of its filters.
    """

    name: str
    group: str | None
    rate: float | None
    filters: int
    kept: int
    slim: int
    parameters: int
    nonzero: int
    parameters_slim: int
    macs: int
    macs_slim: int
    activation_bytes: int
    activation_bytes_slim: int
    score_min: float | None
    score_max: float | None


@dataclass(frozen=True, slots=True)
class TotalCosts:
    """The whole network, with everything that is not a layer of filters; see LayerCosts.

    Args:
        filters: Filters of all dense layers.
        kept: Filters that the masks keep.
        slim: Filters of all slim layers.
        parameters: Parameters of the dense network.
        nonzero: Those that are not zero under the masks.
        parameters_slim: Parameters of the slim network.
        sparsity: Zero parameters over all parameters, in [0, 1].
        macs: Multiply-accumulates of the dense network.
        macs_slim: Multiply-accumulates of the slim network.
        activation_bytes: Most bytes of input and output that any dense layer needs.
        activation_bytes_slim: The same for the slim network.
    """

    filters: int
    kept: int
    slim: int
    parameters: int
    nonzero: int
    parameters_slim: int
    sparsity: float
    macs: int
    macs_slim: int
    activation_bytes: int
    activation_bytes_slim: int


@dataclass(frozen=True, slots=True)
class CostReport:
    """What was pruned, layer by layer and in total: the content of ``pruning.json``.

    Args:
        total: Sums over the network.
        layers: Convolutions and linear layers in the order of registration.
    """

    total: TotalCosts
    layers: tuple[LayerCosts, ...]


def compare_costs(
    masked: nn.Module,
    slim: nn.Module,
    example_inputs: Tensor | Sequence[Any],
    *,
    keep: Mapping[str, Tensor],
    rates: Mapping[str, float] | None = None,
    scores: Mapping[str, Tensor] | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
    counted: tuple[Costs, Costs] | None = None,
) -> CostReport:
    """Compare a masked network with its slim one.

    Args:
        masked: Network of full size with its masks applied.
        slim: The physically smaller network; its layers have the names they had.
        example_inputs: One input tensor or the arguments of the forward; figures are for one
            image when the batch is of one.
        keep: Per pruned layer a mask (n_filters,), True = kept.
        rates: Rate per pruned layer.
        scores: Per pruned layer scores (n_filters,).
        groups: Names of the layers in each group.
        counted: Costs of the layers of both networks for these inputs, if they are at hand.
    """
    costs, costs_slim = counted or [count_macs(model, example_inputs) for model in (masked, slim)]
    group_of = {name: group for group, names in (groups or {}).items() for name in names}
    slim_modules = dict(slim.named_modules())
    nothing = LayerCost(0, 0, 0)
    nonzero_of = nonzero_of_parameters(masked)
    layers = []
    for name, layer in masked.named_modules():
        if not isinstance(layer, FilterLayer):
            continue
        filters = number_of_filters(layer)
        slim_layer = slim_modules.get(name)
        cost = costs.layers.get(name, nothing)
        cost_slim = costs_slim.layers.get(name, nothing)
        score = (scores or {}).get(name)
        layers.append(
            LayerCosts(
                name=name,
                group=group_of.get(name),
                rate=(rates or {}).get(name),
                filters=filters,
                kept=int(keep[name].sum()) if name in keep else filters,
                slim=number_of_filters(slim_layer) if slim_layer is not None else 0,
                parameters=count_parameters(layer),
                nonzero=sum(nonzero_of[id(parameter)] for parameter in layer.parameters()),
                parameters_slim=count_parameters(slim_layer) if slim_layer is not None else 0,
                macs=cost.macs,
                macs_slim=cost_slim.macs,
                activation_bytes=cost.activation_bytes,
                activation_bytes_slim=cost_slim.activation_bytes,
                score_min=float(score.min()) if score is not None else None,
                score_max=float(score.max()) if score is not None else None,
            )
        )
    parameters, nonzero = count_parameters(masked), sum(nonzero_of.values())
    total = TotalCosts(
        filters=sum(layer.filters for layer in layers),
        kept=sum(layer.kept for layer in layers),
        slim=sum(layer.slim for layer in layers),
        parameters=parameters,
        nonzero=nonzero,
        parameters_slim=count_parameters(slim),
        sparsity=(parameters - nonzero) / max(parameters, 1),
        macs=costs.total,
        macs_slim=costs_slim.total,
        activation_bytes=costs.peak_activation_bytes,
        activation_bytes_slim=costs_slim.peak_activation_bytes,
    )
    return CostReport(total, tuple(layers))
