from __future__ import annotations

import pytest
import torch
from torchvision.models import mobilenet_v2, squeezenet1_1

from secateur.errors import InputError
from secateur.recognizers.mobilenet_v2 import MobileNetV2
from secateur.recognizers.squeezenet import SqueezeNet
from secateur.weights.recognizer_weights import (
    fetch_imagenet,
    head_weights,
    is_imagenet,
    load_weights,
)


def test_published_squeezenet_loads_without_batch_norm() -> None:
    state = squeezenet1_1().state_dict()
    network = SqueezeNet()
    load_weights(network, state, "file.pth")
    for name, tensor in state.items():
        assert torch.equal(network.state_dict()[name], tensor)


def test_classifier_of_imagenet_is_left_out() -> None:
    state = mobilenet_v2().state_dict()
    network = MobileNetV2()
    load_weights(network, state, "file.pth")
    assert torch.equal(network.state_dict()["features.18.0.weight"], state["features.18.0.weight"])


def test_checkpoint_of_a_run_brings_network_and_head() -> None:
    source, network = MobileNetV2(), MobileNetV2()
    state = {f"network.{name}": tensor for name, tensor in source.state_dict().items()}
    state |= {"head.weight": torch.ones(3, 1280), "head.bias": torch.zeros(3)}
    load_weights(network, state, "last.ckpt")
    assert torch.equal(network.state_dict()["features.0.0.weight"], source.features[0][0].weight)  # type: ignore[index]
    assert head_weights(state).keys() == {"weight", "bias"}


def test_other_weights_are_refused_and_nothing_is_changed() -> None:
    network = MobileNetV2()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(InputError, match=r"file.pth does not fit MobileNetV2.*tensors more"):
        load_weights(network, squeezenet1_1().state_dict(), "file.pth")
    state = mobilenet_v2().state_dict()
    del state["features.3.conv.2.weight"]
    with pytest.raises(InputError, match=r"features.3.conv.2.weight should be .* and is absent"):
        load_weights(network, state, "file.pth")
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_names_of_imagenet_weights() -> None:
    assert is_imagenet("imagenet")
    assert is_imagenet("imagenet:IMAGENET1K_V1")
    assert not is_imagenet("/data/imagenet.pth")
    assert not is_imagenet(None)
    with pytest.raises(InputError, match=r"choose from .*IMAGENET1K_V1"):
        fetch_imagenet("resnet50", "imagenet:V9")
    with pytest.raises(InputError, match="not for eresfd"):
        fetch_imagenet("eresfd")
