"""Least squares over the calls of layers, while the dense and the pruned network run together."""
