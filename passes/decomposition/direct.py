"""Weight forms whose int8 weights multiply the input itself: what all of them share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import numpy as np

from passes.decomposition.weight_form import F, FormIntegers, WeightForm
from passes.math.activation_quant import bounded
from passes.math.weight_quant import BIAS_LIMIT, ConvIntegers, corrected_bias


class DirectForm(WeightForm):
    """Integer weights from -127 to 127, times a positive scale for each output channel. The accumulators are those of a
    dense convolution.
    """

    def to_integers(self, bias: Callable[[Self], F], low: int, high: int, ic_bits: int) -> FormIntegers:
        """See `WeightForm.to_integers`.

        A channel whose scale is so small that its bias would not fit int32 beside any accumulator gets a larger one:
        its weights move its output by a small share of its bias at most.
        """
        wanted = bias(self)
        factor = bounded(np.maximum(self.scale, np.abs(wanted) / BIAS_LIMIT))
        dense = self.integer_weights.astype(np.int8)
        plain = ConvIntegers(dense, np.zeros(len(factor), np.int32), factor)
        return FormIntegers(self, 0, factor, corrected_bias(plain, wanted, max(-low, high)).astype(np.int64))

    def scale_faults(self, k: int) -> list[str]:
        """What is wrong with the scales of `k` output channels."""
        scale = np.asarray(self.scale)
        if scale.dtype != np.float64 or scale.shape != (k,) or not (np.isfinite(scale) & (scale > 0)).all():
            return [f"scale must be float64[{k}], finite and positive"]
        return []
