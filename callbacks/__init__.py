"""Lightning callbacks: when things happen during training."""
