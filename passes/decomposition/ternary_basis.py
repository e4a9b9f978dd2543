"""The weight form of kernel decomposition: coefficients 0, +-1, +-2, +-4 times a few bases that the layer shares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray
from xdsl.ir import SSAValue

from dialects import esc
from dialects.esc_decomposed import BasisConv2dOp, CoeffCombineOp
from isa import reference
from isa.coefficients import stream_bits, stream_bytes
from isa.instructions.conv_esc import working_slices
from isa.integers import ceil_div
from isa.levels import COEFFICIENT_VALUES, wrong_coefficients
from passes.decomposition.scheme import ConvLayer
from passes.decomposition.weight_form import ConvWindow, F, FormIntegers, WeightForm
from passes.math.ternary import INT32_MAX, accumulator_range, intermediate_shift

I8 = NDArray[np.int8]

FAINT = 2.0**-8
"""Output steps: a channel whose coefficients move its output by less, whatever the input, is constant."""
BIAS_STEP = 2.0**-12
"""Output steps to which a channel without coefficients holds its bias."""
LEAST_FACTOR = 2.0**-40
"""Output steps for each step of the accumulator; no channel that has coefficients has fewer, being faint."""


@dataclass(frozen=True)
class TernaryBasis(WeightForm):
    """weights[k,r,s,c] = scale[k] * sum_v coefficients[k,v,c] * basis[v,r,s].

    `coefficients` int8 [K, V, C], 0 or of magnitude 1, 2 or 4; `basis` int8 [V, R, S]; `scale` float64 [K], not
    negative.
    """

    coefficients: I8
    basis: I8
    scale: F
    relative_error: float = 0.0

    name = "ternary-basis"
    layer_kind = "escalate"

    @property
    def integer_weights(self) -> NDArray[np.int64]:
        return reference.expanded(self.coefficients, self.basis)

    def faults(self, shape: tuple[int, int, int, int]) -> list[str]:
        k, r, s, c = shape
        t, b, scale = (np.asarray(a) for a in (self.coefficients, self.basis, self.scale))
        v = t.shape[1] if t.ndim == 3 else 0
        wrong = [
            f"{name} must be {want}, found {a.dtype}{list(a.shape)}"
            for name, a, want, good in (
                ("coefficients", t, f"int8[{k}, V, {c}]", t.dtype == np.int8 and t.shape == (k, v, c) and v > 0),
                ("basis", b, f"int8[V, {r}, {s}]", b.dtype == np.int8 and b.shape == (v, r, s)),
                ("scale", scale, f"float64[{k}]", scale.dtype == np.float64 and scale.shape == (k,)),
            )
            if not good
        ]
        if not wrong and (strange := wrong_coefficients(t)):
            wrong.append(f"coefficients must be {COEFFICIENT_VALUES}, found {strange[0]}")
        if not wrong and not (np.isfinite(scale).all() and float(scale.min()) >= 0):
            wrong.append("scale must be finite and not negative")
        return wrong

    def to_integers(self, bias: Callable[[Self], F], low: int, high: int, ic_bits: int) -> FormIntegers:
        """See `WeightForm.to_integers`.

        A channel that cannot move its output by 1/256 of a step loses its coefficients, and is exactly constant. So
        does a channel whose bias would not fit int32 in steps of its accumulator, because its coefficients move the
        bias by a small share at most.
        """
        reach = np.abs(self.integer_weights).sum(axis=(1, 2, 3)) * (self.scale * max(-low, high))
        left = replace(self, coefficients=np.where(reach[:, None, None] < FAINT, np.int8(0), self.coefficients))
        t = left.coefficients
        shift = intermediate_shift(t, self.basis, low, high, ic_bits)
        bottom, top = accumulator_range(t, self.basis, low, high, shift)
        room = INT32_MAX - np.maximum(top, -bottom)
        wanted, factor = bias(left), self.scale * float(1 << shift)
        safe = np.maximum(factor, LEAST_FACTOR)
        holds = np.abs(wanted) <= factor * room
        t = np.where(holds[:, None, None], t, np.int8(0))
        holds &= (factor == safe) & (np.abs(np.rint(wanted / safe) * safe - wanted) <= BIAS_STEP)
        empty = ~t.any(axis=(1, 2))
        factor = np.where(empty & ~holds, BIAS_STEP, safe)
        room = np.where(empty, INT32_MAX, room)
        return FormIntegers(
            replace(self, coefficients=t),
            shift,
            factor,
            np.clip(np.rint(wanted / factor), -room, room).astype(np.int64),
        )

    def operations(self, x: SSAValue, ic_shift: int, geometry: ConvWindow) -> list[esc.EscOp]:
        first = CoeffCombineOp(x, self.coefficients, ic_shift, geometry.ic_bits)
        return [first, BasisConv2dOp(first.output, self.basis, geometry.strides, geometry.pads)]

    def packed_bytes(self) -> int:
        return stream_bytes(stream_bits(self.coefficients)) + self.basis.size


def most_bases(layer: ConvLayer, level: int) -> int:
    """Virtual bases that the machine holds if coefficients are of magnitude up to `level`, which is 1, 2 or 4.

    Half of COEF holds the coefficients of one output channel at two, three or four bits each, the registers of a
    block hold those of one basis, and half of PAR holds the bases.
    """
    _, r, s, c = layer.weights.shape
    pads = layer.target.scratchpad
    if working_slices(c, level, layer.target) == 0:
        return 0
    bits = 1 + level.bit_length()
    return min(pads.coef // 2 // ceil_div(c * bits, 8), pads.par // 2 // (r * s))
