"""What a network costs: parameters, multiply-accumulates, milliseconds. For any nn.Module."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
