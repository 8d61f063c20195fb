"""YuNet: an anchor-free face detector with five landmarks (Wu et al., MIR 20(5), 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from secateur.data.preprocessing import BGR, Preprocessing
from secateur.detectors.point_deviation import box_deviation, landmark_deviation
from secateur.detectors.point_loss import point_loss
from secateur.detectors.points import (
    LANDMARKS,
    STRIDES,
    decode_faces,
    make_points,
    point_scores,
)

STEM_WIDTH = 16
BIAS = 0.02

_SCRIPT: dict[str, tuple[str, ...]] = {
    "g1": ("backbone.model[01].*",),
    "g2": ("backbone.model2.*",),
    "g3": ("backbone.model3.*",),
    "g4": ("backbone.model[45].*",),
    "g5": ("neck.*",),
}
_COUPLED: dict[str, tuple[str, ...]] = {
    "g1": ("backbone.model[01].*",),
    "g2": ("backbone.model2.*",),
    "g3": ("backbone.model3.*", "neck.lateral_convs.1.*"),
    "g4": ("backbone.model[45].*", "neck.lateral_convs.2.*"),
    "g5": ("neck.lateral_convs.0.*",),
}
_HEAD_UNITS = {"g6": ("bbox_head.multi_level_share_convs.*",)}
_SETS: dict[str, tuple[str, ...]] = {
    "stem": ("backbone.model0.conv1",),
    "m0": ("backbone.model0.conv2.*",),
    "m1_mid": ("backbone.model1.conv1.*",),
    "m1": ("backbone.model1.conv2.*",),
    "m2_mid": ("backbone.model2.conv1.*",),
    "m2": ("backbone.model2.conv2.*",),
    "m3_mid": ("backbone.model3.conv1.*",),
    "sum8": ("backbone.model3.conv2.*", "neck.lateral_convs.1.*"),
    "m4_mid": ("backbone.model4.conv1.*",),
    "sum16": ("backbone.model4.conv2.*", "neck.lateral_convs.2.*"),
    "m5_mid": ("backbone.model5.conv1.*",),
    "m5": ("backbone.model5.conv2.*",),
    "lateral8": ("neck.lateral_convs.0.*",),
}
_HEAD_SETS: dict[str, tuple[str, ...]] = {
    f"head{stride}": (f"bbox_head.multi_level_share_convs.{level}.*",)
    for level, stride in enumerate(STRIDES)
}

GROUPS: dict[str, dict[str, tuple[str, ...]]] = {
    # by where the layers stand, as for the other detectors
    "script": _SCRIPT | _HEAD_UNITS,
    # layers whose outputs are added share a group, so that one rate can remove their channels
    "coupled": _COUPLED | _HEAD_UNITS,
    # one group for every set of channels that go together
    "sets": _SETS | _HEAD_SETS,
    # the same for yunet_s
    "script_without_head_units": _SCRIPT,
    "coupled_without_head_units": _COUPLED,
    "sets_without_head_units": _SETS,
}
HEADS: tuple[str, ...] = ("bbox_head.multi_level_[!s]*",)  # all but the share_convs


class YuNet(nn.Module):
    """YuNet: yunet_n has 75,856 parameters, yunet_s (32 early channels, no head units) 54,608.

    Args:
        width: Channels of the three levels.
        early_width: Channels of the stages of stride 4, before the first level.
        head_units: Whether every level has a unit of its own before its output branches.
        landmarks: Whether the network tells five landmarks of every face.
        score: ``root``: the square root of class times objectness, as OpenCV scores a face;
            ``product``, as the authors' own evaluation does.

    Raises:
        ValueError: If there is no such score.
    """

    preprocessing: ClassVar[Preprocessing] = BGR

    def __init__(
        self,
        width: int = 64,
        early_width: int = 64,
        head_units: bool = True,
        landmarks: bool = True,
        score: Literal["root", "product"] = "root",
    ) -> None:
        if score not in ("root", "product"):
            raise ValueError(f"score must be 'root' or 'product', got {score!r}")
        super().__init__()
        self.score = score
        self.backbone = Backbone(width, early_width)
        self.neck = Neck(width)
        self.bbox_head = Head(width, head_units, landmarks)
        self.initialize()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Detect; the same in training and evaluation.

        Args:
            images: (B, 3, H, W), BGR in 0..255, of sides that 32 divides.

        Returns:
            Per cell of strides 8, 16 and 32, rows first: logits of the class (B, P, 1), boxes
            (B, P, 4), logits of the objectness (B, P, 1) and, with landmarks, (B, P, 10). Boxes
            and landmarks are relative to the cell, see ``points``.
        """
        outputs: tuple[Tensor, ...] = self.bbox_head(self.neck(self.backbone(images)))
        return outputs

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs, as in the published ONNX files."""
        return ("cls", "bbox", "obj", "kps") if self.bbox_head.landmarks else ("cls", "bbox", "obj")

    def losses(
        self,
        outputs: Sequence[Tensor],
        size: tuple[int, int],
        faces: Sequence[Tensor],
        **settings: Any,  # noqa: ANN401
    ) -> dict[str, Tensor]:
        """Class, objectness, box and landmark loss; the settings are those of ``point_loss``."""
        height, width = size
        classes, boxes, objectness = outputs[:3]
        landmarks = outputs[3] if len(outputs) > 3 else None
        points = make_points(height, width, device=boxes.device)
        located = [rows.to(points) for rows in faces]
        pixels = [rows * _in_pixels(rows, height, width) for rows in located]
        return point_loss(classes, boxes, objectness, landmarks, points, pixels, **settings)

    def candidates(self, size: tuple[int, int]) -> Tensor:
        """The points (P, 3) of an input: x, y and stride of its cells."""
        return make_points(*size)

    def margins(self, outputs: Sequence[Tensor]) -> dict[str, Tensor]:
        """Logits (B, P) of the class and of the objectness."""
        return {"class": outputs[0][..., 0], "objectness": outputs[2][..., 0]}

    def deviations(self, outputs: Sequence[Tensor], wanted: Sequence[Tensor]) -> dict[str, Tensor]:
        """Distances (B, P) of boxes and, where both tell them, landmarks."""
        values = {"box": box_deviation(outputs[1], wanted[1])}
        if len(outputs) > 3 and len(wanted) > 3:
            values["landmark"] = landmark_deviation(outputs[3], wanted[3], wanted[1])
        return values

    def scores(self, outputs: Sequence[Tensor]) -> Tensor:
        """Scores (B, P) of faces."""
        return point_scores(outputs[0], outputs[2], root=self.score == "root")

    def decode(self, outputs: Sequence[Tensor], chosen: Tensor, size: tuple[int, int]) -> Tensor:
        """Corners (B, K, 4), and landmarks (B, K, 14), in fractions of the input."""
        return decode_faces(outputs[1], outputs[3] if len(outputs) > 3 else None, chosen, size)

    @torch.no_grad()
    def initialize(self) -> None:
        """Draw new weights as published: Xavier normal, and 0.02 for every bias."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_normal_(module.weight)
                assert module.bias is not None
                nn.init.constant_(module.bias, BIAS)
            elif isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()


class Unit(nn.Sequential):
    """Pointwise, then depthwise 3x3 convolution, both with bias and with nothing between them.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        activate: Whether batch norm and ReLU follow.
    """

    def __init__(self, in_channels: int, out_channels: int, activate: bool = True) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 1)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, groups=out_channels)
        if activate:
            self.bn = nn.BatchNorm2d(out_channels)
            self.relu = nn.ReLU()


class Stem(nn.Sequential):
    """A dense convolution of stride 2, and a unit; the names are those of the official files."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, STEM_WIDTH, 3, stride=2, padding=1)
        self.bn1 = nn.BatchNorm2d(STEM_WIDTH)
        self.relu1 = nn.ReLU()
        self.conv2 = Unit(STEM_WIDTH, STEM_WIDTH)


class Stage(nn.Module):
    """Two units, the first of which keeps the width."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = Unit(in_channels, in_channels)
        self.conv2 = Unit(in_channels, out_channels)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H, W)."""
        result: Tensor = self.conv2(self.conv1(features))
        return result


class Backbone(nn.Module):
    """Stem and five stages; the last three are the levels."""

    def __init__(self, width: int, early_width: int) -> None:
        super().__init__()
        self.model0 = Stem()
        self.model1 = Stage(STEM_WIDTH, early_width)
        self.model2 = Stage(early_width, width)
        self.model3 = Stage(width, width)
        self.model4 = Stage(width, width)
        self.model5 = Stage(width, width)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) to maps (B, C, H / s, W / s) of strides 8, 16 and 32."""
        features = self.model2(self.model1(functional.max_pool2d(self.model0(images), 2)))
        levels = []
        for stage in (self.model3, self.model4, self.model5):
            features = stage(functional.max_pool2d(features, 2))
            levels.append(features)
        return levels


class Neck(nn.Module):
    """Top-down sums: a coarser level is added to the finer one before that one's lateral unit."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.lateral_convs = nn.ModuleList(Unit(width, width) for _ in STRIDES)

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        """Maps of strides 8, 16 and 32 to fused maps of the same shapes."""
        fused: list[Tensor] = []
        for level, lateral in zip(reversed(levels), reversed(self.lateral_convs), strict=True):
            if fused:
                level = level + functional.interpolate(fused[0], scale_factor=2, mode="nearest")
            fused.insert(0, lateral(level))
        return fused


class Head(nn.Module):
    """Output branches of every level, none shared between levels."""

    def __init__(self, width: int, head_units: bool, landmarks: bool) -> None:
        super().__init__()
        if head_units:
            self.multi_level_share_convs = nn.ModuleList(
                nn.Sequential(Unit(width, width)) for _ in STRIDES
            )
        self.multi_level_cls = _branch(width, 1)
        self.multi_level_bbox = _branch(width, 4)
        self.multi_level_obj = _branch(width, 1)
        if landmarks:
            self.multi_level_kps = _branch(width, 2 * LANDMARKS)
        self.head_units = head_units
        self.landmarks = landmarks

    def forward(self, levels: list[Tensor]) -> tuple[Tensor, ...]:
        """Maps of strides 8, 16 and 32 to what ``YuNet.forward`` returns."""
        if self.head_units:
            units = self.multi_level_share_convs
            levels = [unit(level) for unit, level in zip(units, levels, strict=True)]
        branches = [self.multi_level_cls, self.multi_level_bbox, self.multi_level_obj]
        if self.landmarks:
            branches.append(self.multi_level_kps)
        return tuple(
            torch.cat(
                [
                    _cells_in_a_row(convolution(level))
                    for convolution, level in zip(branch, levels, strict=True)
                ],
                dim=1,
            )
            for branch in branches
        )


def _branch(width: int, channels: int) -> nn.ModuleList:
    """One output unit per level."""
    return nn.ModuleList(Unit(width, channels, activate=False) for _ in STRIDES)


def _cells_in_a_row(values: Tensor) -> Tensor:
    """(B, C, H, W) to (B, H * W, C), rows first."""
    return values.permute(0, 2, 3, 1).flatten(1, 2)


def _in_pixels(rows: Tensor, height: int, width: int) -> Tensor:
    """Factors of the columns of faces (G, 4) or (G, 19) in fractions."""
    factors = [width, height, width, height, *([width, height, 1] * LANDMARKS)]
    return rows.new_tensor(factors[: rows.shape[1]])
