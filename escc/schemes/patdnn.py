"""The scheme `patdnn`: kernels of four taps in eight patterns, and whole kernels that go (PatDNN, ASPLOS 2020)."""

from __future__ import annotations

from escc.compress.about import About
from escc.compress.sparse import PatternScheme
from passes.math.patterns import kernel_patterns

ABOUT = About(
    form="kernels of four int8 weights in one of eight patterns, the others 0",
    page="sparse.md",
    read_by=("conv.gather",),
    settings={"": "--scheme-option sparsity=0.7"},
)

SCHEME = PatternScheme(lambda options, banking: kernel_patterns)
