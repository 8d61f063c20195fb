"""Rules of data movement: labels go where their elements go, as far as a module allows it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, fx

from secateur.slimming.channel_labels import ChannelLabels
from secateur.slimming.dependencies import KEPT
from secateur.slimming.graph.expanded_tensors import along_dimension, shrink, varying_dimensions
from secateur.slimming.graph.operators import (
    EQUAL_PARTS,
    PADS,
    POSITIONS,
    RESHAPES,
    SHUFFLES,
    bind,
    move_elements,
)


def move(state: ChannelLabels, node: fx.Node, name: str, where: str) -> tuple[Tensor, ...]:
    """Reshapes, splits, pads, shuffles: what they do to elements they do to labels."""
    moved = move_elements(node, state.as_numbers, state.known, fill=KEPT)
    if moved is None:
        return state.unknown(node, where)
    after = tuple(shrink(part).long().expand(part.shape) for part in moved)
    before = state.of(node.all_input_nodes[0])
    flat = shrink(before)
    if name in PADS and state.rewrite:
        return (_padded(state, node, after[0]),)
    if name in RESHAPES:
        state.dependencies.sized.append(before)
        same = shrink(after[0]).squeeze().shape == flat.squeeze().shape
        if not same and len(varying_dimensions(after[0])) > 1:
            state.split_channels(node, after[0])
    elif name in SHUFFLES:
        groups = int(bind(node)["groups"])
        state.split_channels(node, state.dependencies.vector(before, 1, where).view(groups, -1))
    elif name == "pixel_shuffle":
        # Whether or not a layer behind it ties them: only whole blocks leave a shape.
        factor = int(bind(node)["upscale_factor"])
        blocks = state.dependencies.vector(before, -3, where).view(-1, factor * factor)
        state.dependencies.vector(blocks, 0, where)
    elif name in EQUAL_PARTS:
        parts = [shrink(part).reshape(-1) for part in after]
        if any(len(part) != len(parts[0]) for part in parts):
            state.pin(node.all_input_nodes[0], f"{where} cuts it into unequal parts")
        else:
            state.dependencies.sized.append(before)
            state.dependencies.equal(torch.stack(parts))
            state.note_sizes(node, parts[:1])
            state.note_sizes(node, [torch.cat(parts)])  # a module may divide what it keeps
    elif name in POSITIONS and any(
        not torch.equal(flat.reshape(-1), shrink(part).reshape(-1)) for part in after
    ):
        if state.note_sizes(node, _picked(node, name, before, after)):
            state.dependencies.sized.append(before)
            return after
        for operand in node.all_input_nodes:
            state.pin(operand, f"{where} picks channels by position")
    return after


def _padded(state: ChannelLabels, node: fx.Node, after: Tensor) -> Tensor:
    """Labels behind a padding: zero channels whose number a module keeps may go too."""
    a = bind(node)
    varying = varying_dimensions(after)
    constant = a.get("mode", "constant") == "constant" and not a.get("value")
    if len(varying) != 1 or not constant:
        return after
    dim = varying[0]
    place = 2 * (after.dim() - 1 - dim)
    front, back = (*a["pad"][place : place + 2], 0, 0)[:2]
    vector = shrink(after).reshape(-1).clone()
    ends = [slice(0, front)] * (front > 0) + [slice(len(vector) - back, None)] * (back > 0)
    for end in ends:
        vector[end] = state.dependencies.fresh(len(vector[end]))
    if not ends or not state.note_sizes(node, [vector[end] for end in ends]):
        return after
    return along_dimension(vector, dim, after.shape)


def _picked(node: fx.Node, name: str, before: Tensor, after: Sequence[Tensor]) -> list[Tensor]:
    """What the numbers of a split or slice along the channels count; nothing for others."""
    a = bind(node)
    varying = varying_dimensions(before)
    if name not in ("slice", "split_with_sizes") or varying != (a["dim"] % before.dim(),):
        return []
    if name == "split_with_sizes":
        return [shrink(part).reshape(-1) for part in after]
    vector = shrink(before).reshape(-1)
    start, end = a["start"] or 0, a["end"]
    if a["step"] != 1 or start < 0 or (end is not None and end < 0):
        return []
    ends = [start, len(vector) if end is None else min(end, len(vector))]
    return [vector[:n] for n in ends if 0 < n < len(vector)]
