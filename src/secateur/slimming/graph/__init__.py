"""The operator graph of a network, what its operators do, and what in it is constant."""
