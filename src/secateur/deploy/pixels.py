"""Networks that take pixels: preprocessing and decoding as part of the graph."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from secateur.deploy.description import AnchorLayout, PixelFormat, PointLayout
from secateur.detectors.boxes import LARGEST_GROWTH
from secateur.detectors.points import decode_boxes, decode_landmarks, make_points, point_scores


class FromPixels(nn.Module):
    """A network behind its preprocessing.

    Attributes:
        mean: (3, 1, 1) that is subtracted.
        scale: (3, 1, 1) that the difference is divided by.

    Args:
        network: What takes preprocessed images.
        pixels: How it wants them preprocessed.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, network: nn.Module, pixels: PixelFormat) -> None:
        super().__init__()
        self.network = network
        self.reversed, self.multiple = pixels.order == "bgr", pixels.multiple
        self.centered, self.scaled = any(pixels.mean), set(pixels.scale) != {1.0}
        self.register_buffer("mean", torch.tensor(pixels.mean)[:, None, None])
        self.register_buffer("scale", torch.tensor(pixels.scale)[:, None, None])

    def images(self, pixels: Tensor) -> Tensor:
        """(B, H, W, 3) RGB of 0..255 to what the network takes."""
        images = pixels.permute(0, 3, 1, 2).float()
        if self.multiple > 1:
            height, width = images.shape[-2:]
            images = functional.pad(images, (0, -width % self.multiple, 0, -height % self.multiple))
        if self.centered:
            images = images - self.mean
        if self.scaled:
            images = images / self.scale
        return images.flip(1) if self.reversed else images


class EmbeddingsFromPixels(FromPixels):
    """A recognizer from pixels to embeddings of length 1."""

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, S, S, 3) RGB of 0..255 to (B, D)."""
        return functional.normalize(self.network(self.images(pixels)), dim=1)


class BoxesFromPixels(FromPixels):
    """A detector with anchors from pixels to boxes, before suppression.

    Args:
        network: Gives locations (B, N, 4) and logits (B, N, 2).
        pixels: How it wants images preprocessed.
        anchors: Where its anchors lie.
    """

    def __init__(self, network: nn.Module, pixels: PixelFormat, anchors: AnchorLayout) -> None:
        super().__init__(network, pixels)
        self.anchors = anchors

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Detect.

        Args:
            pixels: (B, H, W, 3) RGB of 0..255.

        Returns:
            Boxes (B, N, 4) x1, y1, x2, y2 in pixels, and scores (B, N).
        """
        images = self.images(pixels)
        locations, logits = self.network(images)
        centers, sizes = _anchors(images, self.anchors)
        offset, growth = self.anchors.variance
        center = centers + locations[..., :2] * offset * sizes
        size = sizes * torch.exp((locations[..., 2:] * growth).clamp(max=LARGEST_GROWTH))
        low = center - size / 2
        boxes = torch.cat([low, low + size], dim=2)
        return boxes, torch.sigmoid(logits[..., 1] - logits[..., 0])


class PointDecoder(nn.Module):
    """A detector of points from preprocessed images to boxes and landmarks, before suppression.

    Padding to multiples of 32 is no part of it: torch cannot follow sizes through it.

    Args:
        network: Gives class (B, P, 1), boxes (B, P, 4), objectness (B, P, 1) and, with landmarks,
            (B, P, 10).
        points: What its outputs mean.
    """

    def __init__(self, network: nn.Module, points: PointLayout) -> None:
        super().__init__()
        self.network = network
        self.points = points

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Detect.

        Args:
            images: (B, 3, H, W) as the network takes them.

        Returns:
            Boxes (B, P, 4) x1, y1, x2, y2 in pixels, scores (B, P), and with landmarks their x and
            y (B, P, 10) in pixels.
        """
        outputs = self.network(images)
        height, width = images.shape[-2:]
        points = make_points(height, width, self.points.strides)
        boxes = decode_boxes(outputs[1], points)
        scores = point_scores(outputs[0], outputs[2], self.points.root)
        if not self.points.landmarks:
            return boxes, scores
        return boxes, scores, decode_landmarks(outputs[3], points)


def _anchors(images: Tensor, layout: AnchorLayout) -> tuple[Tensor, Tensor]:
    """Centers and sizes (N, 2) of all anchors in pixels, for an input of unknown size."""
    height, width = images.shape[-2:]
    centers, sizes = [], []
    for cell, stride, size in zip(layout.cell_strides, layout.strides, layout.sizes, strict=True):
        rows, columns = (height + cell - 1) // cell, (width + cell - 1) // cell
        y = (torch.arange(rows, dtype=torch.float32) + 0.5) * stride
        x = (torch.arange(columns, dtype=torch.float32) + 0.5) * stride
        grid = [x[None, :].expand(rows, columns), y[:, None].expand(rows, columns)]
        level = torch.stack(grid, dim=2).flatten(0, 1)
        centers.append(level)
        sizes.append(torch.tensor([[float(size), size * layout.ratio]]).expand_as(level))
    return torch.cat(centers), torch.cat(sizes)


def preprocess(picture: NDArray[np.uint8], pixels: PixelFormat) -> Tensor:
    """Make the input of one picture as a description says.

    Args:
        picture: (H, W, 3) RGB.
        pixels: Of the description; its type does not matter.

    Returns:
        (1, 3, H', W') float32.
    """
    batch = torch.from_numpy(np.require(picture, requirements=["C", "W"]))[None]
    return FromPixels(nn.Identity(), pixels).images(batch).contiguous()
