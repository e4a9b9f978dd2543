"""The scheme `dense`: int8 weights throughout."""

from __future__ import annotations

from passes.decomposition.scheme import ConvLayer, SchemeOptions
from passes.decomposition.weight_form import WeightForm


def dense(layer: ConvLayer, options: SchemeOptions) -> WeightForm | None:
    """Keeps every layer dense."""
    return None


SCHEME = dense
