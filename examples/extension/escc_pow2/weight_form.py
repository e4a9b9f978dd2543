"""The weight form `pow2`: a scale for each output channel, times 0 or a power of two with a sign."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from xdsl.ir import SSAValue

from dialects import esc
from escc_pow2.codes import are_powers, packed_bytes
from escc_pow2.dialect import Pow2ConvOp
from passes.decomposition.direct import DirectForm
from passes.decomposition.weight_form import ConvWindow, F


@dataclass(frozen=True)
class PowerOfTwo(DirectForm):
    """weights[k,r,s,c] = scale[k] * integers[k,r,s,c]; `integers` int8 [K, R, S, C], 0 or powers of two up to 64."""

    integers: NDArray[np.int8]
    scale: F
    relative_error: float

    name = "pow2"
    layer_kind = "pow2"

    @property
    def integer_weights(self) -> NDArray[np.int64]:
        return self.integers.astype(np.int64)

    def faults(self, shape: tuple[int, int, int, int]) -> list[str]:
        w = self.integers
        wrong: list[str] = []
        if w.dtype != np.int8 or w.shape != shape:
            wrong.append(f"integers must be int8{list(shape)}, found {w.dtype}{list(w.shape)}")
        elif not are_powers(w):
            wrong.append("integers must be 0 or powers of two up to 64")
        return wrong + self.scale_faults(shape[0])

    def operations(self, x: SSAValue, ic_shift: int, geometry: ConvWindow) -> list[esc.EscOp]:
        return [Pow2ConvOp(x, self.integers, geometry.strides, geometry.pads)]

    def packed_bytes(self) -> int:
        return packed_bytes(self.integers.size)
