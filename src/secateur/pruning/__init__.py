"""Filter pruning and physical slimming of any convolutional network.

``prune`` does all of it in one call; the modules of this package are its parts.
"""

from secateur.pruning.prune import PruneReport, PruneResult, prune
from secateur.pruning.taylor import TaylorStatistics

__all__ = ["PruneReport", "PruneResult", "TaylorStatistics", "prune"]
