"""Filter pruning and physical slimming of any convolutional network."""
