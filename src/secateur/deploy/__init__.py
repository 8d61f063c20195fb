"""Export and measurement on the machine that will run the network."""
