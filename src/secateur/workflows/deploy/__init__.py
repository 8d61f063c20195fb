"""Commands that put a network to use: detect, embed, export, benchmark."""
