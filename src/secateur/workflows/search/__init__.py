"""search.py and sensitivity: rates per group, and what each part can lose."""
