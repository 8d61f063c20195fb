"""Small networks with everything that makes slimming hard, and how to mask them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


def settle_statistics(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give batch norms statistics as after training, and switch to evaluation."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3, generator=generator)
            module.running_var.uniform_(0.5, 2.0, generator=generator)
            if module.affine:
                module.weight.data.uniform_(0.5, 1.5, generator=generator)
                module.bias.data.normal_(0, 0.3, generator=generator)
    return model.eval()


@torch.no_grad()
def mask(layer: nn.Module, filters: Sequence[int], norm: nn.Module | None = None) -> None:
    """Zero filters of a layer, and scale and shift of the batch norm behind it."""
    index = list(filters)
    if isinstance(layer, nn.ConvTranspose2d):
        layer.weight[:, index] = 0
    else:
        layer.weight[index] = 0
    for tensor in (layer.bias, *([norm.weight, norm.bias] if norm is not None else [])):
        if tensor is not None:
            tensor[index] = 0


class Plain(nn.Module):
    """Convolution, batch norm, ReLU, convolution."""

    def __init__(self, padding: int = 1, bias: bool = False) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 5, 3, padding=padding, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.norm(self.first(x)).relu_())


class Residual(nn.Module):
    """A residual stream with two writers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.inner = nn.Conv2d(8, 6, 3, padding=1)
        self.outer = nn.Conv2d(6, 8, 3, padding=1)
        self.head = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        return self.head(x + self.outer(self.inner(x).relu()))


class Concatenation(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 4, 1)
        self.b = nn.Conv2d(3, 6, 3, padding=1)
        self.head = nn.Conv2d(14, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.a(x).relu(), self.b(x)
        return self.head(torch.cat([b, a, a], dim=1))


class Depthwise(nn.Module):
    def __init__(self, multiplier: int = 1) -> None:
        super().__init__()
        self.expand = nn.Conv2d(3, 8, 1)
        self.depthwise = nn.Conv2d(8, 8 * multiplier, 3, padding=1, groups=8)
        self.project = nn.Conv2d(8 * multiplier, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.project(self.depthwise(functional.relu6(self.expand(x))).relu())


class Grouped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.grouped = nn.Conv2d(8, 12, 3, padding=1, groups=2)
        self.head = nn.Conv2d(12, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.grouped(self.first(x).relu()).relu())


class Shared(nn.Module):
    """One block applied three times, as EXTD does, with its batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.expand = nn.Conv2d(6, 10, 1, bias=False)
        self.norm = nn.BatchNorm2d(10)
        self.project = nn.Conv2d(10, 6, 3, stride=2, padding=1)
        self.head = nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.stem(x)
        results = []
        for _ in range(3):
            x = self.project(self.norm(self.expand(x)).relu())
            results.append(self.head(x))
        return results


class Split(nn.Module):
    """Two halves that take different ways, by chunk."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 1)
        self.left = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.first(x).relu().chunk(2, dim=1)
        return self.head(torch.cat([self.left(a), b], dim=1))


class Shuffle(nn.Module):
    """Channel shuffle between grouped convolutions, as in ShuffleNet."""

    def __init__(self, builtin: bool = False) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 1)
        self.second = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.head = nn.Conv2d(8, 2, 1)
        self.builtin = builtin

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).relu()
        if self.builtin:
            x = functional.channel_shuffle(x, 2)
        else:
            b, c, h, w = x.shape
            x = x.view(b, 2, c // 2, h, w).transpose(1, 2).reshape(b, c, h, w)
        return self.head(self.second(x).relu())


class PixelShuffle(nn.Module):
    def __init__(self, builtin: bool = True) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3, padding=1)
        self.head = nn.Conv2d(4, 2, 1)
        self.builtin = builtin

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).relu()
        if self.builtin:
            x = functional.pixel_shuffle(x, 2)
        else:
            b, c, h, w = x.shape
            x = x.view(b, c // 4, 2, 2, h, w).permute(0, 1, 4, 2, 5, 3)
            x = x.reshape(b, c // 4, 2 * h, 2 * w)
        return self.head(x)


class Transposed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.up = nn.ConvTranspose2d(6, 8, 2, stride=2)
        self.head = nn.Conv2d(8, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.up(self.first(x).relu()).relu())


class Classifier(nn.Module):
    """Flattening before linear layers; with ``fixed`` the size is written down."""

    def __init__(self, fixed: bool = False) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.hidden = nn.Linear(6 * 16, 10)
        self.out = nn.Linear(10, 3)
        self.fixed = fixed

    def forward(self, x: Tensor) -> Tensor:
        x = functional.adaptive_avg_pool2d(self.first(x).relu(), 4)
        x = x.view(-1, 96) if self.fixed else x.flatten(1)
        return self.out(self.hidden(x).relu())


class SqueezeExcite(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.squeeze = nn.Conv2d(8, 4, 1)
        self.excite = nn.Conv2d(4, 8, 1)
        self.head = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).relu()
        scale = self.excite(self.squeeze(x.mean((2, 3), keepdim=True)).relu())
        return self.head(x * functional.hardsigmoid(scale))


class Normalized(nn.Module):
    """A ConvNeXt block: channels last, layer norm, linear layers, layer scale."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 2, stride=2)
        self.norm = nn.LayerNorm(6)
        self.up = nn.Linear(6, 12)
        self.down = nn.Linear(12, 6)
        self.scale = nn.Parameter(torch.rand(6, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.norm(x.permute(0, 2, 3, 1))
        y = self.down(functional.gelu(self.up(y))).permute(0, 3, 1, 2)
        return x + self.scale * y


class Scaled(nn.Module):
    """Parameters outside layers: a scale per channel, a slope per channel, fusion weights."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 6, 3, padding=1)
        self.b = nn.Conv2d(3, 6, 3, padding=1)
        self.scale = nn.Parameter(torch.rand(1, 6, 1, 1))
        self.slope = nn.PReLU(6)
        self.fusion = nn.Parameter(torch.rand(2, 3))
        self.head = nn.Conv2d(6, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.fusion.relu()
        weights = weights / (weights.sum(0) + 1e-4)
        a, b = self.slope(self.a(x)), self.b(x) * self.scale
        return self.head(weights[0, 1] * a + weights[1, 1] * b)


class Unused(nn.Module):
    """A branch that is computed and thrown away, and one that is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.lost = nn.Sequential(nn.Conv2d(6, 8, 3), nn.BatchNorm2d(8), nn.PReLU())
        self.spare = nn.Conv2d(6, 6, 1)
        self.head = nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        self.lost(x)
        return self.head(x)


class Attention(nn.Module):
    """One spatial map that scales every channel, and an unknown operator between channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.map = nn.Conv2d(6, 1, 1)
        self.head = nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        x = x * self.map(x).sigmoid()
        gram = torch.einsum("bchw,bdhw->bcd", x, x)
        return self.head(x) + gram.mean()
