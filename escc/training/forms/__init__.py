"""Operations of level `esc` on torch tensors NCHW, with straight-through gradients; each operation names its form."""
