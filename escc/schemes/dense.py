"""The scheme `dense`: int8 weights throughout."""

from __future__ import annotations

from typing import ClassVar

from escc.compress.about import About
from passes.decomposition.scheme import ConvLayer, SchemeOptions
from passes.decomposition.weight_form import WeightForm


class _Dense:
    """Keeps every layer dense."""

    reads: ClassVar[tuple[str, ...]] = ()

    def __call__(self, layer: ConvLayer, options: SchemeOptions) -> WeightForm | None:
        return None


ABOUT = About(
    form="int8, Huffman-coded",
    page="../compression.md#bytes-on-the-machine",
    read_by=("load.weights",),
    among_all=False,
)

dense = _Dense()
SCHEME = dense
