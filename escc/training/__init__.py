"""Decomposition-aware training: from a module of level `esc` to a torch network and back. Needs torch."""
