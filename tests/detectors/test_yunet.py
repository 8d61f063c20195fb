"""YuNet: parameters, names, golden outputs and a golden training step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from secateur.detectors.detection import detect
from secateur.detectors.point_loss import point_loss
from secateur.detectors.points import make_points
from secateur.detectors.yunet import GROUPS, HEADS, YuNet
from secateur.pruning.layers import match_layers, resolve_groups
from secateur.weights.detector_weights import identify, load_weights, read_weights


def build(name: str) -> YuNet:
    return YuNet() if name == "yunet_n" else YuNet(early_width=32, head_units=False)


def official(reference: Path, name: str) -> dict[str, Tensor]:
    return read_weights(reference / f"weights/yunet/libfacedetection_{name}.safetensors")


def golden_images(reference: Path, size: int) -> Tensor:
    with np.load(reference / f"golden/forward/inputs_{size}.npz") as pictures:
        stacked = np.stack([pictures[f"img{index}_u8"] for index in range(5)])
    return torch.from_numpy(stacked[..., ::-1].copy()).permute(0, 3, 1, 2).float()


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("name", "parameters", "convolutions", "keys"),
    [("yunet_n", 75_856, 59, 208), ("yunet_s", 54_608, 53, 181)],
)
def test_parameters(name: str, parameters: int, convolutions: int, keys: int) -> None:
    network = build(name)
    assert count(network) == parameters
    assert sum(isinstance(module, nn.Conv2d) for module in network.modules()) == convolutions
    assert len(network.state_dict()) == keys


def test_without_landmarks_there_are_three_outputs_and_2250_parameters_less() -> None:
    network = YuNet(landmarks=False)
    assert count(network) == 73_606
    assert [tuple(part.shape) for part in network(torch.zeros(1, 3, 64, 32))] == [
        (1, 42, 1),
        (1, 42, 4),
        (1, 42, 1),
    ]


def test_width_is_free() -> None:
    assert count(YuNet(width=24, early_width=8)) < 20_000


@pytest.mark.parametrize(("name", "suffix"), [("yunet_n", ""), ("yunet_s", "_without_head_units")])
def test_every_convolution_is_in_one_group_or_a_head(name: str, suffix: str) -> None:
    layers = [n for n, m in build(name).named_modules() if isinstance(m, nn.Conv2d)]
    heads = [layer for pattern in HEADS for layer in match_layers(pattern, layers, "heads")]
    assert len(heads) == 24
    for table in ("script", "coupled", "sets"):
        groups = resolve_groups(GROUPS[table + suffix], layers)
        assert sorted([*heads, *(layer for group in groups.values() for layer in group)]) == (
            sorted(layers)
        )


@pytest.mark.parametrize("name", ["yunet_n", "yunet_s"])
def test_names_are_those_of_the_official_files(reference: Path, name: str) -> None:
    expected = {key: tensor.shape for key, tensor in official(reference, name).items()}
    assert {key: value.shape for key, value in build(name).state_dict().items()} == expected


def test_initialization_is_the_published_one(reference: Path) -> None:
    golden = json.loads((reference / "golden/yunet/arch/yunet_n_init_stats.json").read_text())
    torch.manual_seed(0)
    for name, value in YuNet().named_parameters():
        if value.numel() > 1000:
            assert value.std().item() == pytest.approx(golden[name]["std"], rel=0.15), name
        elif name.endswith("bias"):
            assert value.mean().item() == pytest.approx(golden[name]["mean"], abs=1e-6), name


@pytest.mark.parametrize("name", ["yunet_n", "yunet_s"])
@pytest.mark.parametrize("size", [320, pytest.param(640, marks=pytest.mark.slow)])
def test_golden_outputs(reference: Path, name: str, size: int) -> None:
    network = build(name)
    network.load_state_dict(official(reference, name))
    network.eval()
    with torch.inference_mode():
        outputs = network(golden_images(reference, size))
    with np.load(reference / f"golden/yunet/forward/{name}_raw{size}.npz") as golden:
        assert np.array_equal(make_points(size, size).numpy(), golden["priors"][:, :3])
        for index in range(5):
            for part, key in zip(outputs, ("cls", "bbox", "obj", "kps"), strict=True):
                found = part[index].squeeze(-1).numpy()
                assert np.abs(found - golden[f"img{index}_{key}"]).max() <= 1e-4


@pytest.mark.parametrize("name", ["yunet_n", "yunet_s"])
def test_golden_training_step(reference: Path, name: str) -> None:
    folder = reference / "golden/yunet/loss"
    golden = json.loads((folder / f"{name}_trainstep.json").read_text())
    with np.load(folder / f"{name}_trainstep_320.npz") as file:
        arrays = {key: torch.from_numpy(np.asarray(file[key])) for key in file.files}
    network = build(name)
    network.load_state_dict(official(reference, name))
    # in float64, because float32 leaves three digits of the first layers' gradients, and which
    # ones depends on the kernels of the machine
    network.double().train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    images = golden_images(reference, 320)[:2].double()
    faces = [
        torch.cat([arrays[f"gt{n}"], arrays[f"gt{n}_kps"].flatten(1)], dim=1) for n in range(2)
    ]

    def losses() -> dict[str, Tensor]:
        classes, boxes, objectness, landmarks = network(images)
        points = make_points(320, 320).double()
        return point_loss(classes, boxes, objectness, landmarks, points, faces)

    first = losses()
    assert_losses(first, golden["losses"])
    sum(first.values()).backward()
    # a bias before a batch norm has no gradient but rounding noise
    for key, parameter in network.named_parameters():
        norm = golden["grad_norm_sum"][key][0]
        assert parameter.grad is not None
        assert parameter.grad.norm().item() == pytest.approx(norm, rel=1e-4, abs=2e-4), key
        if f"grad/{key}" in arrays:
            difference = (parameter.grad - arrays[f"grad/{key}"]).norm()
            assert difference <= 1e-3 * arrays[f"grad/{key}"].norm() + 1e-5, key
    optimizer.step()
    for key, parameter in network.named_parameters():
        expected = golden["param_norm_after"][key]
        assert parameter.norm().item() == pytest.approx(expected, rel=1e-5, abs=1e-6), key
    for key, buffer in network.named_buffers():
        if key in golden["bn_buffer_norm_sum_after"]:
            norm, total = golden["bn_buffer_norm_sum_after"][key]
            assert buffer.norm().item() == pytest.approx(norm, rel=1e-5), key
            assert buffer.sum().item() == pytest.approx(total, rel=1e-4, abs=1e-4), key
    assert_losses(losses(), golden["losses_second_forward"], tolerance=1e-3)


def assert_losses(
    found: dict[str, Tensor], golden: dict[str, float], tolerance: float = 1e-5
) -> None:
    names = {
        "class": "loss_cls",
        "box": "loss_bbox",
        "objectness": "loss_obj",
        "landmark": "loss_kps",
    }
    for ours, theirs in names.items():
        assert found[ours].item() == pytest.approx(golden[theirs], rel=tolerance), ours


def load(reference: Path, name: str, **arguments: Any) -> YuNet:
    state = official(reference, name)
    found = identify(state)
    assert found is not None
    assert found.model == "yunet"
    network = YuNet(**found.arguments, **arguments)
    load_weights(network, state, source=name)
    return network.eval()


@pytest.mark.parametrize("name", ["yunet_n", "yunet_s"])
def test_official_weights_are_known_by_content_and_others_by_shape(
    reference: Path, name: str
) -> None:
    found = identify(official(reference, name))
    assert found is not None
    assert found.origin == f"{name} of ShiqiYu/libfacedetection.train"
    narrow = identify(YuNet(width=24, early_width=8, landmarks=False).state_dict())
    assert narrow is not None
    assert narrow.arguments == {
        "width": 24,
        "early_width": 8,
        "head_units": True,
        "landmarks": False,
    }


@pytest.mark.parametrize("name", ["yunet_n", "yunet_s"])
def test_golden_faces_with_the_product_of_class_and_objectness(reference: Path, name: str) -> None:
    network = load(reference, name, score="product")
    images = golden_images(reference, 320)
    limits = {"score_threshold": 0.02, "iou_threshold": 0.45, "max_faces": 5000}
    with torch.inference_mode():
        found = detect(network, images, **limits)
    with np.load(reference / f"golden/yunet/forward/{name}_dets.npz") as golden:
        for index, rows in enumerate(found):
            expected = golden[f"img{index}_at320"]
            assert rows.shape == expected.shape
            np.testing.assert_allclose(rows[:, 4], expected[:, 4], atol=1e-4)
            pixels = np.delete(rows.numpy() * 320, 4, axis=1)
            np.testing.assert_allclose(pixels, np.delete(expected, 4, axis=1), atol=1e-2)


def test_a_picture_that_32_does_not_divide_is_padded_and_told_in_its_own_fractions(
    reference: Path,
) -> None:
    network = load(reference, "yunet_n", score="product")
    image = golden_images(reference, 640)[1:2, :, 20:520, 10:610]
    with torch.inference_mode():
        (rows,) = detect(network, image, score_threshold=0.02, iou_threshold=0.45, max_faces=5000)
    with np.load(reference / "golden/yunet/forward/yunet_n_dets.npz") as golden:
        expected = golden["img1_crop_padded"]
    pixels = torch.cat([rows[:, :4], rows[:, 5:]], dim=1) * torch.tensor([600.0, 500.0] * 7)
    np.testing.assert_allclose(pixels, np.delete(expected, 4, axis=1), atol=1e-2)


@pytest.mark.parametrize(("name", "count"), [("yunet_n", 134), ("yunet_s", 127)])
def test_faces_are_those_of_opencv(reference: Path, name: str, count: int) -> None:
    """OpenCV reads the authors' ONNX file, decodes and suppresses by code of its own."""
    path = reference / f"weights/peers/{name}_dynamic.onnx"
    network = load(reference, name)
    images = golden_images(reference, 640)
    with torch.inference_mode():
        found = detect(network, images, score_threshold=0.6, iou_threshold=0.3)
    opencv = cv2.FaceDetectorYN.create(str(path), "", (640, 640), 0.6, 0.3, 5000)
    equal = 0
    for image, rows in zip(images, found, strict=True):
        bgr = np.ascontiguousarray(image.permute(1, 2, 0).numpy().astype(np.uint8))
        _, expected = opencv.detect(bgr)
        assert len(rows) == len(expected)
        ours = rows.numpy() * np.array([640] * 4 + [1] + [640] * 10)
        ours[:, 2:4] -= ours[:, :2]
        ours = np.concatenate([ours[:, :4], ours[:, 5:], ours[:, 4:5]], axis=1)
        for row in expected:
            equal += np.abs(ours - row).max(axis=1).min() < 0.01
    assert equal == count


def test_unknown_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="score must be"):
        YuNet(score="sum")  # type: ignore[arg-type]
