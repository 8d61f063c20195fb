"""train.py: from a configuration to a slim network."""
