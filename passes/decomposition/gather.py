"""The weight form of sparse weights in int8, gathered from banks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from xdsl.ir import SSAValue

from dialects import esc
from dialects.esc_gather import GatherConv2dOp
from isa.gather import Banking, Gathering, order_of, pack_gather
from passes.decomposition.direct import DirectForm
from passes.decomposition.weight_form import ConvWindow, F

I8 = NDArray[np.int8]


@dataclass(frozen=True)
class Gathered(DirectForm):
    """weights[k,r,s,c] = scale[k] * integers[k,r,s,c], most of which are 0.

    `integers` int8 [K, R, S, C] from -127 to 127, `scale` float64 [K], positive; `banking` as in `esc.gather_conv2d`.
    """

    integers: I8
    scale: F
    banking: Banking
    relative_error: float = 0.0

    name = "sparse"
    layer_kind = "gather"

    @property
    def integer_weights(self) -> NDArray[np.int64]:
        return self.integers.astype(np.int64)

    @property
    def density(self) -> float:
        """Share of the weights that are not zero."""
        return np.count_nonzero(self.integers) / max(1, self.integers.size)

    def faults(self, shape: tuple[int, int, int, int]) -> list[str]:
        w = np.asarray(self.integers)
        wrong: list[str] = []
        if w.dtype != np.int8 or w.shape != shape:
            wrong.append(f"integers must be int8{list(shape)}, found {w.dtype}{list(w.shape)}")
        elif w.size and int(w.min()) < -127:
            wrong.append("integers must be from -127 to 127")
        wrong += self.scale_faults(shape[0])
        if min(self.banking.banks, self.banking.bundle) < 1:
            wrong.append(f"banks and bundle must be at least 1, found {self.banking}")
        return wrong

    def operations(self, x: SSAValue, ic_shift: int, geometry: ConvWindow) -> list[esc.EscOp]:
        return [GatherConv2dOp(x, self.integers, geometry.strides, geometry.pads, self.banking)]

    def packed_bytes(self) -> int:
        k, r, s, c = self.integers.shape
        weights, how = self.integers.reshape(k, r * s, c), Gathering.of(self.banking.banks, self.banking.bundle, c)
        return len(pack_gather(weights, how, order_of(weights, how, bool(self.banking.spread))))
