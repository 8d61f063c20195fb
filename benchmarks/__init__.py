"""Programs that measure a ratio side by side in one run: ``python -m benchmarks``."""
