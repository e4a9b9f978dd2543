"""The weight form of circulant blocks: a value for every diagonal of a block, spread on the way in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from xdsl.ir import SSAValue

from dialects import esc
from dialects.esc_circulant import CirculantConv2dOp
from isa.circulant import BLOCKS, FAST_BLOCKS, expand
from isa.integers import ceil_div
from isa.layout import WEIGHT_TABLE_BYTES
from isa.weights import pack_weights, weight_table
from passes.decomposition.direct import DirectForm
from passes.decomposition.weight_form import ConvWindow, F

I8 = NDArray[np.int8]


@dataclass(frozen=True)
class Circulant(DirectForm):
    """weights[k] = scale[k] times the circulant blocks of `values` int8 [K/b, R, S, C/b, b], from -127 to 127.

    K/b and C/b are rounded up; `inputs` are the C input channels. What a value stands for is defined in
    `isa.circulant`. `scale` float64 [K], positive.
    """

    values: I8
    inputs: int
    scale: F
    relative_error: float = 0.0

    name = "circulant"
    layer_kind = "circulant"

    @property
    def fast(self) -> bool:
        """Whether the machine takes the fast products of the blocks."""
        return False

    @property
    def integer_weights(self) -> NDArray[np.int64]:
        return expand(self.values.astype(np.int64), 0, len(self.scale), self.inputs).astype(np.int64)

    def faults(self, shape: tuple[int, int, int, int]) -> list[str]:
        v = np.asarray(self.values)
        k, r, s, c = shape
        if v.dtype != np.int8 or v.ndim != 5 or v.shape[4] not in BLOCKS:
            return [
                f"values must be int8[K/b, R, S, C/b, b], b from {BLOCKS[0]} to {BLOCKS[-1]}, "
                f"found {v.dtype}{list(v.shape)}"
            ]
        b = v.shape[4]
        wrong: list[str] = []
        if v.shape != (ceil_div(k, b), r, s, ceil_div(c, b), b) or self.inputs != c:
            wrong.append(f"values must be int8[{k}/{b}, {r}, {s}, {c}/{b}, {b}], found {list(v.shape)}")
        if v.size and int(v.min()) < -127:
            wrong.append("values must be from -127 to 127")
        return wrong + self.scale_faults(k)

    def operations(self, x: SSAValue, ic_shift: int, geometry: ConvWindow) -> list[esc.EscOp]:
        return [CirculantConv2dOp(x, self.values, len(self.scale), geometry.strides, geometry.pads, self.fast)]

    def packed_bytes(self) -> int:
        return WEIGHT_TABLE_BYTES + len(pack_weights(self.values, weight_table(self.values)))


@dataclass(frozen=True)
class FastCirculant(Circulant):
    """The same weights in blocks that have fast products, which the machine takes."""

    layer_kind = "fastcirculant"

    @property
    def fast(self) -> bool:
        return True

    def faults(self, shape: tuple[int, int, int, int]) -> list[str]:
        if wrong := super().faults(shape):
            return wrong
        if (b := self.values.shape[4]) not in FAST_BLOCKS:
            return [f"blocks must have {', '.join(map(str, FAST_BLOCKS))} channels for fast products, found {b}"]
        return []
