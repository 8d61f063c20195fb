"""Recovery: what a pruned network learns from the dense network that it came from."""
