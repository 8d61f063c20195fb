"""The command line before Hydra reads it: help, hints, and folders without a key."""
