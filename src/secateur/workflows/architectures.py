"""Names of networks in files, and what builds them: the only way from a file to a class."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from secateur.detectors.eresfd import EResFD
from secateur.detectors.extd import EXTD

BUILDERS: Mapping[str, Callable[..., nn.Module]] = {
    "eresfd": EResFD,
    "extd": EXTD,
}
