"""EResFD: a face detector of 92,208 parameters (Jeong et al., "EResFD", WACV 2024)."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from secateur.detectors.anchors import STRIDES, AnchorCache
from secateur.detectors.eresfd_layers import (
    ContextModule,
    ResidualBlock,
    SepFPN,
    Topology,
    conv_bn,
)
from secateur.detectors.heads import apply_heads

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


class EResFD(nn.Module):
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
        super().__init__()
        if topology not in ("standard", "bfpgm"):
            raise ValueError(f"topology must be 'standard' or 'bfpgm', got {topology!r}")
        self.topology = topology
        self.anchor_ratio = anchor_ratio
        self.base = Backbone(topology)
        self.loc = nn.ModuleList(nn.Conv2d(CHANNELS, 4, 1) for _ in range(LEVELS))
        self.conf = nn.ModuleList(
            nn.Conv2d(CHANNELS, 4 if level == 0 else 2, 1) for level in range(LEVELS)
        )
        cell_strides = STRIDES if topology == "standard" else (*STRIDES[:-1], STRIDES[-2])
        self._anchors = AnchorCache(cell_strides, ratio=anchor_ratio)
        self.initialise()

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

    def anchors(self, height: int, width: int) -> Tensor:
        """Anchors (N, 4) of an input of that size: cx, cy, w, h in fractions of it.

        The tensor is cached, lies where the network lies and must not be written to.
        """
        return self._anchors(height, width, self.base.m0.fpn.w1.device)

    @torch.no_grad()
    def initialise(self, scheme: Literal["kaiming", "published"] = "kaiming") -> None:
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
