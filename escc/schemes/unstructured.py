"""The scheme `unstructured`: the weights that matter most stay, wherever they are."""

from __future__ import annotations

from escc.compress.sparse import PatternScheme
from passes.math.patterns import unstructured

SCHEME = PatternScheme(lambda options, banking: unstructured)
