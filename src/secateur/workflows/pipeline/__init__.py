"""Pre-training, search, soft pruning and fine-tuning as one run."""
