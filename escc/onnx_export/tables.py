"""Which elementwise function of ONNX a lookup table is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dialects.esc_base import QType
from dialects.onnx_elementwise import ScalarOp
from dialects.scalar_functions import SCALAR_FUNCTIONS, ScalarFunction, TableSamples
from escc.onnx_import.operators import operators
from passes.math.activation_quant import Storage, identity, lookup_table

Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True)
class RecognisedFunction:
    """An ONNX operator with the parameters of its function. No operator is a change of scale."""

    op_type: str
    parameters: dict[str, float] = field(default_factory=dict[str, float])


def recognise(table: Array, source: QType, target: QType) -> RecognisedFunction | None:
    """The function whose table this is, in all of its 256 entries; None if it is none of those that ONNX has."""
    read, made = Storage.full(source.signed, source.scale), Storage.full(target.signed, target.scale)
    if np.array_equal(lookup_table(identity, read, made), table):
        return RecognisedFunction("")
    samples = _samples(table, read, made)
    for function in _functions():
        for parameters in function.fit(samples):
            if np.array_equal(lookup_table(partial(function.compute, **parameters), read, made), table):
                return RecognisedFunction(function.name, dict(parameters))
    return None


def _functions() -> Iterator[ScalarFunction]:
    """Ours, simple ones first, then those of other packages."""
    yield from SCALAR_FUNCTIONS
    for operator in operators().values():
        if operator.operation is not None and issubclass(operator.operation, ScalarOp):
            function = operator.operation.FUNCTION
            if function not in SCALAR_FUNCTIONS:
                yield function


def _samples(table: Array, source: Storage, target: Storage) -> TableSamples:
    stored = np.arange(256, dtype=np.uint8).view(np.int8 if source.signed else np.uint8).astype(np.float64)
    low, high = (-128, 127) if target.signed else (0, 255)
    return TableSamples(
        x=stored * source.scale,
        y=table.astype(np.float64) * target.scale,
        half=target.scale / 2,
        inside=(table > low) & (table < high),
        least=int(table.min()) * target.scale,
        most=int(table.max()) * target.scale,
    )
