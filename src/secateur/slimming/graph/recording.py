"""Recording: the operators of one forward, written down as they are called, on shapes alone.

`torch.export` does the same and much more: it traces through proxies, fakes every tensor with
symbols for its sizes, and verifies and rewrites the program several times, at 5 to 7 ms per
operator. What `NetworkGraph` needs is which operator read the results of which, so here a forward
runs on tensors that have a shape but no values, at about 0.25 ms per operator. Whatever would make
such a record untrue ends it: a forward that reads a value, a size that depends on values, types
that autocast changes. The exporter is asked then.
"""

from __future__ import annotations

import linecache
import operator
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

_TORCH = f"{Path(torch.__file__).parent}{os.sep}"

_ABSENT = torch.device("meta")

_HALVES = (torch.float16, torch.bfloat16)

# Their result is laid out as their first operand.
_LIKE_FIRST = frozenset({torch.ops.aten.batch_norm.default, torch.ops.aten.layer_norm.default})


class UnrecordableError(Exception):
    """A forward does what a record of its operators cannot tell."""


class RecordedTensor(Tensor):
    """A tensor of a shape, type and device, without values; it knows the node that made it.

    Attributes:
        shape_only: Tensor on the ``meta`` device of the same shape and strides.
        maker: The node whose result it is.
    """

    shape_only: Tensor
    maker: fx.Node

    @staticmethod
    def __new__(cls: type[RecordedTensor], shape_only: Tensor, maker: fx.Node) -> RecordedTensor:
        """Wrap a shape."""
        made: RecordedTensor = Tensor._make_wrapper_subclass(
            cls,
            shape_only.size(),
            strides=shape_only.stride(),
            storage_offset=shape_only.storage_offset(),
            dtype=shape_only.dtype,
            layout=shape_only.layout,
            device=torch.device("cpu"),
        )
        made.shape_only, made.maker = shape_only, maker
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(cls, func: Any, *_: Any) -> Any:  # noqa: ANN401
        """Refuse what is called once the forward is over."""
        raise UnrecordableError(f"{func} reads a tensor that was made during the record")


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes every operator that is called into a graph.

    Args:
        names: ``id`` of a parameter or buffer -> its name.

    Attributes:
        graph: Placeholders first, then calls.
        inputs: Placeholders of what is given to the forward.
        parameters: Placeholder -> name of the parameter or buffer.
        constants: Placeholder -> tensor that the forward made up itself.
        modules: Names of the modules whose forward runs, the innermost last.
    """

    def __init__(self, names: dict[int, str]) -> None:
        """Start with an empty graph."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.graph = fx.Graph()
        self.names = names
        self.inputs: list[fx.Node] = []
        self.parameters: dict[fx.Node, str] = {}
        self.constants: dict[fx.Node, Tensor] = {}
        self.modules: list[dict[str, tuple[str, type]]] = []
        self._types: dict[object, torch.dtype] = {}
        self._outer: dict[int, tuple[Tensor, Tensor, fx.Node]] = {}
        self._last_placeholder: fx.Node | None = None

    def placeholder(self, name: str, shape_only: object) -> fx.Node:
        """Add a placeholder behind the others."""
        last = self._last_placeholder
        if last is None:
            node = self.graph.placeholder(name)
        else:
            with self.graph.inserting_after(last):
                node = self.graph.placeholder(name)
        node.meta["val"] = shape_only
        self._last_placeholder = node
        return node

    def node_of(self, tensor: Tensor) -> fx.Node:
        """Node of an operand or of a result of the forward."""
        if not isinstance(tensor, RecordedTensor):
            return self._from_outside(tensor)[2]
        return tensor.maker

    def __torch_dispatch__(
        self,
        func: OpOverload[..., Any],
        types: tuple[type, ...],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        """Write one operator down instead of running it."""
        kwargs = kwargs or {}
        changed = _changed(func, args)
        found = None if changed is not None else self._shapes_of_results(func, args, kwargs)
        node = self.graph.create_node(
            "call_function",
            func,
            _map(args, self._operand),
            _map(kwargs, self._operand),
            name=func._opname,
        )
        node.meta["nn_module_stack"] = self.modules[-1] if self.modules else {}
        node.meta["stack_trace"] = _calling_line()
        if changed is not None:
            node.meta["val"] = changed.shape_only
            changed.maker = node
            return changed
        if isinstance(found, Tensor):
            if found.dtype in _HALVES and not any(t.dtype in _HALVES for t in _tensors(args)):
                # As a rule autocast did: weights would no more be seen where they are used.
                raise UnrecordableError(f"{func} lowers the precision of its operands")
            node.meta["val"] = _without_values(found)
            return RecordedTensor(node.meta["val"], node)
        if not isinstance(found, tuple | list) or not all(isinstance(f, Tensor) for f in found):
            raise UnrecordableError(f"{func} yields a value")
        node.meta["val"] = results = [_without_values(result) for result in found]
        return type(found)(self._result(node, i, result) for i, result in enumerate(results))

    def _shapes_of_results(
        self, func: OpOverload[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> object:
        """What the operator yields on the ``meta`` device."""
        args, kwargs = _map(args, self._shape_of), _map(kwargs, self._shape_of)
        like = args[0] if args and isinstance(args[0], Tensor) else None
        if like is None or not (func in _LIKE_FIRST or torch.Tag.pointwise in func.tags):
            return func(*args, **kwargs)
        operands = (like,) if func in _LIKE_FIRST else _tensors((args, kwargs))
        alike = all(o.shape == like.shape and o.stride() == like.stride() for o in operands)
        if not alike or "dtype" in kwargs:
            return func(*args, **kwargs)
        # Of these, PyTorch works the shape out in Python, at up to a millisecond each time. What
        # is not known is the type, which a call for each combination of types tells.
        key = func, tuple(map(type, args)), tuple(operand.dtype for operand in operands)
        if key not in self._types:
            self._types[key] = func(*args, **kwargs).dtype
        return torch.empty_strided(
            like.size(), like.stride(), dtype=self._types[key], device=_ABSENT
        )

    def _result(self, maker: fx.Node, index: int, shape_only: Tensor) -> RecordedTensor:
        """One of several results of an operator."""
        node = self.graph.call_function(operator.getitem, (maker, index))
        node.meta = {**maker.meta, "val": shape_only}
        return RecordedTensor(shape_only, node)

    def _shape_of(self, value: object) -> object:
        if isinstance(value, RecordedTensor):
            return value.shape_only
        if isinstance(value, Tensor):
            return self._from_outside(value)[1]
        return _ABSENT if isinstance(value, torch.device) else value

    def _operand(self, value: object) -> object:
        return self.node_of(value) if isinstance(value, Tensor) else value

    def _from_outside(self, tensor: Tensor) -> tuple[Tensor, Tensor, fx.Node]:
        """A parameter, buffer or constant, its shape, and its placeholder."""
        if id(tensor) not in self._outer:
            name, shape_only = self.names.get(id(tensor)), _without_values(tensor)
            node = self.placeholder((name or "constant").replace(".", "_"), shape_only)
            if name is not None:
                self.parameters[node] = name
            else:
                self.constants[node] = tensor.detach().clone()
            # The tensor is held, so that no other one gets its id.
            self._outer[id(tensor)] = tensor, shape_only, node
        return self._outer[id(tensor)]


def record(model: nn.Module, arguments: tuple[Any, ...], names: dict[int, str]) -> Recorder:
    """Run a forward on shapes and write down what it calls.

    Args:
        model: Network on the CPU. It gets hooks, and keeps tensors without values where it keeps
            tensors: give a copy.
        arguments: Positional arguments of the forward, on the CPU.
        names: ``id`` of a parameter or buffer of the model -> its name.

    Returns:
        The graph, its output node included, and what its placeholders stand for.

    Raises:
        Exception: Whatever the forward raises, and where no true record can be made.
    """
    recorder = Recorder(names)
    given = tree_map(lambda value: _input(value, recorder), arguments)
    for name, module in model.named_modules():
        stack = {name: (name, type(module))}
        module.register_forward_pre_hook(_entering(recorder, stack), prepend=True)
        module.register_forward_hook(_leaving(recorder))
    # Below autograd, operators that are made of others arrive whole.
    with torch.no_grad(), torch._C._AutoDispatchBelowAutograd(), recorder:
        returned = model(*given)
    leaves = tree_leaves(returned)
    if not all(isinstance(leaf, Tensor | int | float | str | None) for leaf in leaves):
        raise UnrecordableError("the forward returns what holds tensors unseen")
    output = recorder.graph.output(tuple(_map(leaves, recorder._operand)))
    output.meta["val"] = None
    return recorder


def _input(value: object, recorder: Recorder) -> object:
    shape_only = _without_values(value) if isinstance(value, Tensor) else value
    node = recorder.placeholder("input", shape_only)
    recorder.inputs.append(node)
    return RecordedTensor(shape_only, node) if isinstance(shape_only, Tensor) else value


def _entering(recorder: Recorder, stack: dict[str, tuple[str, type]]) -> Callable[..., None]:
    def hook(*_: object) -> None:
        recorder.modules.append(stack)

    return hook


def _leaving(recorder: Recorder) -> Callable[..., None]:
    def hook(*_: object) -> None:
        recorder.modules.pop()

    return hook


def _changed(func: OpOverload[..., Any], args: tuple[Any, ...]) -> RecordedTensor | None:
    """The operand that the operator changes in place, if any."""
    if not func._schema.is_mutable:
        return None
    if torch.Tag.inplace_view in func.tags:
        raise UnrecordableError(f"{func} changes the shape of a tensor in place")
    written = [
        number
        for number, argument in enumerate(func._schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    ]
    if written != [0] or not args or not isinstance(args[0], RecordedTensor):
        raise UnrecordableError(f"{func} changes what is not its first operand alone")
    return args[0]


def _without_values(tensor: Tensor) -> Tensor:
    if tensor.is_meta:
        return tensor
    return torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype, device=_ABSENT)


def _map(value: Any, function: Callable[[object], object]) -> Any:  # noqa: ANN401
    """Apply a function to everything in arguments of an operator."""
    if isinstance(value, tuple | list):
        return type(value)(_map(item, function) for item in value)
    if isinstance(value, dict):
        return {key: _map(item, function) for key, item in value.items()}
    return function(value)


def _calling_line() -> str:
    """The line outside of PyTorch that called the operator, as a traceback tells it."""
    frame = sys._getframe(2)
    inside = None
    while frame is not None:
        path = frame.f_code.co_filename
        if path == __file__:
            break
        if not path.startswith(_TORCH):
            inside = frame
            break
        if inside is None and f"{os.sep}nn{os.sep}" in path:
            inside = frame
        frame = frame.f_back  # type: ignore[assignment]
    if inside is None:
        return ""
    path, line = inside.f_code.co_filename, inside.f_lineno
    return f'File "{path}", line {line}\n{linecache.getline(path, line).strip()}'


def _tensors(value: object) -> tuple[Tensor, ...]:
    """All tensors among arguments of an operator."""
    return tuple(leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor))
