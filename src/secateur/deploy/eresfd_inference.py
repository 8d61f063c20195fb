"""EResFD as a device runs it: the same function with fewer operators.

Batch norms go into the convolutions before them, fusion weights into the convolutions on either
side of each sum, and both heads of a level into one convolution. All of it is exact but for
rounding, and leaves convolutions, additions and nearest-neighbor resizes alone.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from secateur.detectors.eresfd import LEVELS, EResFD, SepFPN

_SMALLEST_WEIGHT = 1e-3
"""Of a fusion weight that may be divided by; numbers stay within the range of half precision."""


class EResFDForInference(nn.Module):
    """EResFD in evaluation mode with everything folded that can be.

    Args:
        network: Dense or slim EResFD; it stays as it is.

    Raises:
        ValueError: If the network has layers of another kind.
    """

    def __init__(self, network: EResFD) -> None:
        super().__init__()
        network = copy.deepcopy(network).eval().requires_grad_(False)
        for module in list(network.modules()):
            if isinstance(module, nn.Sequential):
                _fold_chain(module)
        base, pyramid = network.base, network.base.m0
        self.stem = nn.Sequential(base.conv1, base.conv2, base.conv3, base.conv4)
        self.stages = nn.ModuleList(
            pyramid.get_submodule(f"b2_{stage}") for stage in range(1, pyramid.stages + 1)
        )
        self.contexts = nn.ModuleList(pyramid.get_submodule(f"FEM_{i}") for i in range(LEVELS))
        self.fusion = FoldedFusion(pyramid.fpn, self.contexts)
        self.heads = nn.ModuleList(map(_joined, network.loc, network.conf))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Detect.

        Args:
            images: (B, 3, H, W), RGB minus the mean.

        Returns:
            Locations (B, N, 4) and logits (B, N, 2), as of ``EResFD``.
        """
        sources = [self.stem(images)]
        for stage in self.stages:
            sources.append(stage(sources[-1]))
        rows = []
        levels = zip(self.fusion(sources), self.contexts, self.heads, strict=True)
        for level, (features, context, head) in enumerate(levels):
            # One transposition per level, which ONNX Runtime does while it leaves its own layout.
            row = head(context(features)).permute(0, 2, 3, 1).flatten(1, 2)
            if level == 0:
                location, first, second, third, face = torch.split(row, [4, 1, 1, 1, 1], dim=2)
                background = torch.maximum(torch.maximum(first, second), third)
                row = torch.cat([location, background, face], dim=2)
            rows.append(row)
        locations, logits = torch.split(torch.cat(rows, dim=1), [4, 2], dim=2)
        return locations, logits


class FoldedFusion(nn.Module):
    """``SepFPN`` with next to no multiplication.

    The chain c_l = a_l lateral_l + b_l up(c_(l+1)), l = 3 ... 0, starts with a source c_4. Of every
    c_l a multiple s_l c_l is computed, s_4 = 1 and s_l = s_(l+1) / b_l, so that the coarse map is
    added as it is. a_l s_l goes into the lateral, whose ReLU lets positive factors pass, and
    1 / s_l into the convolution that reads c_l. A sum a x + b y that only a context module reads is
    computed as (a / b) x + y, and b goes into the first convolution of that module. Where b is too
    close to zero to be divided by, y is multiplied before it is resized; where it is zero, y is
    left out.

    Args:
        fusion: The pyramid, its batch norms folded; its convolutions are changed.
        contexts: Context module per level, its batch norms folded; changed too.
    """

    def __init__(self, fusion: SepFPN, contexts: nn.ModuleList) -> None:
        super().__init__()
        self.standard = fusion.topology == "standard"
        self.laterals, self.itm = fusion.laterals, fusion.itm
        fine, coarse = fusion.fusion_weights().tolist()
        self.factors = [1.0] * len(coarse)
        scale = 1.0
        for level in (3, 2, 1, 0):
            reader = self.itm[level - 1] if level > 0 else contexts[0]
            scale = self._fold_sum(level, fine, coarse, self.laterals[level], reader, scale)
        if self.standard:
            self._fold_sum(4, fine, coarse, self.laterals[4], self.itm[3])
        else:  # the fourth level is fused with itself
            _scale_inputs(self.itm[3], fine[4] + coarse[4])
        for level in range(1, 5):
            self._fold_sum(level + 4, fine, coarse, self.itm[level - 1], contexts[level])

    def _fold_sum(
        self,
        column: int,
        fine: Sequence[float],
        coarse: Sequence[float],
        writer: nn.Module,
        reader: nn.Module,
        scale: float = 1.0,
    ) -> float:
        """Fold the weights of one sum into the layers around it.

        Args:
            column: Of the sum.
            fine: Weight of what ``writer`` gives, for every sum.
            coarse: Weight of the other map, for every sum.
            writer: Layer whose output is the finer map.
            reader: Layer that reads the sum.
            scale: How much larger than it should be the other map is.

        Returns:
            How much larger than it should be the sum is.
        """
        if coarse[column] >= _SMALLEST_WEIGHT:
            total = scale / coarse[column]
        else:
            total, self.factors[column] = 1.0, coarse[column] / scale
        _scale_outputs(writer, fine[column] * total)
        _scale_inputs(reader, 1 / total)
        return total

    def forward(self, sources: Sequence[Tensor]) -> list[Tensor]:
        """Six maps as the folded context modules expect them, from the sources of ``SepFPN``."""
        lateral = [layer(source) for layer, source in zip(self.laterals, sources, strict=False)]
        last = sources[5] if self.standard else lateral[4]
        above = self._sum(4, lateral[4], last) if self.standard else last
        tops = [above]
        coarse = sources[4]
        for level in (3, 2, 1, 0):
            coarse = self._sum(level, lateral[level], coarse)
            tops.insert(0, coarse)
        merged = [
            self._sum(level + 4, self.itm[level - 1](tops[level]), sources[level])
            for level in range(1, 5)
        ]
        return [tops[0], *merged, last]

    def _sum(self, column: int, fine: Tensor, coarse: Tensor) -> Tensor:
        """One sum; the other map is brought to the size of the finer one."""
        factor = self.factors[column]
        if factor == 0:
            return fine
        if factor != 1:
            coarse = coarse * factor
        if column < 5:
            coarse = functional.interpolate(coarse, size=fine.shape[-2:], mode="nearest")
        return fine + coarse


def _fold_chain(chain: nn.Sequential) -> None:
    """Fold every batch norm of a chain into the convolution before it."""
    layers = list(chain)
    for position, layer in enumerate(layers):
        if type(layer) is nn.BatchNorm2d:
            convolution = layers[position - 1]
            if position == 0 or type(convolution) is not nn.Conv2d:
                raise ValueError("a batch norm follows something else than a convolution")
            chain[position - 1] = fuse_conv_bn_eval(convolution, layer)
            chain[position] = nn.Identity()


def _first_convolution(module: nn.Module) -> nn.Conv2d:
    """The convolution that a layer, or a context module, applies first."""
    found = next((m for m in module.modules() if isinstance(m, nn.Conv2d)), None)
    if type(found) is not nn.Conv2d:
        raise ValueError(f"{type(module).__name__} does not begin with a convolution")
    return found


def _scale_inputs(module: nn.Module, factor: float) -> None:
    """Make a layer take its input for ``factor`` times as large."""
    _first_convolution(module).weight.data.mul_(factor)


def _scale_outputs(module: nn.Module, factor: float) -> None:
    """Make convolution and ReLU give ``factor`` times as much."""
    convolution = _first_convolution(module)
    convolution.weight.data.mul_(factor)
    if convolution.bias is not None:
        convolution.bias.data.mul_(factor)


def _joined(location: nn.Module, confidence: nn.Module) -> nn.Conv2d:
    """Two 1x1 convolutions of one input as one, outputs of the first ahead."""
    if type(location) is not nn.Conv2d or type(confidence) is not nn.Conv2d:
        raise ValueError("a head is no plain convolution")
    assert location.bias is not None
    assert confidence.bias is not None
    outputs = location.out_channels + confidence.out_channels
    joined = nn.Conv2d(location.in_channels, outputs, 1).requires_grad_(False)
    joined.weight.data = torch.cat([location.weight, confidence.weight]).detach()
    joined.bias.data = torch.cat([location.bias, confidence.bias]).detach()  # type: ignore[union-attr]
    return joined
