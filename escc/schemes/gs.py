"""The scheme `gs`: sparse weights of which each bank has as many as any other (GS, arXiv 2112.10898).

The paper names the orientations by the output channels that a group of weights comes from: one (horizontal), one weight
of each of many (vertical), or between (hybrid). Here a bundle of so many output channels shares the groups; a tree of
adders sorts the products by output channel, so that these may have different numbers of weights.
"""

from __future__ import annotations

from functools import partial

from escc.compress.about import About
from escc.compress.option_values import choice
from escc.compress.sparse import BUNDLE, PatternScheme
from passes.decomposition.scheme import SchemeOptions
from passes.math.patterns import gather_scatter

_BUNDLES = {"vertical": BUNDLE, "hybrid": 4, "horizontal": 1}


def _bundle(options: SchemeOptions) -> int:
    return _BUNDLES[choice(options, "orientation", tuple(_BUNDLES))]


ABOUT = About(
    form="int8 weights, as many in each bank of a bundle of output channels; the others 0",
    page="sparse.md",
    read_by=("conv.gather",),
    settings={"": "--scheme-option sparsity=0.7", "budget": "--max-drop 1"},
)

SCHEME = PatternScheme(
    lambda options, banking: partial(gather_scatter, banks=banking.banks, bundle=banking.bundle),
    {
        "orientation": "output channels that a group takes weights of: "
        + ", ".join(f"{name} ({count})" for name, count in _BUNDLES.items())
        + ", unless `bundle` says so (default: vertical)"
    },
    _bundle,
    fill=True,
)
