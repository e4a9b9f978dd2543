"""Interpreters of the dialects: every level runs on NumPy arrays."""
