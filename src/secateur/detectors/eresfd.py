"""EResFD: a face detector of 92,208 parameters (Jeong et al., "EResFD", WACV 2024)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from secateur.detectors.anchors import STRIDES, AnchorCache
from secateur.detectors.prediction_heads import AnchorDetector, apply_heads

Topology = Literal["standard", "bfpgm"]

EPSILON = 1e-4


def conv_bn(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, *, relu: bool
) -> nn.Sequential:
    """Convolution without bias that rounds sizes up, batch norm and, if asked for, ReLU."""
    convolution = nn.Conv2d(
        in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False
    )
    layers: list[nn.Module] = [convolution, nn.BatchNorm2d(out_channels)]
    if relu:
        layers.append(nn.ReLU())
    return nn.Sequential(*layers)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut, with no activation after the sum.

    Args:
        channels: Channels of input and output.
        stride: 1 or 2; with 2 the shortcut is a strided 1x1 convolution.
    """

    def __init__(self, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.res_layer = nn.Sequential(
            *conv_bn(channels, channels, 3, stride, relu=True),
            *conv_bn(channels, channels, 3, relu=False),
        )
        self.shortcut_layer: nn.Module | None = None
        if stride != 1:
            self.shortcut_layer = conv_bn(channels, channels, 1, stride, relu=False)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, ceil(H / stride), ceil(W / stride))."""
        shortcut = features if self.shortcut_layer is None else self.shortcut_layer(features)
        result: Tensor = self.res_layer(features) + shortcut
        return result


class ConvUnit(nn.Module):
    """Convolution, batch norm and ReLU under the state-dict name ``conv``."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.conv = conv_bn(channels, channels, kernel, relu=True)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        result: Tensor = self.conv(features)
        return result


class SepFPN(nn.Module):
    """Separated feature pyramid of EResFD: two top-down chains and learnt fusion weights.

    The chain of the coarse levels ends at level 3, which takes the raw source of level 4; the
    chain of the fine levels starts there (the separation that gives SepFPN its name).

    Args:
        channels: Channels of every level.
        topology: ``standard``: six sources, six levels. ``bfpgm``: the stride-128 source is lost,
            level 4 is fused with itself and level 5 is the lateral of level 4, as in the
            published B-FPGM checkpoints.
    """

    def __init__(self, channels: int, topology: Topology) -> None:
        super().__init__()
        self.topology = topology
        self.laterals = nn.ModuleList(ConvUnit(channels, 1) for _ in range(5))
        self.itm = nn.ModuleList(ConvUnit(channels, 3) for _ in range(4))
        self.w1 = nn.Parameter(torch.full((2, 9), 0.5))

    def fusion_weights(self) -> Tensor:
        """Weights (2, 9) of the finer and the coarser map of every sum, not negative."""
        # Normalised over the pair here and once more in every sum, as published.
        weights = functional.relu(self.w1)
        weights = weights / (weights.sum(dim=0) + EPSILON)
        return weights / (weights.sum(dim=0) + EPSILON)

    def forward(self, sources: Sequence[Tensor]) -> list[Tensor]:
        """Fuse the sources.

        Args:
            sources: (B, C, H_k, W_k) of strides 4 to 128; to 64 in the bfpgm topology.

        Returns:
            Six maps of the same channels; the sixth has stride 64 in the bfpgm topology.
        """
        weights = self.fusion_weights()

        def fuse(fine: Tensor, coarse: Tensor, column: int) -> Tensor:
            return weights[0, column] * fine + weights[1, column] * coarse

        def fuse_up(fine: Tensor, coarse: Tensor, column: int) -> Tensor:
            # Weighted before it grows: the same numbers from a quarter of the products.
            return weights[0, column] * fine + _resize(weights[1, column] * coarse, fine)

        lateral = [layer(source) for layer, source in zip(self.laterals, sources, strict=False)]
        if self.topology == "standard":
            last = sources[5]
            above = fuse_up(lateral[4], last, 4)
        else:
            last = lateral[4]
            above = fuse(last, last, 4)
        tops = [above]
        coarse = sources[4]
        for level in (3, 2, 1, 0):
            coarse = fuse_up(lateral[level], coarse, level)
            tops.insert(0, coarse)
        merged = [
            fuse(layer(top), source, column)
            for layer, top, source, column in zip(
                self.itm, tops[1:], sources[1:5], range(5, 9), strict=True
            )
        ]
        return [tops[0], *merged, last]


class ContextModule(nn.Module):
    """Three stacked branches of growing receptive field, concatenated.

    Args:
        channels: Channels of input and output; a multiple of 4.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        half, quarter = channels // 2, channels // 4
        self.res_branch1 = conv_bn(channels, half, 3, relu=True)
        self.res_branch2 = nn.Sequential(
            *conv_bn(half, quarter, 3, relu=True), *conv_bn(quarter, quarter, 3, relu=True)
        )
        self.res_branch3 = nn.Sequential(
            *conv_bn(quarter, quarter, 3, relu=True), *conv_bn(quarter, quarter, 3, relu=True)
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape, all values at least 0."""
        near = self.res_branch1(features)
        middle = self.res_branch2(near)
        far = self.res_branch3(middle)
        return torch.cat([near, middle, far], dim=1)


def _resize(features: Tensor, like: Tensor) -> Tensor:
    """Nearest-neighbour resize to the height and width of ``like``."""
    return functional.interpolate(features, size=like.shape[-2:], mode="nearest")


CHANNELS = 16

LEVELS = len(STRIDES)

FACE_PRIOR = 0.01

GROUPS: dict[str, dict[str, tuple[str, ...]]] = {
    # the six groups of the B-FPGM scripts
    "script": {
        "g1": ("base.conv1.*", "base.conv2.*", "base.conv3.*"),
        "g2": ("base.conv4.*", "base.m0.b2_1.*"),
        "g3": ("base.m0.b2_2.*", "base.m0.b2_3.*"),
        "g4": ("base.m0.b2_4.*", "base.m0.b2_5.*"),
        "g5": ("base.m0.fpn.*",),
        "g6": ("base.m0.FEM_*",),
    },
    # the six groups that the zero filters of the released B-FPGM checkpoints show
    "released": {
        "g1": ("base.conv1.*", "base.conv2.*"),
        "g2": ("base.conv3.*", "base.conv4.*"),
        "g3": ("base.m0.b2_1.*", "base.m0.b2_2.*"),
        "g4": ("base.m0.b2_3.*", "base.m0.b2_4.*", "base.m0.b2_5.*"),
        "g5": ("base.m0.fpn.*",),
        "g6": ("base.m0.FEM_*",),
    },
}

HEADS: tuple[str, ...] = ("loc.*", "conf.*")


class EResFD(AnchorDetector):
    """EResFD with a width multiplier of 1/16.

    Args:
        topology: ``standard`` is the network of the paper. ``bfpgm`` computes what the published
            B-FPGM checkpoints were trained with: the stride-128 map is not used and level 5 has
            stride 64, though its anchors keep their step of 128 pixels.
        anchor_ratio: Height over width of the anchors: 1.25 for the official weights, else 1.0.

    Raises:
        ValueError: If the topology is unknown.
    """

    def __init__(self, topology: Topology = "standard", anchor_ratio: float = 1.0) -> None:
        if topology not in ("standard", "bfpgm"):
            raise ValueError(f"topology must be 'standard' or 'bfpgm', got {topology!r}")
        cell_strides = STRIDES if topology == "standard" else (*STRIDES[:-1], STRIDES[-2])
        super().__init__(AnchorCache(cell_strides, ratio=anchor_ratio))
        self.topology = topology
        self.anchor_ratio = anchor_ratio
        self.base = Backbone(topology)
        self.loc = nn.ModuleList(nn.Conv2d(CHANNELS, 4, 1) for _ in range(LEVELS))
        self.conf = nn.ModuleList(
            nn.Conv2d(CHANNELS, 4 if level == 0 else 2, 1) for level in range(LEVELS)
        )
        self.initialize()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Detect; the same in training and evaluation.

        In the bfpgm topology ``base.m0.b2_5`` is not run: nothing reads its output, so it gets no
        gradient and its batch norms see no data (DDP needs ``find_unused_parameters``).

        Args:
            images: (B, 3, H, W), RGB minus the mean, of any size.

        Returns:
            Locations (B, N, 4) and logits (B, N, 2), in the order of ``anchors``.
        """
        # The context modules end in ReLU, so the published ReLU before the heads changes nothing.
        return apply_heads(self.base(images), self.loc, self.conf)

    @torch.no_grad()
    def initialize(self, scheme: Literal["kaiming", "published"] = "kaiming") -> None:
        """Draw new weights for training from scratch.

        Args:
            scheme: ``kaiming``: He normal by fan-out for the body, N(0, 0.01) for the heads, whose
                biases start with a face probability of 0.01, and batch-norm scales 1; it gets to
                the same loss in two thirds of the steps. ``published``: N(0, 0.01) for all
                convolutions and batch-norm scales 0.5, as in the B-FPGM code.

        Raises:
            ValueError: If the scheme is unknown.
        """
        if scheme not in ("kaiming", "published"):
            raise ValueError(f"scheme must be 'kaiming' or 'published', got {scheme!r}")
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d):
                if scheme == "kaiming" and name.startswith("base."):
                    nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                else:
                    nn.init.normal_(module.weight, std=0.01)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
                nn.init.constant_(module.weight, 1.0 if scheme == "kaiming" else 0.5)
        nn.init.constant_(self.base.m0.fpn.w1, 0.5)
        if scheme == "kaiming":
            for head in self.conf:
                assert isinstance(head, nn.Conv2d)
                assert head.bias is not None
                head.bias[-1] = math.log(FACE_PRIOR / (1 - FACE_PRIOR))


class Backbone(nn.Module):
    """Stem and pyramid; the names are those of the official state dict."""

    def __init__(self, topology: Topology) -> None:
        super().__init__()
        self.conv1 = conv_bn(3, CHANNELS // 2, 5, stride=4, relu=False)
        self.conv2 = conv_bn(CHANNELS // 2, CHANNELS // 2, 3, relu=True)
        self.conv3 = conv_bn(CHANNELS // 2, CHANNELS, 3, relu=True)
        self.conv4 = ResidualBlock(CHANNELS)
        self.m0 = Pyramid(topology)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) to six feature maps, finest first."""
        features = self.conv4(self.conv3(self.conv2(self.conv1(images))))
        levels: list[Tensor] = self.m0(features)
        return levels


class Pyramid(nn.Module):
    """Strides 8 to 128 (``b2_1`` to ``b2_5``), fusion and one context module per level."""

    def __init__(self, topology: Topology) -> None:
        super().__init__()
        for stage, blocks in enumerate((3, 3, 3, 2, 2), start=1):
            strides = (2, *(1,) * (blocks - 1))
            self.add_module(
                f"b2_{stage}", nn.Sequential(*(ResidualBlock(CHANNELS, s) for s in strides))
            )
        self.fpn = SepFPN(CHANNELS, topology)
        for level in range(LEVELS):
            self.add_module(f"FEM_{level}", ContextModule(CHANNELS))
        self.stages = 5 if topology == "standard" else 4

    def forward(self, features: Tensor) -> list[Tensor]:
        """(B, 16, H, W) of stride 4 to six feature maps, finest first."""
        sources = [features]
        for stage in range(1, self.stages + 1):
            sources.append(self.get_submodule(f"b2_{stage}")(sources[-1]))
        fused = self.fpn(sources)
        return [self.get_submodule(f"FEM_{level}")(map_) for level, map_ in enumerate(fused)]
