from .workflows.load import load as load

__version__: str
