"""Filter pruning of any convolutional network: what to remove, and masks that remove it.

``prune`` does all of it in one call, slimming included; the other names are its parts.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
