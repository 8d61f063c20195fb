"""Random changes of training pictures, beside those of the published recipes."""
