"""The scheme `dense`: int8 weights throughout."""

from __future__ import annotations

from escc.compress.about import About
from passes.decomposition.scheme import ConvLayer, SchemeOptions
from passes.decomposition.weight_form import WeightForm


def dense(layer: ConvLayer, options: SchemeOptions) -> WeightForm | None:
    """Keeps every layer dense."""
    return None


ABOUT = About(
    form="int8, Huffman-coded",
    page="../compression.md#bytes-on-the-machine",
    read_by=("load.weights",),
    among_all=False,
)

SCHEME = dense
