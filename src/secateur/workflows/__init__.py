"""From a configuration to objects to a run folder; the only part that knows Hydra."""
