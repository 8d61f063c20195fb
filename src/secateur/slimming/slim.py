"""Slimming: remove dead channels physically, and prove that the network computes the same."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple

from torch import Tensor, fx, nn

from secateur.cost.macs import MacCounter
from secateur.errors import InputError
from secateur.filters import as_arguments
from secateur.network_copy import copy_network
from secateur.slimming.analysis import SIZES, analyze
from secateur.slimming.computed_weights import with_plain_weights
from secateur.slimming.equivalence import (
    TOLERANCE,
    Difference,
    Probe,
    arguments_in_full_precision,
    compare,
    compare_in_double,
    first_difference,
    in_full_precision,
    largest_difference,
    make_probes,
)
from secateur.slimming.graph.network_graph import NetworkGraph, trace
from secateur.slimming.kept_norms import narrowed_norms, normalized_over_kept
from secateur.slimming.report import SlimReport, build_report, chain_reports
from secateur.slimming.surgery import apply_cut
from secateur.tensor_files import refuse_not_finite


class SlimResult(NamedTuple):
    """The slim network and the report of what was done.

    Attributes:
        model: A smaller copy; the original is untouched.
        report: What was removed, what was absorbed, what stayed and why.
    """

    model: nn.Module
    report: SlimReport


def slim(
    model: nn.Module,
    example_inputs: Tensor | Sequence[Any],
    *,
    align: int = 1,
    equal: bool = True,
    traced: NetworkGraph | None = None,
) -> SlimResult:
    """Remove every channel that no output depends on; lossless, or it refuses.

    Zero filters are removed together with all that is tied to them: batch norms, depthwise
    filters, residual partners, columns of the layers that read them. Filters whose output is
    constant are removed where a bias or batch norm can take the constant over exactly. Layers
    that reach no output are removed as well. Everything else stays, with its reason in the report.

    Args:
        model: Any network that ``trace`` accepts; its zeros say what is to be removed.
        example_inputs: One input tensor or the positional arguments of the forward, on the
            network's device. Small ones are faster.
        align: Numbers of filters become multiples of this, or stay whole.
        equal: Whether the slim network must compute what ``model`` does. If not, layer norms and
            group norms lose channels too, and it is proved equal to ``model`` with statistics
            over the channels that stay.
        traced: Operator graph of the network if it is at hand, whatever its weights were then.

    Returns:
        The slim network, in evaluation mode if ``model`` is, and the report.

    Raises:
        InputError: If the network cannot be traced, or no slim network computes the same.
    """
    refuse_not_finite(
        model.state_dict(),
        type(model).__name__,
        "nothing can be proved of such a network, so take an earlier checkpoint",
    )
    arguments = as_arguments(example_inputs)
    traced = (traced and traced.over(model)) or trace(model, arguments)
    result, other_kinds = _slim_once(model, arguments, align, traced.with_equal(equal))
    if not other_kinds:
        return result
    # A grouped convolution that has become an ordinary or a depthwise one can lose more.
    again = slim(result.model, example_inputs, align=align, equal=equal)
    return SlimResult(again.model, chain_reports(result.report, again.report))


def _slim_once(
    model: nn.Module, arguments: tuple[Any, ...], align: int, traced: NetworkGraph
) -> tuple[SlimResult, bool]:
    """Slim, and say whether a grouped convolution has become one of another kind."""
    exact = in_full_precision(model)
    counter = MacCounter(model) if exact is model else None
    probes = make_probes(exact, arguments_in_full_precision(arguments), counter)
    plain, computed = with_plain_weights(model, traced)
    if computed:
        traced = trace(plain, arguments).with_equal(traced.equal)
    reduced, dropped = drop_unused_modules(plain, traced, probes)
    if dropped:
        traced = traced.over(reduced) or trace(reduced, arguments).with_equal(traced.equal)
    failure = ""
    for sizes in SIZES:
        # A forward may have written a size down that depends on the number of channels. Nothing
        # in the trace tells, so if an attempt fails, the next one assumes less.
        analysis = analyze(reduced, traced, align=align, sizes=sizes)
        cut = analysis.cut
        candidate = apply_cut(reduced, cut)
        found = in_full_precision(candidate)
        narrowed = narrowed_norms(traced, cut, analysis.dependencies.norms, reduced)
        try:
            if narrowed:
                exact = in_full_precision(normalized_over_kept(reduced, candidate, narrowed))
                probes = make_probes(exact, probes[0].arguments)
            counter_slim = MacCounter(candidate)
            difference = compare(found, probes, counter_slim)
        except Exception as error:  # whatever the forward of a stranger's network raises
            said = str(error).splitlines() or [f"{type(error).__name__} without a message"]
            failure = f"the slim forward fails: {said[0]}"
            continue
        if difference.relative > TOLERANCE and not _differ_by_rounding(exact, found, probes):
            where = first_difference(exact, found, cut, probes[-1].arguments)
            failure = f"the slim network differs by {difference.relative:.1e} from {where} on"
            continue
        account = build_report(model, candidate, analysis, dropped, difference)
        costs = (counter.costs, counter_slim.costs) if counter is not None else None
        account = replace(account, computed=computed, renormalized=narrowed, costs=costs)
        other_kinds = any(
            _kind(candidate.get_submodule(name)) != _kind(reduced.get_submodule(name))
            for name in cut.groups
            if name not in analysis.dependencies.group_norms
        )
        return SlimResult(candidate, account), other_kinds
    raise InputError(f"{type(model).__name__} cannot be slimmed: {failure}")


def _differ_by_rounding(model: nn.Module, slimmed: nn.Module, probes: Sequence[Probe]) -> bool:
    """Whether two networks that differ in single precision are the same in double."""
    inputs = [probe.arguments for probe in probes]
    return compare_in_double(model, slimmed, inputs).relative <= TOLERANCE


def _kind(convolution: nn.Module) -> str:
    if convolution.groups == 1:
        return "ordinary"
    return "depthwise" if convolution.groups == convolution.in_channels else "grouped"


__all__ = ["SlimResult", "largest_difference", "slim"]


def drop_unused_modules(
    model: nn.Module, traced: NetworkGraph, probes: Sequence[Probe]
) -> tuple[nn.Module, tuple[str, ...]]:
    """Replace modules whose parameters reach no output by ``nn.Identity``, where that is exact.

    The forward may still call them, so every replacement is tried: it stays only if all outputs
    are the same to the last bit. Where a whole module cannot go, its children are tried.

    Args:
        model: Any network; it is not changed.
        traced: Its operator graph.
        probes: Forwards to compare on.

    Returns:
        A copy without them, or the model itself if there are none; names of the removed modules.
    """
    unused = _unused_parameters(model, traced)
    if not unused:
        return model, ()
    reduced = copy_network(model)
    dropped: list[str] = []
    queue = [name for name, _ in reduced.named_children()]
    while queue:
        name = queue.pop(0)
        module = reduced.get_submodule(name)
        own = {n for n, _ in module.named_parameters(prefix=name)}
        if not own & unused:
            continue
        if own <= unused and _try_without(reduced, name, probes):
            dropped.append(name)
        else:
            queue += [f"{name}.{child}" for child, _ in module.named_children()]
    return (reduced, tuple(dropped)) if dropped else (model, ())


def _unused_parameters(model: nn.Module, traced: NetworkGraph) -> set[str]:
    """Names, aliases included, of parameters that reach no output."""
    reached: set[fx.Node] = set()
    stack = [traced.output]
    while stack:
        node = stack.pop()
        if node not in reached:
            reached.add(node)
            stack += node.all_input_nodes
    used = {traced.names[node] for node in reached if node in traced.names}
    first = {id(parameter): name for name, parameter in model.named_parameters()}
    everything = model.named_parameters(remove_duplicate=False)
    return {name for name, parameter in everything if first[id(parameter)] not in used}


def _try_without(model: nn.Module, name: str, probes: Sequence[Probe]) -> bool:
    """Replace one module by an identity; put it back if the network then fails or differs."""
    owner_name, _, attribute = name.rpartition(".")
    owner = model.get_submodule(owner_name)
    module = owner._modules[attribute]
    owner._modules[attribute] = nn.Identity()
    with suppress(Exception):  # whatever the forward raises, it needs the module
        if compare(in_full_precision(model), probes) == Difference():
            return True
    owner._modules[attribute] = module
    return False
