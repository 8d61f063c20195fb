"""evaluate.py: from a network or its predictions to figures."""
