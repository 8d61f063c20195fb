"""Train, prune, slim and measure lightweight face detectors and recognisers."""

__version__ = "0.1.0"
