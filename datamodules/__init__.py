"""Lightning datamodules: which data a run sees."""
