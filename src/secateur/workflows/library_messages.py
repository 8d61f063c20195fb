"""What libraries say that a user can do nothing about."""

from __future__ import annotations

import logging
import os
import warnings

_LOGGERS = (
    "lightning_fabric",
    "lightning.fabric",
    "lightning_fabric.utilities.rank_zero",
    "pytorch_lightning.utilities.rank_zero",  # which accelerators there are, and advertisements
)
_WARNINGS = (
    # Two workers are what two cores can feed; Lightning would like one per core.
    ".*does not have many workers.*",
    ".*LeafSpec.*is deprecated.*",
    ".*overridden `transfer_batch_to_device`.*",
    ".*Checkpoint directory .* exists and is not empty.*",
    ".*number of training batches.*smaller than.*",
)


def silence_libraries() -> None:
    """Silence it, and on all processes but the first what the first one says."""
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in _WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    if os.environ.get("LOCAL_RANK", "0") != "0":
        logging.getLogger("secateur").setLevel(logging.WARNING)
