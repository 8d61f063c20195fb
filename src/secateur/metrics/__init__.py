"""Face metrics: pure functions and their torchmetrics shells."""
