"""Numbers of channels that a module keeps as integers and hands to a split, slice or reshape.

``torch.split(x, self.width, 1)``, ``x[:, :self.channels]`` and ``x.view(b, 2, self.channels, ...)``
go on with the old number when channels go. An attribute that says a number of channels is set to
the number that stays; whether that was what the integer meant is for the proof to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

_REWRITTEN = "_rewritten_sizes"  # marks modules whose integers a slim network has of its own


@dataclass(frozen=True, slots=True)
class WrittenSize:
    """Sizes that a call takes from attributes of the module around it.

    Args:
        module: Name of the module.
        labels: Labels of the channels that each of the sizes counts.
    """

    module: str
    labels: tuple[Tensor, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes as they are written down."""
        return tuple(len(part) for part in self.labels)


@dataclass(frozen=True, slots=True)
class NewSize:
    """Sizes of one module before and after a cut.

    Args:
        module: Name of the module.
        before: Sizes that are written down.
        after: What has to stand there.
    """

    module: str
    before: tuple[int, ...]
    after: tuple[int, ...]


def count_anew(written: Sequence[WrittenSize], channels: Tensor) -> list[NewSize]:
    """What has to stand where sizes are written down.

    Args:
        written: Sizes that are written down.
        channels: How many channels each label becomes, (labels,) of integers or bool.
    """
    return [
        NewSize(size.module, size.sizes, tuple(int(channels[part].sum()) for part in size.labels))
        for size in written
    ]


def holds_sizes(module: nn.Module | None, sizes: Sequence[int]) -> bool:
    """Whether attributes of a module say these numbers, one by one or as one list."""
    if module is None:
        return False
    values = _integers(module)
    return tuple(sizes) in values.values() or all(size in values.values() for size in sizes)


def rewrite_sizes(model: nn.Module, sizes: Sequence[NewSize]) -> None:
    """Set attributes that say an old number of channels to the new one.

    Args:
        model: Changed in place.
        sizes: Old and new numbers.
    """
    for name in dict.fromkeys(size.module for size in sizes):
        module = model.get_submodule(name)
        own = [size for size in sizes if size.module == name]
        lists = {size.before: size.after for size in own if len(size.before) > 1}
        single: dict[int, set[int]] = {}
        for size in own:
            for before, after in zip(size.before, size.after, strict=True):
                single.setdefault(before, set()).add(after)
        # A number that would have to become two different ones is none of these sizes.
        numbers = {before: after.pop() for before, after in single.items() if len(after) == 1}
        for attribute, value in _integers(module).items():
            if isinstance(value, tuple):
                if value in lists:
                    kind: Any = type(getattr(module, attribute))
                    setattr(module, attribute, kind(lists[value]))
            elif value in numbers:
                setattr(module, attribute, numbers[value])
        vars(module)[_REWRITTEN] = True


def rewritten_integers(model: nn.Module) -> dict[str, list[int | list[int]]]:
    """Integers of the modules whose sizes were rewritten, as plain values.

    Args:
        model: A slim network.

    Returns:
        Module -> its integers and lists of integers in the order of its attributes.
    """
    return {
        name: [list(v) if isinstance(v, tuple) else v for v in _integers(module).values()]
        for name, module in model.named_modules()
        if vars(module).get(_REWRITTEN)
    }


def restore_integers(module: nn.Module, values: Sequence[object]) -> None:
    """Give a module of the dense network the integers of the slim one.

    Args:
        module: Changed in place.
        values: As ``rewritten_integers`` gives them for it.

    Raises:
        ValueError: If they are not as many, or of another kind, as the module has.
    """
    present = _integers(module)
    kinds = [isinstance(value, tuple) for value in present.values()]
    if kinds != [isinstance(value, list) for value in values]:
        raise ValueError(f"{type(module).__name__} holds other integers than the file says")
    for attribute, value in zip(present, values, strict=True):
        kind: Any = type(getattr(module, attribute))
        setattr(module, attribute, kind(value))
    vars(module)[_REWRITTEN] = True


def _integers(module: nn.Module) -> Mapping[str, int | tuple[int, ...]]:
    """Attributes that are integers, or lists and tuples of them."""
    found: dict[str, int | tuple[int, ...]] = {}
    for name, value in vars(module).items():
        if name.startswith("_") or isinstance(value, bool):
            continue
        if isinstance(value, int):
            found[name] = value
        elif type(value) in (list, tuple) and value and all(type(item) is int for item in value):
            found[name] = tuple(value)
    return found
