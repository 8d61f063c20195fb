"""Surgery: cut parameters and buffers of a network to the indices that stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from secateur.network_copy import copy_network
from secateur.slimming.absorption import Fold, Merge
from secateur.slimming.channel_means import Rescaling, rescale_offsets
from secateur.slimming.written_sizes import NewSize, rewrite_sizes

# Attributes that repeat a size of the module's tensors: name -> (tensor, dimension).
SIZES: dict[type[nn.Module], dict[str, tuple[str, int]]] = {
    nn.modules.conv._ConvTransposeNd: {"in_channels": ("weight", 0), "out_channels": ("weight", 1)},
    nn.modules.conv._ConvNd: {"in_channels": ("weight", 1), "out_channels": ("weight", 0)},
    nn.Linear: {"in_features": ("weight", 1), "out_features": ("weight", 0)},
    nn.modules.batchnorm._NormBase: {"num_features": ("running_mean", 0)},
    nn.GroupNorm: {"num_channels": ("weight", 0)},
    nn.PReLU: {"num_parameters": ("weight", 0)},
}


@dataclass(frozen=True, slots=True)
class Cut:
    """Which indices of each parameter and buffer stay, and what is added to them.

    Args:
        kept: (parameter or buffer, dimension) -> sorted indices that stay.
        blocks: Weight of a grouped convolution -> indices of the channels that each group keeps,
            (groups, channels); its filters are in ``kept``.
        groups: Grouped convolution -> its new number of groups.
        merges: Channels that take over the effect of removed ones.
        folds: Constants that are added to biases and running means.
        sizes: Numbers of channels that modules keep as integers.
        rescalings: What is multiplied because a mean runs over fewer channels.
    """

    kept: dict[tuple[str, int], Tensor]
    blocks: dict[str, Tensor] = field(default_factory=dict)
    groups: dict[str, int] = field(default_factory=dict)
    merges: Sequence[Merge] = ()
    folds: Sequence[Fold] = ()
    sizes: Sequence[NewSize] = ()
    rescalings: Sequence[Rescaling] = ()


def apply_cut(model: nn.Module, cut: Cut) -> nn.Module:
    """Copy a network with its tensors cut; shared tensors, types and ``requires_grad`` stay.

    Args:
        model: Any network; it is not changed.
        cut: Indices that stay of each tensor.
    """
    tensors: dict[str, Tensor] = dict(model.named_buffers()) | dict(model.named_parameters())
    changed: dict[str, Tensor] = {}
    for fold in cut.folds:
        old = tensors.get(fold.target)
        like = tensors[fold.weight] if old is None else old
        amount = fold.amount.to(like.device)
        changed[fold.target] = (amount if old is None else old.detach().double() + amount).to(
            like.dtype
        )
    for merge in cut.merges:
        if merge.weight not in changed:
            changed[merge.weight] = tensors[merge.weight].detach().clone()
        channels = changed[merge.weight].transpose(0, merge.dim)
        channels[merge.target] += merge.ratio * channels[merge.source]
    for scaled in cut.rescalings:
        changed[scaled.weight] = tensors[scaled.weight].detach() * scaled.factor
    for weight, columns in cut.blocks.items():
        changed[weight] = _cut_blocks(tensors[weight].detach(), columns)
    for (name, dim), indices in cut.kept.items():
        tensor = changed.get(name, tensors[name].detach() if name in tensors else None)
        if tensor is not None and len(indices) != tensor.shape[dim]:
            changed[name] = tensor.index_select(dim, indices.to(tensor.device))
    # What is cut need not be copied whole first.
    cut_down = {name: tensors[name] for name in changed if name in tensors}
    slim = copy_network(model, shared=cut_down.values())
    for fold in cut.folds:
        if fold.target not in tensors:
            rows = cut.kept.get((fold.weight, 0))
            value = changed[fold.target]
            changed[fold.target] = value if rows is None else value[rows.to(value.device)]
            owner, _, attribute = fold.target.rpartition(".")
            setattr(slim.get_submodule(owner), attribute, nn.Parameter(changed.pop(fold.target)))
    replace_tensors(slim, {id(tensors[name]): value for name, value in changed.items()})
    for name, module in slim.named_modules():
        update_sizes(module, cut.groups.get(name))
    rewrite_sizes(slim, cut.sizes)
    for scaled in cut.rescalings:
        rescale_offsets(slim, scaled)
    return slim


def replace_tensors(model: nn.Module, values: Mapping[int, Tensor]) -> None:
    """Put new values in place of tensors wherever they are registered.

    Args:
        model: Changed in place.
        values: ``id`` of a parameter or buffer -> its new value.
    """
    made: dict[int, nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None and id(parameter) in values:
                value = _laid_out(values[id(parameter)], parameter)
                fresh = nn.Parameter(value, requires_grad=parameter.requires_grad)
                module._parameters[name] = made.setdefault(id(parameter), fresh)
        for name, buffer in module._buffers.items():
            if buffer is not None and id(buffer) in values:
                module._buffers[name] = _laid_out(values[id(buffer)], buffer)


def _laid_out(value: Tensor, like: Tensor) -> Tensor:
    """Convert a value to the memory format of another tensor."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    last = formats.get(like.dim(), torch.contiguous_format)
    if not like.is_contiguous() and like.is_contiguous(memory_format=last):
        return value.contiguous(memory_format=last)
    return value.contiguous()


def update_sizes(module: nn.Module, groups: int | None = None) -> None:
    """Make a module's size attributes say what its tensors are.

    Args:
        module: Changed in place.
        groups: New number of groups, None if it stays.
    """
    if groups is not None and isinstance(module, nn.GroupNorm):
        module.num_groups = groups
    elif groups is not None:
        module.groups = groups  # type: ignore[assignment]
    if isinstance(module, nn.LayerNorm) and module.weight is not None:
        module.normalized_shape = tuple(module.weight.shape)
    for kind, sizes in SIZES.items():
        if isinstance(module, kind):
            for attribute, (tensor_name, dim) in sizes.items():
                tensor = getattr(module, tensor_name, None)
                if tensor is None:
                    tensor = getattr(module, "weight", None)
                if tensor is not None:
                    setattr(module, attribute, tensor.shape[dim] * _parts(module, attribute, dim))
            return


def _parts(module: nn.Module, attribute: str, dim: int) -> int:
    """Number of groups that share the second dimension of a convolution's weight, else 1."""
    groups = getattr(module, "groups", 1)
    return int(groups) if dim == 1 and attribute.endswith("channels") else 1


def _cut_blocks(weight: Tensor, columns: Tensor) -> Tensor:
    """Cut the columns of a grouped convolution's weight, other ones in each group.

    Args:
        weight: (filters, channels of a group, ...).
        columns: Positions inside the group that stay, (groups, kept).
    """
    blocks = weight.view(len(columns), -1, *weight.shape[1:])
    cut = [block.index_select(1, c.to(weight.device)) for block, c in
           zip(blocks, columns, strict=True)]  # fmt: skip
    return torch.cat(cut)
