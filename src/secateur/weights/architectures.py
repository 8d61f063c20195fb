"""Names of networks in files, and what builds them: the only way from a file to a class."""

from __future__ import annotations

from secateur.described_network import Builders
from secateur.detectors.eresfd import EResFD
from secateur.detectors.extd import EXTD
from secateur.detectors.yunet import YuNet
from secateur.recognizers.iresnet import IResNet
from secateur.recognizers.mobilefacenet import MobileFaceNet
from secateur.recognizers.mobilenet_v2 import MobileNetV2
from secateur.recognizers.resnet50 import ResNet50
from secateur.recognizers.squeezenet import SqueezeNet

BUILDERS: Builders = {
    "eresfd": EResFD,
    "extd": EXTD,
    "iresnet": IResNet,
    "mobilefacenet": MobileFaceNet,
    "mobilenetv2": MobileNetV2,
    "resnet50": ResNet50,
    "squeezenet": SqueezeNet,
    "yunet": YuNet,
}
