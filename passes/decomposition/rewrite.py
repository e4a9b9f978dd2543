"""Exchanging the weights of a convolution for those of another form."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from xdsl.rewriter import InsertPoint, Rewriter

from dialects import esc
from dialects.blob import DenseAttr
from dialects.esc_base import AccumulatorOp
from dialects.locations import describe
from isa.errors import UserError
from isa.reference import fixed_point
from passes.decomposition.weight_form import ConvWindow, F, WeightForm
from passes.math.scales import storable


def replace_weights(
    stages: Sequence[esc.EscOp],
    requantize: esc.RequantizeOp,
    form: WeightForm,
    bias: Callable[[WeightForm], F],
    ic_bits: int,
    remedy: str,
) -> list[esc.EscOp]:
    """Replace the operations of a convolution, from the input to the accumulators that `requantize` reads.

    `form` is in output steps for each input step, and so is what `bias` gives of the weights that are left. Returns the
    new operations. Raises UserError, with the remedy as its note, if the accumulators would leave int32.
    """
    last = stages[-1]
    assert isinstance(last, AccumulatorOp)
    x, q = stages[0].operands[0], esc.q_of(stages[0].operands[0])
    try:
        integers = form.to_integers(bias, q.low, q.high, ic_bits)
    except ValueError as error:
        raise UserError(f"{describe(last)}: {error}", remedy) from error
    mult, shift = fixed_point(storable(integers.factor, q.scale, requantize.first_type.scale, integers.ic_shift))
    made = integers.operations(x, ConvWindow(*last.window, ic_bits))
    for op in made:
        op.location = last.location
        Rewriter.insert_op(op, InsertPoint.before(requantize))
    requantize.operands[0] = made[-1].results[0]
    for op in reversed(stages):
        op.detach()
        op.erase()
    requantize.bias = DenseAttr.of(integers.bias.astype(np.int32))
    requantize.mult, requantize.shift = DenseAttr.of(mult), DenseAttr.of(shift)
    return made
