"""Networks put together at random from everything that slimming must follow."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

KINDS = (
    "convolution", "normalised", "residual", "concatenation", "depthwise", "grouped", "shared",
    "split", "pixel_shuffle", "channel_shuffle", "transposed", "squeeze_excite", "scaled", "pool",
    "pad", "mean_head", "dead_end", "sum_of_branches", "activation",
)  # fmt: skip
_CHANNELS = (4, 8, 12)


class RandomNetwork(nn.Module):
    """A chain of blocks of the given kinds between a stem and two heads.

    Args:
        kinds: Names out of ``KINDS``.
        seed: Decides sizes, paddings and which blocks have batch norms.
        zero_stays_zero: Whether no activation turns zero into something else.
        linear_head: Whether a flattened linear head stands beside the convolutional one.
    """

    def __init__(
        self,
        kinds: Sequence[str],
        seed: int,
        linear_head: bool = False,
        zero_stays_zero: bool = False,
    ) -> None:
        super().__init__()
        self.random = random.Random(seed)
        self.zero_stays_zero = zero_stays_zero
        self.kinds = list(kinds)
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.blocks = nn.ModuleList()
        channels = 8
        for kind in self.kinds:
            block, channels = self._build(kind, channels)
            self.blocks.append(block)
        self.head = nn.Conv2d(channels, 3, 1)
        self.linear = nn.Linear(channels * 4, 5) if linear_head else None

    def _conv(self, inputs: int, outputs: int, norm: bool | None = None) -> nn.Module:
        size = self.random.choice((1, 3))
        bias = self.random.random() < 0.5
        conv = nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=bias)
        if norm is None:
            norm = self.random.random() < 0.5
        if not norm:
            return nn.Sequential(conv)
        return nn.Sequential(conv, nn.BatchNorm2d(outputs), self._activation(outputs))

    def _activation(self, channels: int) -> nn.Module:
        kinds: list[nn.Module] = [nn.ReLU(), nn.PReLU(channels), nn.Hardswish(), nn.LeakyReLU(0.1)]
        return self.random.choice(kinds if self.zero_stays_zero else [*kinds, nn.Sigmoid()])

    def _build(self, kind: str, c: int) -> tuple[nn.Module, int]:
        out = self.random.choice(_CHANNELS)
        if kind in ("convolution", "normalised"):
            return self._conv(c, out, kind == "normalised"), out
        if kind in ("residual", "dead_end", "scaled"):
            return nn.Sequential(self._conv(c, out), self._conv(out, c)), c
        if kind == "concatenation":
            return nn.ModuleList([self._conv(c, out), self._conv(c, 4)]), out + 4
        if kind == "sum_of_branches":
            return nn.ModuleList([self._conv(c, out), self._conv(c, out)]), out
        if kind == "depthwise":
            multiplier = self.random.choice((1, 2))
            conv = nn.Conv2d(c, c * multiplier, 3, padding=1, groups=c)
            return nn.Sequential(conv, self._conv(c * multiplier, out)), out
        if kind == "grouped":
            return nn.Conv2d(c, 12, 3, padding=1, groups=self.random.choice((2, 4))), 12
        if kind == "shared":
            return self._conv(c, c), c
        if kind == "split":
            return self._conv(c // 2, c // 2), c
        if kind == "pixel_shuffle":
            return self._conv(c // 4, out), out
        if kind == "transposed":
            return nn.ConvTranspose2d(c, out, 2, stride=self.random.choice((1, 2))), out
        if kind == "squeeze_excite":
            return nn.Sequential(nn.Conv2d(c, 4, 1), nn.ReLU(), nn.Conv2d(4, c, 1)), c
        if kind == "mean_head":
            return nn.Linear(c, 2), c
        return nn.Identity(), c

    def forward(self, images: Tensor) -> list[Tensor]:
        x = self.stem(images)
        results = []
        for kind, block in zip(self.kinds, self.blocks, strict=True):
            x = self._run(kind, block, x, results)
        results.append(self.head(x))
        if self.linear is not None:
            results.append(self.linear(functional.adaptive_avg_pool2d(x, 2).flatten(1)))
        return results

    def _run(self, kind: str, block: nn.Module, x: Tensor, results: list[Tensor]) -> Tensor:
        if kind == "residual":
            return x + block(x)
        if kind == "scaled":
            return 0.5 * x - block(x).clamp(min=-1.0, max=1.0)
        if kind == "concatenation":
            return torch.cat([branch(x) for branch in block], dim=1)
        if kind == "sum_of_branches":
            return block[0](x).relu() + block[1](x)
        if kind == "shared":
            return block(block(x))
        if kind == "split":
            a, b = x.chunk(2, dim=1)
            return torch.cat([b, block(a)], dim=1)
        if kind == "pixel_shuffle":
            return block(functional.pixel_shuffle(x, 2))
        if kind == "channel_shuffle":
            b, c, h, w = x.shape
            return x.view(b, 2, c // 2, h, w).transpose(1, 2).reshape(b, c, h, w)
        if kind == "squeeze_excite":
            return x * block(functional.adaptive_avg_pool2d(x, 1)).sigmoid()
        if kind == "pool":
            return functional.max_pool2d(x, 3, stride=1, padding=1)
        if kind == "pad":
            return functional.pad(x, (1, 0, 0, 1))
        if kind == "activation":
            return x.relu()
        if kind == "mean_head":
            results.append(block(x.mean((2, 3))))
            return x
        if kind == "dead_end":
            block(x)
            return x
        return block(x)


@torch.no_grad()
def mask_at_random(model: nn.Module, seed: int, share: float) -> None:
    """Zero filters, biases, scales and shifts, each layer by its own mood."""
    mood = random.Random(seed)
    generator = torch.Generator().manual_seed(seed)
    last: Tensor | None = None
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            dim = 1 if isinstance(module, nn.ConvTranspose2d) else 0
            count = module.weight.shape[dim]
            last = torch.rand(count, generator=generator) < share * mood.choice((0.0, 1.0, 1.5))
            module.weight.transpose(0, dim)[last] = 0
            if module.bias is not None and mood.random() < 0.7:
                module.bias[last] = 0
        elif isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.5, generator=generator)
            module.running_var.uniform_(0.5, 2.0, generator=generator)
            module.weight.uniform_(0.5, 1.5, generator=generator)
            module.bias.normal_(0, 0.5, generator=generator)
            if last is not None and mood.random() < 0.5:
                module.weight[last] = 0
                module.bias[last] = 0
    model.eval()
