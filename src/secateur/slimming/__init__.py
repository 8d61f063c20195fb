"""Physical removal of what no output depends on, with proof. For any nn.Module.

``slim`` does it; docs/slimming.md explains how.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
