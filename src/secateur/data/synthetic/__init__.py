"""Faces drawn procedurally, for the first five minutes and for tests."""
