"""Convolutions of sums of a few vectors as torch modules; forms as in `escc.training.forms.convolutions`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dialects import esc
from dialects.esc_smartexchange import SmartExchangeConv2dOp
from escc.training.forms.convolutions import storable_scale, to_numpy
from escc.training.straight_through import ConvFrame, DecomposedConv, coefficients_towards, limited
from isa.smartexchange import MOST_SHIFT
from passes.decomposition.smartexchange import SmartExchange

Array = NDArray[Any]

_LIMIT = 127


class SmartExchangeConv(DecomposedConv):
    """Convolution whose patches of weights are sums of vectors, each times 0 or a power of two.

    A vector at a place of the window counts as a base, the patches side by side in the order of the input channels
    count as those: latent float [K, C/depth, J * R * S/span]. So a budget of bytes chooses coefficients as it does for
    other decomposed layers. `basis` float [G * J, span, depth], in units of 127, holds the vectors.
    """

    def __init__(self, coefficients: Array, vectors: Array, frame: ConvFrame, level: int):
        """`coefficients` int8 [K, J, R, S/span, C/depth]; `vectors` int8 [G, J, span, depth]."""
        k, *_, run = coefficients.shape
        flat = vectors.reshape(-1, *vectors.shape[2:])
        super().__init__(coefficients.reshape(k, -1, run), flat, frame, level)
        self.form = coefficients.shape
        self.sets = len(vectors)

    @property
    def taps(self) -> int:
        # The layer has its vectors whether or not a place of the window uses them.
        return 0

    def _by_patch(self, coefficients: Tensor) -> Tensor:
        """Coefficients [K, C/depth, J * R * S/span] as [K, C/depth, J, R, S/span]."""
        k, terms, r, columns, run = self.form
        return coefficients.reshape(k, run, terms, r, columns)

    def vectors(self) -> Tensor:
        """The vectors [G, J, span, depth], integers of int8 in value."""
        return self.integer_basis().reshape(self.sets, -1, *self.basis.shape[1:])

    def integer_weight(self) -> Tensor:
        """Weights in units of the sums before the shift, multiples of what the shift leaves."""
        _, _, r, columns, run = self.form
        with torch.autocast(self.latent.device.type, enabled=False):
            vectors, t = self.vectors(), self._by_patch(self.coefficients())
            sums = torch.einsum("kcjrs,gjxd->kcdrsx" if self.sets == 1 else "kcjrs,kjxd->kcdrsx", t, vectors)
        sums = sums.reshape(len(t), run * sums.shape[2], r, columns * sums.shape[5])
        step = 1 << self._shift(sums.detach())
        # Halves are rounded up, as the machine does.
        return step * limited(_round_up(sums / step), -_LIMIT, _LIMIT)

    @staticmethod
    def _shift(sums: Tensor) -> int:
        """The least shift with which no weight is limited."""
        ends = float(sums.min()), float(sums.max())
        fits = (n for n in range(MOST_SHIFT + 1) if all(abs(np.floor(e / (1 << n) + 0.5)) <= _LIMIT for e in ends))
        return next(fits, MOST_SHIFT)

    @torch.no_grad()
    def approach(self, weight: Array) -> None:
        """See `Projected.approach`; coefficients of vectors that output channels have for themselves stay."""
        if self.sets > 1:
            return
        k, _, r, columns, run = self.form
        span, depth = self.basis.shape[1:]
        missing = (self.in_steps(weight) - self.integer_weight()).reshape(k, run, depth, r, columns, span)
        change = coefficients_towards(
            missing.permute(0, 1, 3, 4, 5, 2).flatten(4), self.integer_basis().flatten(1)
        )  # [K, C/depth, R, S/span, J]
        self.latent.add_(change.permute(0, 1, 4, 2, 3).reshape(self.latent.shape))


def _round_up(x: Tensor) -> Tensor:
    """Nearest integer, halves rounded up, with the gradient of the identity."""
    return x + (torch.floor(x.detach() + 0.5) - x.detach())


def smartexchange(op: SmartExchangeConv2dOp, frame: ConvFrame) -> SmartExchangeConv:
    """A convolution of sums of vectors."""
    t, vectors = (x.array.astype(np.float64) for x in (op.coefficients, op.vectors))
    unshifted = replace(frame, factor=frame.factor / (1 << op.right_shift))
    return SmartExchangeConv(t, vectors, unshifted, op.coefficient_level or 1)


def trained(op: SmartExchangeConv2dOp, module: SmartExchangeConv, requantize: esc.RequantizeOp) -> SmartExchange:
    """The coefficients and vectors that training has reached."""
    k, terms, r, columns, run = module.form
    t = to_numpy(module.coefficients()).astype(np.int8).transpose(0, 2, 1).reshape(k, terms, r, columns, run)
    vectors = to_numpy(module.vectors()).astype(np.int8)
    form = SmartExchange.of(np.ascontiguousarray(t), vectors, to_numpy(module.factor()), 0.0)
    return replace(form, scale=storable_scale(op.input, form.scale, requantize))
