"""Our schemes and the baseline machines side by side, on the same tensors."""
