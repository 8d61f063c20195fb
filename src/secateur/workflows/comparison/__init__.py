"""Runs beside each other: the command, and what ends every sweep."""
