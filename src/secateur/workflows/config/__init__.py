"""What a command is told: keys, overrides, saved and older configurations."""
