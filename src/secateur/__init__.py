"""Train, prune, slim and measure lightweight face detectors and recognisers."""

import lazy_loader

from secateur.former_modules import install as _find_former_modules

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

_find_former_modules()
