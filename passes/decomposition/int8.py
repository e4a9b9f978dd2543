"""The plainest weight form: int8 weights with a scale for each output channel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from xdsl.ir import SSAValue

from dialects import esc
from isa.weights import packed_size
from passes.decomposition.direct import DirectForm
from passes.decomposition.weight_form import ConvWindow, F


@dataclass(frozen=True)
class Int8(DirectForm):
    """weights[k,r,s,c] = scale[k] * integers[k,r,s,c]; `integers` int8 [K, R, S, C], `scale` float64 [K]."""

    integers: NDArray[np.int8]
    scale: F
    relative_error: float = 0.0
    groups: int = 1

    name = "int8"
    layer_kind = "dense"

    @property
    def integer_weights(self) -> NDArray[np.int64]:
        return self.integers.astype(np.int64)

    def faults(self, shape: tuple[int, int, int, int]) -> list[str]:
        w, scale = np.asarray(self.integers), np.asarray(self.scale)
        wrong: list[str] = []
        if w.dtype != np.int8 or w.shape != shape:
            wrong.append(f"integers must be int8{list(shape)}, found {w.dtype}{list(w.shape)}")
        if scale.dtype != np.float64 or scale.shape != shape[:1]:
            wrong.append(f"scale must be float64[{shape[0]}], found {scale.dtype}{list(scale.shape)}")
        elif not (np.isfinite(scale).all() and float(scale.min()) > 0):
            wrong.append("scale must be finite and positive")
        return wrong

    def operations(self, x: SSAValue, ic_shift: int, geometry: ConvWindow) -> list[esc.EscOp]:
        return [esc.Conv2dOp(x, self.integers, geometry.strides, geometry.pads, self.groups)]

    def packed_bytes(self) -> int:
        return min(self.integers.size, packed_size(self.integers))
