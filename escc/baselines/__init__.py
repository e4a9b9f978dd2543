"""Cycle and energy models of the accelerators of the literature, on the tensors that our own emulator runs on."""
