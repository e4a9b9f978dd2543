"""The scheme `bank-balanced`: sparse weights of which each piece of an output channel has as many as any other.

Cao et al., "Efficient and effective sparse LSTM on FPGA with bank-balanced sparsity", FPGA 2019. Pieces are
neighbouring values of the window there, while values of a bank of the machine are apart: so its banks are not balanced.
"""

from __future__ import annotations

from functools import partial

from escc.compress.about import About
from escc.compress.option_values import number
from escc.compress.sparse import PatternScheme
from passes.math.patterns import bank_balanced

PIECES = 16

ABOUT = About(
    form="int8 weights, as many in each piece of an output channel; the others 0",
    page="sparse.md",
    read_by=("conv.gather",),
    settings={"": "--scheme-option sparsity=0.7"},
)

SCHEME = PatternScheme(
    lambda options, banking: partial(bank_balanced, banks=number(options, "pieces", PIECES, 1 << 16)),
    {"pieces": f"pieces of an output channel (default: {PIECES})"},
)
