"""Exchanging the weights of a convolution for those of another form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
from xdsl.rewriter import InsertPoint, Rewriter

from dialects import esc
from dialects.blob import DenseAttr
from dialects.esc_base import AccumulatorOp
from dialects.locations import describe
from isa.errors import UserError
from isa.found import AnswerError
from isa.reference import fixed_point
from passes.decomposition.weight_form import ConvWindow, F, FormIntegers, WeightForm
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
    new operations. Raises UserError, with the remedy as its note, if the accumulators would leave int32, and
    `AnswerError` if the form answers what is not as `WeightForm` says.
    """
    last = stages[-1]
    assert isinstance(last, AccumulatorOp)
    x, q = stages[0].operands[0], esc.q_of(stages[0].operands[0])
    try:
        integers = form.to_integers(bias, q.low, q.high, ic_bits)
    except ValueError as error:
        raise UserError(f"{describe(last)}: {error}", remedy) from error
    if wrong := _integer_faults(integers, len(form.scale)):
        raise AnswerError(form, f"{describe(last)}: to_integers of the form '{form.name}' answers {wrong}")
    mult, shift = fixed_point(storable(integers.factor, q.scale, requantize.first_type.scale, integers.ic_shift))
    made = integers.operations(x, ConvWindow(*last.window, ic_bits))
    if wrong := _operation_faults(made, last):
        raise AnswerError(form, f"{describe(last)}: operations of the form '{form.name}' answers {wrong}")
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


def _integer_faults(answer: object, k: int) -> str:
    """How the integers of `k` output channels are none, "" if they are as `FormIntegers` says."""
    if not isinstance(answer, FormIntegers):
        return f"a {type(answer).__name__}; requires FormIntegers"
    shift, form = cast("tuple[object, object]", (answer.ic_shift, answer.form))
    if not isinstance(shift, int) or shift < 0:
        return f"ic_shift {shift!r}; requires an integer not below 0"
    if not isinstance(form, WeightForm):
        return f"a form that is a {type(form).__name__}; requires a WeightForm"
    factor, bias = np.asarray(answer.factor), np.asarray(answer.bias)
    if factor.shape != (k,) or factor.dtype != np.float64 or not (np.isfinite(factor) & (factor > 0)).all():
        return f"a factor that is not float64[{k}], finite and positive"
    if bias.shape != (k,) or bias.dtype != np.int64 or (np.abs(bias) >= 1 << 31).any():
        return f"a bias that is not int64[{k}] within int32"
    return ""


def _operation_faults(made: object, last: AccumulatorOp) -> str:
    """How operations do not compute the accumulators that `last` does, "" if they may."""
    ops = cast("list[object]", made) if isinstance(made, list) else []
    if not ops or not all(isinstance(op, esc.EscOp) for op in ops):
        return "what is no list of operations of level esc"
    end = cast(esc.EscOp, ops[-1])
    if not isinstance(end, AccumulatorOp):
        return f"a last operation '{end.name}' that has no accumulators"
    if end.results[0].type != last.results[0].type:
        return f"accumulators of type {end.results[0].type}; requires {last.results[0].type}"
    return ""
