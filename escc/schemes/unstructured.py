"""The scheme `unstructured`: the weights that matter most stay, wherever they are."""

from __future__ import annotations

from escc.compress.about import About
from escc.compress.sparse import PatternScheme
from passes.math.patterns import unstructured

ABOUT = About(
    form="int8 weights that may stay anywhere, the others 0",
    page="sparse.md",
    read_by=("conv.gather",),
    settings={"": "--scheme-option sparsity=0.7"},
)

SCHEME = PatternScheme(lambda options, banking: unstructured)
