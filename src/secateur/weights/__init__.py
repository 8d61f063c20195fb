"""Weights on disk: read safely, told by their content, loaded strictly."""
