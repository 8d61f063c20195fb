"""Face networks of the field, written from their papers at test size: what a pruner meets there."""

from __future__ import annotations

import types
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Module:
    """Convolution, batch norm and ReLU."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class BlazeBlock(nn.Module):
    """Bazarevsky et al. 2019, figure 3: 5x5 depthwise, and a shortcut padded with zero channels."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.channel_pad = outputs - inputs
        padding = 2 if stride == 1 else 0
        self.convs = nn.Sequential(
            nn.Conv2d(inputs, inputs, 5, stride, padding, groups=inputs),
            nn.Conv2d(inputs, outputs, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        h = x
        if self.stride == 2:
            h = functional.pad(x, (1, 2, 1, 2))
            x = functional.max_pool2d(x, 2)
        if self.channel_pad > 0:
            x = functional.pad(x, (0, 0, 0, 0, 0, self.channel_pad))
        return functional.relu(self.convs(h) + x)


class BlazeFace(nn.Module):
    """Two maps of anchors over blocks with growing width."""

    def __init__(self) -> None:
        super().__init__()
        widths = [(24, 24, 1), (24, 28, 1), (28, 32, 2), (32, 36, 1), (36, 42, 1), (42, 48, 2),
                  (48, 56, 1), (56, 64, 1), (64, 72, 1), (72, 88, 1)]  # fmt: skip
        self.stem = nn.Conv2d(3, 24, 5, 2)
        self.near = nn.Sequential(*(BlazeBlock(*width) for width in widths))
        self.far = nn.Sequential(BlazeBlock(88, 96, 2), *(BlazeBlock(96, 96) for _ in range(3)))
        self.heads = nn.ModuleList([nn.Conv2d(88, 34, 1), nn.Conv2d(96, 102, 1)])

    def forward(self, images: Tensor) -> list[Tensor]:
        """Scores and boxes of both maps."""
        near = self.near(self.stem(functional.pad(images, (1, 2, 1, 2))).relu())
        return [self.heads[0](near), self.heads[1](self.far(near))]


class LFFD(nn.Module):
    """He et al. 2019: residual columns whose sums are read before their activation."""

    def __init__(self, blocks: tuple[int, ...] = (4, 2, 3)) -> None:
        super().__init__()
        width = 64
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, 2), nn.ReLU())
        self.downs = nn.ModuleList([nn.Conv2d(width, width, 3, 2) for _ in blocks])
        self.columns = nn.ModuleList(
            nn.ModuleList(
                nn.Sequential(
                    nn.Conv2d(width, width, 3, padding=1), nn.ReLU(),
                    nn.Conv2d(width, width, 3, padding=1),
                )
                for _ in range(count)
            )
            for count in blocks
        )  # fmt: skip
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, 128, 1), nn.ReLU(), nn.Conv2d(128, 6, 1)) for _ in blocks
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """One map of scores and boxes per column."""
        x = self.stem(images)
        found = []
        for down, column, head in zip(self.downs, self.columns, self.heads, strict=True):
            x = down(x)
            for block in column:
                x = x + block(x.relu())
            found.append(head(x.relu()))
        return found


class CenterFace(nn.Module):
    """Xu et al. 2019: a pyramid that goes up through depthwise transposed convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Sequential(conv(i, 2 * i, 1), conv(2 * i, 2 * i, 3, 2, 2 * i), conv(2 * i, o, 1))
            for i, o in ((16, 24), (24, 32), (32, 96), (96, 320))
        )
        self.stem = conv(3, 16, 3, 2)
        self.laterals = nn.ModuleList(conv(i, 24, 1) for i in (24, 32, 96, 320))
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(24, 24, 2, 2, groups=24, bias=False) for _ in range(3)
        )
        self.heads = nn.ModuleList(nn.Conv2d(24, n, 1) for n in (1, 2, 2, 10))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Heat map, scale, offset and landmarks."""
        x, maps = self.stem(images), []
        for stage, lateral in zip(self.stages, self.laterals, strict=True):
            x = stage(x)
            maps.append(lateral(x))
        x = maps.pop()
        for up in self.ups:
            x = up(x) + maps.pop()
        return [head(x) for head in self.heads]


class UltraLight(nn.Module):
    """Linzaer's RFB-320: dilated branches with a shortcut, and a module kept as an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.config = types.ModuleType("config")  # as the published code keeps its settings
        self.stem = nn.Sequential(conv(3, 16, 3, 2), *(self._pair(*w) for w in (
            (16, 32, 1), (32, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1))))  # fmt: skip
        self.branches = nn.ModuleList(
            nn.Sequential(conv(64, 8, 1), conv(8, 16), nn.Conv2d(16, 16, 3, padding=d, dilation=d))
            for d in (2, 3, 5)
        )
        self.join = nn.Conv2d(48, 64, 1)
        self.shortcut = nn.Conv2d(64, 64, 1)
        self.deep = self._pair(64, 128, 2)
        self.heads = nn.ModuleList([nn.Conv2d(64, 18, 3, padding=1), nn.Conv2d(128, 12, 1)])

    def _pair(self, inputs: int, outputs: int, stride: int) -> nn.Module:
        return nn.Sequential(conv(inputs, inputs, 3, stride, inputs), conv(inputs, outputs, 1))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Scores and boxes of two maps."""
        x = self.stem(images)
        joined = self.join(torch.cat([branch(x) for branch in self.branches], 1))
        x = functional.relu(joined + self.shortcut(x))
        return [self.heads[0](x), self.heads[1](self.deep(x))]


class RetinaFace(nn.Module):
    """Deng et al. 2020 with MobileNet at a quarter: a pyramid, context modules, shared shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Sequential(conv(i, i, 3, 2, i), conv(i, o, 1), conv(o, o, 3, 1, o), conv(o, o, 1))
            for i, o in ((16, 64), (64, 128), (128, 256))
        )
        self.stem = nn.Sequential(conv(3, 8, 3, 2), conv(8, 16, 1))
        self.laterals = nn.ModuleList(conv(i, 64, 1) for i in (64, 128, 256))
        self.smooth = nn.ModuleList(conv(64, 64) for _ in range(2))
        self.wide = nn.ModuleList(nn.Conv2d(64, 32, 3, padding=1) for _ in range(3))
        self.narrow = nn.ModuleList(conv(64, 16) for _ in range(3))
        self.middle = nn.ModuleList(nn.Conv2d(16, 16, 3, padding=1) for _ in range(3))
        self.deep = nn.ModuleList(
            nn.Sequential(conv(16, 16), nn.Conv2d(16, 16, 3, padding=1)) for _ in range(3)
        )
        self.heads = nn.ModuleList(nn.Conv2d(64, 32, 1) for _ in range(3))

    def forward(self, images: Tensor) -> Tensor:
        """Scores, boxes and landmarks of all places, (B, places, 16)."""
        x, maps = self.stem(images), []
        for stage, lateral in zip(self.stages, self.laterals, strict=True):
            x = stage(x)
            maps.append(lateral(x))
        for level in (1, 0):
            up = functional.interpolate(maps[level + 1], size=maps[level].shape[2:])
            maps[level] = self.smooth[level](maps[level] + up)
        found = []
        for level, x in enumerate(maps):
            small = self.narrow[level](x)
            parts = [self.wide[level](x), self.middle[level](small), self.deep[level](small)]
            head = self.heads[level](torch.cat(parts, 1).relu())
            found.append(head.permute(0, 2, 3, 1).reshape(head.shape[0], -1, 16))
        return torch.cat(found, 1)


class GroupNormHead(nn.Module):
    """The head of SCRFD (Guo et al. 2021): group norms, shared between two strides."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv(3, 32, 3, 2), conv(32, 64, 3, 2))
        self.down = conv(64, 64, 3, 2)
        tower: list[nn.Module] = []
        for _ in range(2):
            tower += [nn.Conv2d(64, 64, 3, padding=1, bias=False), nn.GroupNorm(16, 64), nn.ReLU()]
        self.tower = nn.Sequential(*tower)
        self.scores, self.boxes = nn.Conv2d(64, 2, 3, padding=1), nn.Conv2d(64, 8, 3, padding=1)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Scores and boxes of two strides."""
        near = self.stem(images)
        towers = [self.tower(near), self.tower(self.down(near))]
        return [head(tower) for tower in towers for head in (self.scores, self.boxes)]


class FaceBoxes(nn.Module):
    """Zhang et al. 2017: concatenated ReLU of both signs, inception blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 24, 7, 4, 3, bias=False), nn.BatchNorm2d(24))
        self.second = nn.Sequential(nn.Conv2d(48, 64, 5, 2, 2, bias=False), nn.BatchNorm2d(64))
        self.branches = nn.ModuleList(
            [conv(128, 32, 1), nn.Sequential(conv(128, 24, 1), conv(24, 32)),
             nn.Sequential(conv(128, 24, 1), conv(24, 32), conv(32, 32))]
        )  # fmt: skip
        self.head = nn.Conv2d(96, 6, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """Scores and boxes."""
        x = self.first(images)
        x = functional.max_pool2d(torch.cat([x, -x], 1).relu(), 3, 2, 1)
        x = self.second(x)
        x = torch.cat([x, -x], 1).relu()
        return torch.as_tensor(self.head(torch.cat([branch(x) for branch in self.branches], 1)))


class PFLD(nn.Module):
    """Guo et al. 2019: landmarks from maps of three sizes, flattened and joined."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv(3, 64, 3, 2), conv(64, 64, 3, 1, 64))
        self.middle = nn.Sequential(conv(64, 128, 1), conv(128, 128, 3, 2, 128), conv(128, 16, 1))
        self.small = conv(16, 32, 3, 2)
        self.last = nn.Conv2d(32, 128, 7)
        self.landmarks = nn.Linear(16 + 32 + 128, 196)

    def forward(self, images: Tensor) -> Tensor:
        """98 points of faces (B, 3, 96, 96)."""
        a = self.middle(self.stem(images))
        b = self.small(a)
        c = functional.adaptive_avg_pool2d(self.last(b).relu(), 1)
        means = [functional.adaptive_avg_pool2d(x, 1).flatten(1) for x in (a, b, c)]
        return torch.as_tensor(self.landmarks(torch.cat(means, 1)))


class HalfNorm(nn.Module):
    """Convolution, batch norm on one half of the channels and instance norm on the other, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2)
        self.first_half = outputs // 2
        self.batch_norm = nn.BatchNorm2d(self.first_half)
        self.instance_norm = nn.InstanceNorm2d(outputs - self.first_half, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        x = self.layer(x)
        first, second = x[:, : self.first_half], x[:, self.first_half :]
        return torch.cat([self.batch_norm(first), self.instance_norm(second)], 1).relu()


class MODNet(nn.Module):
    """Ke et al. 2022, portrait mattes: a coarse, a detailed and a joining branch."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        widths = [(16, 24, 2), (24, 32, 2), (32, 96, 2), (96, 320, 2)]
        self.stem = nn.Sequential(conv(3, 32, 3, 2), conv(32, 32, 3, 1, 32), conv(32, 16, 1))
        self.stages = nn.ModuleList(
            nn.Sequential(conv(i, 6 * i, 1), conv(6 * i, 6 * i, 3, s, 6 * i), conv(6 * i, o, 1))
            for i, o, s in widths
        )
        self.gate = nn.Sequential(
            nn.Linear(320, 80, bias=False), nn.ReLU(), nn.Linear(80, 320, bias=False), nn.Sigmoid()
        )
        self.coarse = nn.ModuleList([HalfNorm(320, 96), HalfNorm(96, width)])
        self.semantics = nn.Conv2d(width, 1, 3, padding=1)
        self.to_details = nn.ModuleList([HalfNorm(16, width, 1), HalfNorm(24, width, 1)])
        self.down = HalfNorm(width + 3, width, 3, 2)
        self.meet = HalfNorm(2 * width, 2 * width)
        self.near = nn.Sequential(HalfNorm(3 * width + 3, 2 * width), HalfNorm(2 * width, width))
        self.middle = nn.Sequential(HalfNorm(2 * width, 2 * width), HalfNorm(2 * width, width))
        self.details = nn.Sequential(HalfNorm(width + 3, width), nn.Conv2d(width, 1, 1))
        self.wider = HalfNorm(width, width)
        self.join = HalfNorm(2 * width, width)
        self.matte = nn.Sequential(HalfNorm(width + 3, width // 2), nn.Conv2d(width // 2, 1, 1))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Semantics, details and matte of portraits (B, 3, H, W)."""

        def resized(x: Tensor, factor: float) -> Tensor:
            return functional.interpolate(x, scale_factor=factor, mode="bilinear")

        x = quarter = half = self.stem(images)
        for number, stage in enumerate(self.stages):
            x = stage(x)
            quarter = x if number == 0 else quarter
        x = x * self.gate(x.mean((2, 3)))[:, :, None, None]
        for block in self.coarse:
            x = block(resized(x, 2))
        semantics = self.semantics(x).sigmoid()
        coarse = self.wider(resized(x, 2))
        small = resized(images, 0.5)
        fine = self.down(torch.cat([small, self.to_details[0](half)], 1))
        fine = self.meet(torch.cat([fine, self.to_details[1](quarter)], 1))
        fine = self.near(torch.cat([fine, coarse, resized(images, 0.25)], 1))
        fine = self.middle(torch.cat([resized(fine, 2), self.to_details[0](half)], 1))
        details = self.details(torch.cat([resized(fine, 2), images], 1)).sigmoid()
        joined = self.join(torch.cat([resized(coarse, 2), fine], 1))
        matte = self.matte(torch.cat([resized(joined, 2), images], 1)).sigmoid()
        return [semantics, details, matte]


FACE_NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "BlazeFace": BlazeFace,
    "LFFD": LFFD,
    "CenterFace": CenterFace,
    "RFB-320": UltraLight,
    "RetinaFace": RetinaFace,
    "GroupNorm head": GroupNormHead,
    "FaceBoxes": FaceBoxes,
    "PFLD": PFLD,
    "MODNet": MODNet,
}
