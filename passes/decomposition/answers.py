"""Forms that layers were given before, so that who asks the same again does not wait for the same fit."""

from __future__ import annotations

import hashlib
from dataclasses import fields
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from passes.decomposition.scheme import ConvLayer, Scheme, SchemeOptions
from passes.decomposition.weight_form import WeightForm


class Answers:
    """What schemes answered for layers of one network and target.

    A layer is known by all that a scheme is told of it. Its sensitivity follows from the network and from the samples,
    which the moments tell apart. Threads may share it.
    """

    def __init__(self) -> None:
        self._forms: dict[bytes, WeightForm | None] = {}

    def ask(self, name: str, scheme: Scheme, layer: ConvLayer, options: SchemeOptions) -> WeightForm | None:
        """What the scheme of that name answers. Raises what it raises, which is not kept."""
        key = _key(name, layer, options)
        if key not in self._forms:
            self._forms[key] = scheme(layer, options)
        return self._forms[key]


def _key(name: str, layer: ConvLayer, options: SchemeOptions) -> bytes:
    moments = layer.moments
    told: list[Any] = [getattr(moments, field.name) for field in fields(moments)] if moments is not None else []
    digest = hashlib.blake2b(digest_size=32)
    known: list[Any] = [name, options, layer.name, layer.shape, layer.calibrated, type(moments), layer.weights, *told]
    for value in known:
        if isinstance(value, np.ndarray):
            digest.update(np.ascontiguousarray(cast(NDArray[Any], value)).data)
        else:
            digest.update(repr(value).encode())
    return digest.digest()
