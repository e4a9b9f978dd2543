"""Decomposed convolutions as torch modules; forms as in `escc.training.forms.convolutions`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dialects import esc
from dialects.esc_decomposed import BasisConv2dOp, CoeffCombineOp
from escc.training.forms.convolutions import to_numpy
from escc.training.straight_through import ConvFrame, DecomposedConv
from passes.decomposition.ternary_basis import TernaryBasis


def decomposed(op: BasisConv2dOp, frame: ConvFrame) -> DecomposedConv:
    """Both stages of a decomposed convolution.

    Training leaves the rounding of intermediate values out: with a shift of 0, the usual case, there is none.
    """
    combine = op.input.owner
    assert isinstance(combine, CoeffCombineOp)
    return DecomposedConv(
        combine.coefficients.array.astype(np.float64),
        op.basis.array.astype(np.float64),
        replace(frame, factor=frame.factor * 2.0**-combine.ic_shift.value.data),
        combine.level,
    )


def trained_integers(module: DecomposedConv) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Coefficients int8 [K, V, C] and bases int8 [V, R, S] in use; bases that no coefficient uses are left out."""
    t = to_numpy(module.coefficients()).astype(np.int8).transpose(0, 2, 1)
    b = to_numpy(module.integer_basis()).astype(np.int8)
    used: NDArray[np.bool_] = np.abs(t).max(axis=(0, 2)) > 0
    used[0] |= not used.any()
    return np.ascontiguousarray(t[:, used]), np.ascontiguousarray(b[used])


def trained(op: BasisConv2dOp, module: DecomposedConv, requantize: esc.RequantizeOp) -> TernaryBasis:
    """The coefficients and bases that training has reached."""
    t, b = trained_integers(module)
    return TernaryBasis(t, b, to_numpy(module.factor()) * t.any(axis=(1, 2)))
