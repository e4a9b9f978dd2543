"""The weight form of SmartExchange: sums of a few vectors, each times 0 or a power of two, rebuilt on the way in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from xdsl.ir import SSAValue

from dialects import esc
from dialects.esc_smartexchange import SmartExchangeConv2dOp
from isa.coefficients import stream_bits, stream_bytes
from isa.levels import COEFFICIENT_VALUES, wrong_coefficients
from isa.smartexchange import MOST_TERMS, least_shift, weights
from passes.decomposition.direct import DirectForm
from passes.decomposition.weight_form import ConvWindow, F

I8 = NDArray[np.int8]


@dataclass(frozen=True)
class SmartExchange(DirectForm):
    """weights[k] = scale[k] times the sums of vectors that the coefficients of output channel k stand for.

    `coefficients` int8 [K, J, R, S/span, C/depth], 0 or of magnitude 1, 2 or 4; `vectors` int8 [G, J, span, depth], G
    being 1 or K; what they and `shift` stand for is defined in `isa.smartexchange`. `scale` float64 [K], positive.
    """

    coefficients: I8
    vectors: I8
    shift: int
    scale: F
    relative_error: float = 0.0

    name = "smartexchange"
    layer_kind = "smartexchange"

    @classmethod
    def of(cls, coefficients: I8, vectors: I8, scale: F, relative_error: float) -> SmartExchange:
        """The form of the least shift; `scale` is that of the sums before it, 0 for output channels without weights."""
        shift = least_shift(coefficients, vectors)
        factor = np.where(scale > 0, scale, 1.0) * float(1 << shift)
        alive = np.where((scale > 0)[:, None, None, None, None], coefficients, np.int8(0))
        return cls(alive, vectors, shift, factor, relative_error)

    @property
    def integer_weights(self) -> NDArray[np.int64]:
        return weights(self.coefficients, self.vectors, self.shift).astype(np.int64)

    def faults(self, shape: tuple[int, int, int, int]) -> list[str]:
        t, vectors = np.asarray(self.coefficients), np.asarray(self.vectors)
        k, r, s, c = shape
        if vectors.dtype != np.int8 or vectors.ndim != 4 or vectors.size == 0 or vectors.shape[1] > MOST_TERMS:
            return [
                f"vectors must be int8[G, J, span, depth], J at most {MOST_TERMS}, "
                f"found {vectors.dtype}{list(vectors.shape)}"
            ]
        sets, terms, span, depth = vectors.shape
        wrong: list[str] = []
        want = (k, terms, r, s // span, c // depth)
        if t.dtype != np.int8 or t.shape != want or s % span or c % depth or sets not in (1, k):
            wrong.append(
                f"coefficients must be int8[{k}, {terms}, {r}, {s}/{span}, {c}/{depth}] and vectors of 1 or {k} output "
                f"channels, found {t.dtype}{list(t.shape)} and {sets}"
            )
        elif strange := wrong_coefficients(t):
            wrong.append(f"coefficients must be {COEFFICIENT_VALUES}, found {strange[0]}")
        elif self.shift != (least := least_shift(t, vectors)):
            wrong.append(f"shift must be {least}, found {self.shift}")
        return wrong + self.scale_faults(k)

    def operations(self, x: SSAValue, ic_shift: int, geometry: ConvWindow) -> list[esc.EscOp]:
        return [SmartExchangeConv2dOp(x, self.coefficients, self.vectors, self.shift, geometry.strides, geometry.pads)]

    def packed_bytes(self) -> int:
        t = self.coefficients
        return stream_bytes(stream_bits(t.reshape(len(t), -1, t.shape[-1]))) + self.vectors.size
