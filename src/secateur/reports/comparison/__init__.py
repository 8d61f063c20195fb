"""Many runs beside each other: a table, a front of size against quality, and one HTML page."""
