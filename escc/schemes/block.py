"""The scheme `block`: whole blocks of weights stay or go."""

from __future__ import annotations

import re
from functools import partial

from escc.compress.about import About
from escc.compress.sparse import PatternScheme
from isa.errors import UserError
from isa.gather import Banking
from passes.decomposition.scheme import SchemeOptions
from passes.math.patterns import Pattern, blocks

_SHAPE = re.compile(r"([1-9][0-9]{0,3})x([1-9][0-9]{0,3})")
DEFAULT = "4x1"


def _shape(options: SchemeOptions) -> tuple[int, int]:
    """Output channels and input channels of a block. Raises UserError if the option is not a shape."""
    text = options.own.get("block", DEFAULT)
    found = _SHAPE.fullmatch(text)
    if found is None:
        raise UserError(f"block={text}: requires output channels x input channels", f"--scheme-option block={DEFAULT}")
    return int(found[1]), int(found[2])


def _pattern(options: SchemeOptions, _: Banking) -> Pattern:
    rows, columns = _shape(options)
    return partial(blocks, rows=rows, columns=columns)


ABOUT = About(
    form="whole blocks of int8 weights, the others 0",
    page="sparse.md",
    read_by=("conv.gather",),
    settings={"": "--scheme-option sparsity=0.7"},
)

SCHEME = PatternScheme(
    _pattern,
    {"block": f"output channels x input channels of a block (default: {DEFAULT})"},
)
