"""The protocol of detectors: padding, losses and faces, with anchors and without."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from secateur.data.preprocessing import BGR, Preprocessing
from secateur.detectors.detection import batch_losses, detect, detect_padded, sum_losses
from secateur.detectors.eresfd import EResFD
from secateur.detectors.yunet import YuNet


def build(kind: str) -> nn.Module:
    torch.manual_seed(0)
    network = {"eresfd": EResFD, "yunet": lambda: YuNet(16, 8)}[kind]()
    return network.eval()


def images(height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 3, height, width, generator=generator) * 255


@pytest.mark.parametrize("kind", ["eresfd", "yunet"])
def test_faces_of_any_size_and_in_a_fixed_shape(kind: str) -> None:
    network = build(kind)
    limits = {"score_threshold": 0.0, "max_faces": 20}
    with torch.no_grad():
        for size in ((64, 96), (50, 70)):
            rows = detect(network, images(*size), **limits)
            assert [found.shape[1] for found in rows] == [15 if kind == "yunet" else 5] * 2
        faces, counts = detect_padded(network, images(64, 96), **limits)
        again = detect(network, images(64, 96), **limits)
    for padded, count, found in zip(faces, counts, again, strict=True):
        assert torch.equal(padded[:count], found)


@pytest.mark.parametrize("kind", ["eresfd", "yunet"])
def test_losses_are_finite_named_and_differentiable_whatever_the_columns(kind: str) -> None:
    network = build(kind).train()
    faces = [torch.tensor([[0.2, 0.2, 0.6, 0.7, *([0.4, 0.4, 1.0] * 5)]]), torch.zeros(0, 4)]
    terms = batch_losses(network, images(64, 96), faces)
    expected = {"location", "confidence"}
    if kind == "yunet":
        expected = {"class", "objectness", "box", "landmark"}
    assert set(terms) == expected
    sum_losses(terms).backward()
    assert all(
        parameter.grad is None or parameter.grad.isfinite().all()
        for parameter in network.parameters()
    )


def test_what_is_padded_is_told_in_fractions_of_the_picture() -> None:
    """A picture, and the same picture with black added by hand, give the same faces in pixels."""
    network, image = build("yunet"), images(50, 70)
    padded = nn.functional.pad(image, (0, 26, 0, 14))
    with torch.no_grad():
        ours = detect(network, image, score_threshold=0.0)
        theirs = detect(network, padded, score_threshold=0.0)
        faces = [torch.tensor([[0.1, 0.2, 0.5, 0.9, *([0.3, 0.4, 1.0] * 5)]])] * 2
        factors = torch.tensor([70 / 96, 50 / 64] * 2 + [70 / 96, 50 / 64, 1.0] * 5)
        losses = batch_losses(network, image, faces)
        expected = batch_losses(network, padded, [rows * factors for rows in faces])
    for one, two in zip(ours, theirs, strict=True):
        for columns, step in ((slice(0, 4), 2), (slice(5, 15), 2)):
            scale = torch.tensor([96 / 70, 64 / 50]).repeat(two[:, columns].shape[1] // step)
            torch.testing.assert_close(one[:, columns], two[:, columns] * scale)
        assert torch.equal(one[:, 4], two[:, 4])
    for name, value in losses.items():
        torch.testing.assert_close(value, expected[name])


def test_black_is_black_for_every_preprocessing() -> None:
    black = torch.zeros(40, 50, 3, dtype=torch.uint8).numpy()
    for preprocessing in (BGR, Preprocessing("bgr", (1.0, 2.0, 3.0), 0.5, 32)):
        image = preprocessing(black)[None]
        padded = preprocessing.pad(image)
        assert padded.shape == (1, 3, 64, 64)
        assert torch.equal(padded, padded[..., :1, :1].expand_as(padded))
        assert torch.equal(padded[..., :40, :50], image)


def test_a_picture_is_restored_from_its_input() -> None:
    generator = torch.Generator().manual_seed(0)
    picture = torch.randint(0, 256, (8, 9, 3), generator=generator).to(torch.uint8).numpy()
    for preprocessing in (Preprocessing(), BGR, Preprocessing("bgr", (1.0, 2.0, 3.0), 1 / 128)):
        assert (preprocessing.restore(preprocessing(picture)) == picture).all()


@pytest.mark.slow
def test_yunet_exports_with_free_sides_that_32_divides() -> None:
    network = build("yunet")
    cells = {2: 32 * torch.export.Dim("rows", max=40), 3: 32 * torch.export.Dim("columns", max=40)}
    exported = torch.export.export(network, (images(64, 96),), dynamic_shapes=(cells,)).module()
    with torch.no_grad():
        for one, two in zip(exported(images(96, 160)), network(images(96, 160)), strict=True):
            torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-4)
