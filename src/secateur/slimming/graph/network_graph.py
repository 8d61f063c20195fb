"""The operator graph of a network: what its forward computes from which of its tensors."""

from __future__ import annotations

import contextlib
import io
import logging
import operator
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export.graph_signature import InputKind
from torch.utils._pytree import tree_leaves, tree_map

from secateur.errors import InputError
from secateur.filters import as_arguments
from secateur.network_copy import copy_network
from secateur.slimming.graph.recording import record
from secateur.slimming.graph.subgraphs import inline_subgraphs

_BATCH_NORMS = frozenset(("aten::batch_norm", "aten::_native_batch_norm_legit_no_training"))

_CONVOLUTIONS = frozenset(
    f"aten::{name}"
    for name in ("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d",
                 "conv_transpose3d", "convolution")
)  # fmt: skip

# These share memory where they can, which their schemas do not declare.
_MAYBE_VIEWS = frozenset(f"aten::{name}" for name in ("reshape", "contiguous", "flatten", "to"))


@dataclass(frozen=True, slots=True)
class NetworkGraph:
    """A functional graph of ATen operators: no operator changes a tensor in place.

    Args:
        nodes: Placeholders first, then calls in execution order, then the output node.
        names: Placeholder -> name of the parameter or buffer it stands for. A tensor that is
            registered several times has the one name that ``named_parameters`` gives it.
        inputs: Placeholders of the tensors that are given to the forward.
        constants: Placeholder -> tensor that the forward makes up itself.
        tensors: Name -> parameter or buffer: the traced model's own if it is on the CPU, else a
            copy there.
        arguments: What the forward was called with, on the CPU.
        equal: Whether slim and masked network must compute the same. If not, layer norms and group
            norms lose channels, although their statistics run over those that stay.
        findings: What was found out about it that no weight has a part in, by name; shared with
            the same graph over other tensors.
    """

    nodes: tuple[fx.Node, ...]
    inputs: tuple[fx.Node, ...]
    names: dict[fx.Node, str]
    constants: dict[fx.Node, Tensor]
    tensors: dict[str, Tensor]
    arguments: tuple[Any, ...]
    equal: bool = True
    findings: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def over(
        self, model: nn.Module, instead: Mapping[int, Tensor] | None = None
    ) -> NetworkGraph | None:
        """The same graph with the tensors that a network has now.

        Args:
            model: The traced network, or another of its structure; modules that the forward does
                not call may be absent.
            instead: Other values for some of its tensors, by their ``id``.

        Returns:
            The graph; None if the forward reads a tensor that ``model`` does not have.
        """
        present = dict(model.named_buffers()) | dict(model.named_parameters())
        if any(node.users and name not in present for node, name in self.names.items()):
            return None
        return replace(
            self,
            names={node: name for node, name in self.names.items() if name in present},
            tensors={
                n: _on_cpu((instead or {}).get(id(present[n]), present[n]))
                for n in self.tensors
                if n in present
            },
        )

    def with_equal(self, equal: bool) -> NetworkGraph:
        """The same graph under the other demand, with nothing found out yet."""
        return self if equal == self.equal else replace(self, equal=equal, findings={})

    def name(self, argument: object) -> str | None:
        """Name of the parameter or buffer that an argument of a call is, if it is one."""
        return self.names.get(argument) if isinstance(argument, fx.Node) else None

    @property
    def output(self) -> fx.Node:
        """The node whose arguments are what the network returns."""
        return self.nodes[-1]


def _on_cpu(value: Any) -> Any:  # noqa: ANN401  leaves of arguments are of any type
    return value.detach().cpu() if isinstance(value, Tensor) and not value.is_cpu else value


def trace(model: nn.Module, example_inputs: Tensor | Sequence[Any]) -> NetworkGraph:
    """Record the operators of one forward in evaluation mode; the model stays untouched.

    Args:
        model: Any network whose forward depends on the shapes of its inputs, not their values.
        example_inputs: One input tensor or the positional arguments of the forward.

    Raises:
        InputError: If the forward cannot be recorded; the message carries the reason.
    """
    given = tree_leaves(as_arguments(example_inputs))
    if any(isinstance(value, Tensor) and not value.numel() for value in given):
        raise InputError("the example inputs are empty: give at least one picture")
    names = {id(t): n for n, t in model.named_buffers()}
    names |= {id(t): n for n, t in model.named_parameters()}
    originals: dict[str, Tensor] = dict(model.named_buffers(remove_duplicate=False))
    originals |= dict(model.named_parameters(remove_duplicate=False))
    first = {name: names[id(tensor)] for name, tensor in originals.items()}
    arguments = tree_map(_on_cpu, as_arguments(example_inputs))
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
        torch.no_grad(),
    ):
        warnings.simplefilter("ignore")
        found = _recorded(model, arguments, first) or _exported(model, arguments, first)
    nodes, inputs, names_of, constants = found
    tensors = {name: _on_cpu(originals[name]) for name in names.values()}
    traced = NetworkGraph(nodes, inputs, names_of, constants, tensors, arguments)
    if not traced.output.all_input_nodes:
        raise InputError(f"{type(model).__name__} returns no tensor: pass one that does")
    return traced


def _copy_on_cpu(model: nn.Module) -> nn.Module:
    """A copy to run in a tracer, because a forward that caches tensors would cache its fake ones.

    It shares the tensors that are on the CPU already: a tracer writes to none.
    """
    tensors = [*model.buffers(), *model.parameters()]
    here = [tensor for tensor in tensors if tensor.is_cpu]
    return copy_network(model, shared=here).cpu().eval()


_Parts = tuple[
    tuple[fx.Node, ...], tuple[fx.Node, ...], dict[fx.Node, str], dict[fx.Node, Tensor]
]  # nodes, inputs, names and constants of a graph


def _recorded(
    model: nn.Module, arguments: tuple[Any, ...], first: Mapping[str, str]
) -> _Parts | None:
    """Parts of a graph by a record of one forward; None where that cannot tell the truth."""
    subject = _copy_on_cpu(model)
    tensors: dict[str, Tensor] = dict(subject.named_buffers(remove_duplicate=False))
    tensors |= dict(subject.named_parameters(remove_duplicate=False))
    names = {id(tensor): first[name] for name, tensor in tensors.items() if name in first}
    try:
        found = record(subject, arguments, names)
    except Exception:  # whatever a forward raises that asks for a value
        return None
    if not _make_functional(found.graph):
        return None
    return tuple(found.graph.nodes), tuple(found.inputs), found.parameters, found.constants


def _exported(model: nn.Module, arguments: tuple[Any, ...], first: Mapping[str, str]) -> _Parts:
    """Parts of a graph by PyTorch's exporter, which can do more and takes far longer."""
    exporter = logging.getLogger("torch.export")
    level = exporter.level
    try:
        exporter.setLevel(logging.ERROR)
        program = torch.export.export(_copy_on_cpu(model), arguments, strict=False)
        inline_subgraphs(program.graph_module)
        if not _make_functional(program.graph_module.graph):
            # An empty table decomposes nothing: this is the exporter's own way to write
            # views that are changed in place without them. It drops unused results, which
            # ours keeps, so that layers that reach no output are still seen.
            program.graph_module.recompile()
            program = program.run_decompositions({})
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        reason = textwrap.shorten(lines[0], 160, placeholder="...")
        raise InputError(
            f"{type(model).__name__} cannot be traced with the example inputs "
            f"({type(error).__name__}: {reason}); pass the part of it whose forward does not "
            "depend on the values of its input, such as its backbone"
        ) from error
    finally:
        exporter.setLevel(level)
    graph = program.graph_module.graph
    for node in list(graph.nodes):  # what a cast leaves behind: it computes nothing
        if node.target is torch.ops.aten._assert_tensor_metadata.default:
            graph.erase_node(node)
    nodes = tuple(graph.nodes)
    by_placeholder = {n.name: n for n in nodes if n.op == "placeholder"}
    names_of: dict[fx.Node, str] = {}
    constants: dict[fx.Node, Tensor] = {}
    inputs: list[fx.Node] = []
    for spec in program.graph_signature.input_specs:
        node = by_placeholder.get(getattr(spec.arg, "name", ""))
        if node is None:
            continue
        if spec.kind is InputKind.USER_INPUT:
            inputs.append(node)
        elif spec.target is None:
            continue
        elif spec.kind in (InputKind.PARAMETER, InputKind.BUFFER):
            names_of[node] = first[spec.target]
        elif spec.kind is InputKind.CONSTANT_TENSOR:
            constants[node] = program.constants[spec.target]
    return nodes, tuple(inputs), names_of, constants


def module_name(node: fx.Node) -> str:
    """Name of the innermost module whose forward made the call; empty for the model itself."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    # The tracer marks the second call of a module as name@1.
    return str(stack[-1][0]).split("@")[0] if stack else ""


def source_line(node: fx.Node) -> str:
    """File, number and text of the line that made the call; empty if the tracer did not see it."""
    lines = str(node.meta.get("stack_trace") or "").strip().splitlines()
    frames = [i for i, line in enumerate(lines) if line.lstrip().startswith("File ")]
    own = [i for i in frames if "/torch/nn/" not in lines[i]] or frames
    if not own:
        return ""
    place = lines[own[-1]].strip().split('"')
    number = place[2].split(",")[1].replace("line", "").strip() if len(place) > 2 else ""
    text = lines[own[-1] + 1].strip() if own[-1] + 1 < len(lines) else ""
    return f"{place[1].rpartition('/')[2]}:{number}: {text}" if len(place) > 2 else ""


def batchnorm_after(traced: NetworkGraph) -> dict[str, str]:
    """For each convolution, the batch norm that reads its output directly.

    Args:
        traced: Operator graph of a network.

    Returns:
        Name of the convolution -> name of its batch norm; convolutions without one are absent,
        and so are those whose calls go to different batch norms.
    """
    found: dict[str, set[str]] = {}
    for node in traced.nodes:
        if is_convolution(node) and (weight := traced.name(node.args[1])) is not None:
            readers = found.setdefault(weight.rpartition(".")[0], set())
            for user in node.users:
                if is_batch_norm(user) and user.args[0] is node:
                    # The running mean, because a batch norm need not have a weight.
                    mean = traced.name(user.args[3])
                    readers |= {mean.rpartition(".")[0]} if mean is not None else set()
    return {conv: norms.pop() for conv, norms in found.items() if len(norms) == 1}


def _make_functional(graph: fx.Graph) -> bool:
    """Replace in-place operators by pure ones; False if a view is involved, which needs more."""
    seen: set[fx.Node] = set()
    for node in graph.nodes:
        seen.add(node)
        target = node.target
        if not isinstance(target, torch._ops.OpOverload) or not target._schema.is_mutable:
            continue
        changed = node.args[0] if node.args else None
        packet = getattr(torch.ops.aten, target._schema.name.removeprefix("aten::")[:-1], None)
        pure = getattr(packet, target._overloadname, None)
        if pure is None or not isinstance(changed, fx.Node):
            return False
        if _is_shared(changed) or any(_is_view(u) for u in changed.users if u in seen):
            return False
        node.target = pure
        changed.replace_all_uses_with(node, lambda user: user not in seen)
    return True


def _is_shared(node: fx.Node) -> bool:
    """Whether something else can see a change of the node's result, through a common memory."""
    while _is_view(node):
        base = node.args[0]
        if not isinstance(base, fx.Node) or len(base.users) > 1:
            return True
        node = base
    return False


def _is_view(node: fx.Node) -> bool:
    """Whether the result shares memory with an operand that it does not change."""
    if is_getitem(node):
        return isinstance(node.args[0], fx.Node) and _is_view(node.args[0])
    if not isinstance(node.target, torch._ops.OpOverload) or node.target._schema.is_mutable:
        return False
    return any(result.alias_info is not None for result in node.target._schema.returns) or (
        node.target._schema.name in _MAYBE_VIEWS
    )


def is_convolution(node: fx.Node) -> bool:
    """Whether the node calls a convolution, transposed or not, of any dimension."""
    return _schema_name(node) in _CONVOLUTIONS


def is_batch_norm(node: fx.Node) -> bool:
    """Whether the node calls a batch norm."""
    return _schema_name(node) in _BATCH_NORMS


def _schema_name(node: fx.Node) -> str:
    target = node.target
    return str(target._schema.name) if isinstance(target, torch._ops.OpOverload) else ""


def is_getitem(node: fx.Node) -> bool:
    """Whether the node picks one of several results of another node."""
    return node.target is operator.getitem
