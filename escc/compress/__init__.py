"""Kernel decomposition of convolutions: a library over NumPy arrays that knows no IR."""
