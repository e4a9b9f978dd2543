"""The scheme `patdnn`: kernels of four taps in eight patterns, and whole kernels that go (PatDNN, ASPLOS 2020)."""

from __future__ import annotations

from escc.compress.sparse import PatternScheme
from passes.math.patterns import kernel_patterns

SCHEME = PatternScheme(lambda options, banking: kernel_patterns)
