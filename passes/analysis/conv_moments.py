"""Second moments of what a convolution sees on calibration inputs, and of what it should give."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from xdsl.ir import Operation

from dialects import esc
from passes.analysis.before_after_values import BeforeAfterValues
from passes.math.moments import (
    MOST_CHANNEL_POSITIONS,
    ChannelAccumulator,
    ChannelMoments,
    MomentAccumulator,
    Moments,
    position_budget,
    window_rows,
)

Array: TypeAlias = NDArray[Any]

_ROWS = 1 << 14
"""Windows gathered at a time."""


def requantised(op: Operation) -> tuple[esc.Conv2dOp, esc.RequantizeOp] | None:
    """The convolution that `op` requantises, and `op`; None if `op` is no requantisation, or its convolution has no
    int8 weights.
    """
    if isinstance(op, esc.RequantizeOp) and isinstance(conv := op.input.owner, esc.Conv2dOp):
        return conv, op
    return None


def ungrouped(op: Operation) -> tuple[esc.Conv2dOp, esc.RequantizeOp] | None:
    """A convolution without groups and its requantisation `op`, if nothing else reads the convolution; else None."""
    pair = requantised(op)
    alone = pair is not None and pair[0].groups.value.data == 1 and len(list(pair[0].output.uses)) == 1
    return pair if alone else None


def output_steps(requant: esc.RequantizeOp) -> NDArray[np.float64]:
    """Output steps for each step of the accumulator: mult * 2^-shift, float64 [K]."""
    return np.ldexp(requant.mult.array.astype(np.float64), -requant.shift.array.astype(np.int64))


def step_weights(conv: esc.Conv2dOp, requant: esc.RequantizeOp) -> NDArray[np.float64]:
    """Weights in output steps for each input step, float64 [K, R, S, C]."""
    return conv.weight.array.astype(np.float64) * output_steps(requant)[:, None, None, None]


def observe(values: BeforeAfterValues, conv: esc.Conv2dOp, requant: esc.RequantizeOp, seed: tuple[int, int]) -> Moments:
    """Moments of the windows that a convolution sees in the network rewritten so far, and of the outputs that make up
    for what the rewriting has changed. `seed` chooses the positions where not all are needed.
    """
    d, k = conv.weight.array[0].size, len(conv.weight.array)
    sums = MomentAccumulator(d, k)
    _add_up(sums, values, conv, requant, _picks(values, conv, seed, position_budget(d)))
    return sums.result()


def observe_channels(
    values: BeforeAfterValues, conv: esc.Conv2dOp, requant: esc.RequantizeOp, seed: tuple[int, int]
) -> ChannelMoments:
    """The same of each input channel by itself."""
    k, r, s, c = conv.weight.array.shape
    sums = ChannelAccumulator(r * s, c, k)
    _add_up(sums, values, conv, requant, _picks(values, conv, seed, MOST_CHANNEL_POSITIONS))
    return sums.result()


def _add_up(
    sums: MomentAccumulator | ChannelAccumulator,
    values: BeforeAfterValues,
    conv: esc.Conv2dOp,
    requant: esc.RequantizeOp,
    picks: NDArray[np.int64],
) -> None:
    """Add the windows and the wanted outputs at the output positions up."""
    _, oh, ow, _ = esc.shape_of(conv.output)
    _, r, s, _ = conv.weight.array.shape
    wanted = _wanted(values, conv, requant, picks)
    x = values.current(conv.input)
    strides, pads = esc.ints(conv.strides), esc.ints(conv.pads)
    for n in range(0, len(picks), _ROWS):
        rows = window_rows(x, (r, s), strides, pads, (oh, ow), picks[n : n + _ROWS])
        sums.add(rows, wanted[n : n + _ROWS])


def _picks(values: BeforeAfterValues, conv: esc.Conv2dOp, seed: tuple[int, int], budget: int) -> NDArray[np.int64]:
    """Output positions of all images that enter the moments, ascending, as many as the budget."""
    _, oh, ow, _ = esc.shape_of(conv.output)
    total = values.count * oh * ow
    if total <= budget:
        return np.arange(total)
    rng = np.random.default_rng(list(seed))
    return np.sort(rng.choice(total, budget, replace=False))


def _wanted(
    values: BeforeAfterValues, conv: esc.Conv2dOp, requant: esc.RequantizeOp, picks: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Outputs, in output steps before rounding, that make up for what the rewritten network does so far: [P, K].

    The accumulators of the original network, plus what its residual operand has and the rewritten one's lacks.
    """
    _, oh, ow, k = esc.shape_of(conv.output)
    per_image = oh * ow
    out = np.empty((len(picks), k))
    ratio = 0.0
    residual = requant.residual
    addition = requant.addition
    if residual is not None and addition is not None and requant.table is None and addition.mult_a > 0:
        ratio = addition.mult_b / addition.mult_a
    for part, found in values.accumulators(requant):
        lo, hi = np.searchsorted(picks, [part.start * per_image, part.stop * per_image])
        if lo == hi:
            continue
        local = picks[lo:hi] - part.start * per_image
        y = (found.reshape(-1, k)[local] + requant.bias.array.astype(np.float64)) * output_steps(requant)
        if residual is not None and ratio and values.differs(residual):
            before = values.reference(residual)[part].reshape(-1, k)[local].astype(np.float64)
            y += (before - values.current(residual)[part].reshape(-1, k)[local]) * ratio
        out[lo:hi] = y
    return out
