"""Known weights: what the released files are, by the fingerprint of their tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Identity:
    """Network, origin and licence of a known set of weights.

    Attributes:
        model: Family of the network.
        arguments: What the constructor of the network must be given to run the weights.
        origin: Where they come from.
        licence: What they may be used for.
    """

    model: Literal["eresfd", "extd", "yunet"]
    arguments: dict[str, Any] = field(default_factory=dict)
    origin: str = "unknown origin"
    licence: str = "unknown licence"

    def __str__(self) -> str:
        """Model and arguments, such as ``extd with width=64``."""
        return f"{self.model} with " + " ".join(f"{k}={v}" for k, v in self.arguments.items())


def _known(
    files: Mapping[str, str],
    model: Literal["eresfd", "extd", "yunet"],
    arguments: dict[str, Any],
    repository: str,
    licence: str,
) -> dict[str, Identity]:
    """Identities of the files of one repository, from fingerprint and file name."""
    return {
        fingerprint: Identity(model, arguments, f"{name} of {repository}", licence)
        for fingerprint, name in files.items()
    }


_NON_COMMERCIAL = "academic, non-commercial use only"

KNOWN: dict[str, Identity] = {
    **_known(
        # yunet_s is also what opencv_zoo publishes as face_detection_yunet_2023mar.onnx
        {"37e728822d62a1ead3d8db3f7539bda4ec5600dcda11ee624919c9bb6b678d07": "yunet_s"},
        "yunet",
        {"width": 64, "early_width": 32, "head_units": False, "landmarks": True},
        "ShiqiYu/libfacedetection.train",
        "Apache-2.0",
    ),
    **_known(
        {"a54725f973df6a6785cb5687b3ae29bee596ebeeba0123c8eb079843b48bf00f": "yunet_n"},
        "yunet",
        {"width": 64, "early_width": 64, "head_units": True, "landmarks": True},
        "ShiqiYu/libfacedetection.train",
        "Apache-2.0",
    ),
    **_known(
        {
            "71e4887c41802a21cec0ce919cfcfdddde2bee30b81834b16f93edb08a29ceca": "eresfd_16",
        },
        "eresfd",
        # the only release that was trained with tall anchors
        {"topology": "standard", "anchor_ratio": 1.25},
        "clovaai/EResFD",
        "Apache-2.0",
    ),
    **_known(
        {"13d5641536b9bd8285bd819641047be0172027b16e2915e3d20425658b33170e": "EXTD_64"},
        "extd",
        {"width": 64},
        "clovaai/EXTD_Pytorch",
        "MIT",
    ),
    **_known(
        {"53fa748a04f4794dcb1975674ed36a1ec4c80ea97d48f48a3cd1119d5e5ff5cb": "EXTD_48"},
        "extd",
        {"width": 48},
        "clovaai/EXTD_Pytorch",
        "MIT",
    ),
    **_known(
        {"71b72a925a93f84bc2a0e5e15c5c556c841a69d6dfe8c3a8d42446d6f68aa045": "EXTD_32"},
        "extd",
        {"width": 32},
        "clovaai/EXTD_Pytorch",
        "MIT",
    ),
    **_known(
        {
            "ee7484b4ff5387a405a28a639c4403e5d2d8c3435c817601295cca3915055184": "EResFD-original",
            "8840ce52eac0c35a8129a0085b0414876beeebf65040f59ade2464ed64d8953b": "EResFD-10-pruned",
            "d7eb0823c46c94439cf12bce39ebc7e173da9c67c36fe493962d29a954d17664": "EResFD-20-pruned",
            "b80fbb88e3fb970b42bfdd68ef96287ccfb617f398411dc58641900d053a6b8e": "EResFD-30-pruned",
            "3c9134c9608cc66e5f45a6838c10aa44e0e67ff8f1053be03b9b7e0033d9b31f": "EResFD-40-pruned",
            "122c7f54571e3dd7f791edde5c2af3f237d6aed3cc2849c8f57176387f0a864c": "EResFD-50-pruned",
            "4016c05fe2db2c867898fd2acf3a319e2a063277aa8823e2eac64852c9180836": "EResFD-60-pruned",
        },
        "eresfd",
        {"topology": "bfpgm", "anchor_ratio": 1.0},
        "IDT-ITI/B-FPGM",
        _NON_COMMERCIAL,
    ),
    **_known(
        {
            "8404fe4c9a58b3e2869d5063fa68148a91e3aee56ecc744823b55a0e6d3a5cd4": "EXTD-original",
            "92b5592f1ea6b27cbced1e7c9aededde98e2fdafeee4d79cb573d43fd2954f3b": "EXTD-20-pruned",
        },
        "extd",
        {"width": 64},
        "IDT-ITI/B-FPGM",
        _NON_COMMERCIAL,
    ),
    **_known(
        {
            "256bf1a50c95ad665fbdae5af8873390dc021f58ab3ae1fd2dee323fc871653a": "ERES",
            "204496e44a08d4f6cd3d454d864cbde0a1689dbd51ecc22e57e17f227b578fdb": "ERES10_FPGM",
            "f86d1c730fcb85c90117d09a59e32c80bee4ba004ba255d56b2cad98c0ccae81": "ERES10_L1",
            "5deaec187d84dd10a606db2e35e7ec13870a9d09ee00c6ee389e23fafc7fef14": "ERES20_FPGM",
            "beea9a7a201a6c012e8050ec812ca564396acb4261508f193b7f72a2552d553c": "ERES20_L1",
            "e1fa876c7c01a2124370c585cc24cb1ab9220f1d8c54afe0c39b9e422596e12b": "ERES30_FPGM",
            "9e9acb3586f2b77d9129619416c52056720b69dc5cc48388d12d3e3775ef99aa": "ERES30_L1",
            "c7bdf0146e8bbe8f88345e180cf6b9649d2f449f2d6e3d43ce3a54a8bcc248e5": "ERES40_FPGM",
            "4fd851f8c8c474a6403ed4106554e23c3d6af48e676ef152c68eaa21a72e93fe": "ERES40_L1",
            "7ebf6fb1175011a791f24a70dd678f51287954ccff9a402a4e4df4166f124921": "ERES50_FPGM",
            "c70718953fd8733877241f102b3e18b6be5bf3ae63d6f613890cd7a137780ea4": "ERES50_L1",
        },
        "eresfd",
        {"topology": "standard", "anchor_ratio": 1.0},
        "IDT-ITI/Lightweight-Face-Detector-Pruning",
        _NON_COMMERCIAL,
    ),
    **_known(
        {
            "bda5777dd71cbe94692e5216f9b15b8c58a96202b0393aa2ff971551e5d2041d": "sfd_face",
            "28a8f0e030b6839e348b688e025881d74760643b78ca912a386130b9b2241c2f": "EXTD10_FPGM",
            "ed979aee2930595aa229d7b3892945bd308754e2ca90389573564fbda2f265e2": "EXTD10_L1",
            "8678e858b86240a653373ec789bcd51a74976b5caf7afb1bfd6e4b6a003dfaee": "EXTD20_FPGM",
            "d51a4a032d6f5182004f5175ab1d308a3ab486533f1032597802ecf4515436f0": "EXTD20_L1",
            "7a7a5edb24d8f47056fc2ba24892ff53d4b497e2c39baf4a0a919d53fcc6fccd": "EXTD30_FPGM",
            "444048ecd332a218068f067f39085c3a8055ae16d8b311904d2a65da8a5d935d": "EXTD30_L1",
            # the file EXTD40_L1 of that repository holds the same tensors
            "a3106202039f4f2bdebf44968fdc84189fddf0a7c05eb9edb60910e2c37afd77": "EXTD40_FPGM",
            "c54fb7a8e8886b90508f1c042348a1a59146ccbfa4ea074450e3ab9bb2dd2863": "EXTD50_FPGM",
            "b7f8b6b01e354e72426ee3679357ae25929e205359843b951fd5e2709d649edd": "EXTD50_L1",
        },
        "extd",
        {"width": 64},
        "IDT-ITI/Lightweight-Face-Detector-Pruning",
        _NON_COMMERCIAL,
    ),
}
