"""Interpreter of the `esc` dialect: every operation as the NumPy arithmetic of `isa.reference`.

Values are NumPy arrays with any leading batch: floats NCHW outside, int8/uint8 NHWC and int32 inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from xdsl.interpreter import Interpreter, InterpreterFunctions, PythonValues, impl, register_impls
from xdsl.ir import Operation, SSAValue

from dialects import esc
from isa import reference

Array: TypeAlias = NDArray[Any]


def _map_of(value: SSAValue) -> tuple[int, int]:
    """Rows and columns of an NHWC value."""
    _, h, w, _ = esc.shape_of(value)
    return h, w


def evaluate(op: Operation, args: Sequence[Array]) -> Array:
    """Result of one `esc` operation on NumPy arrays of any batch size. Raises TypeError on any other operation."""
    match op:
        case esc.QuantizeOp():
            q = esc.q_of(op.output)
            return reference.quantize_input(args[0], q.scale, q.signed)
        case esc.DequantizeOp():
            return reference.dequantize_output(args[0], esc.q_of(op.input).scale, esc.shape_of(op.output))
        case esc.SoftmaxOp():
            return reference.softmax(args[0], op.axis.value.data)
        case esc.Conv2dOp():
            groups = op.groups.value.data
            return reference.conv2d(args[0], op.weight.array, esc.ints(op.strides), esc.ints(op.pads), groups)
        case esc.CoeffCombineOp():
            shift, bits = op.ic_shift.value.data, op.ic_bits.value.data
            return reference.coeff_combine(args[0], op.coefficients.array, shift, bits)
        case esc.BasisConv2dOp():
            return reference.basis_conv2d(args[0], op.basis.array, esc.ints(op.strides), esc.ints(op.pads))
        case esc.RequantizeOp():
            return reference.requantize(
                args[0],
                op.bias.array,
                op.mult.array,
                op.shift.array,
                op.lo.value.data,
                op.hi.value.data,
                op.mid_type.signed,
                None if op.table is None else op.table.array,
                args[1] if len(args) > 1 else None,
                op.addition,
            )
        case esc.AddOp():
            return reference.add(args[0], args[1], op.addition)
        case esc.MaxPoolOp():
            window = (esc.ints(op.kernel), esc.ints(op.strides), esc.ints(op.pads))
            return reference.max_pool(args[0], *window, _map_of(op.output))
        case esc.AvgPoolOp():
            return reference.avg_pool(
                args[0],
                esc.ints(op.kernel),
                esc.ints(op.strides),
                esc.ints(op.pads),
                bool(op.count_include_pad.value.data),
                _map_of(op.output),
                op.mult.array,
                op.count0.value.data,
                op.shift.value.data,
                op.lo.value.data,
                op.hi.value.data,
                esc.q_of(op.output).signed,
            )
        case esc.LookupOp():
            return reference.lookup(args[0], op.table.array)
        case esc.ConcatOp():
            return reference.concat(args)
        case esc.SliceOp():
            return reference.slice_pad(args[0], esc.ints(op.offsets), esc.ints(op.strides), esc.shape_of(op.output)[1:])
        case _:
            raise TypeError(f"no interpretation of {op.name}")


def _run(functions: InterpreterFunctions, interpreter: Interpreter, op: Operation, args: PythonValues) -> PythonValues:
    return (evaluate(op, [np.asarray(a) for a in args]),)


@register_impls
class EscFunctions(InterpreterFunctions):
    """Implementations of every operation of the dialect."""

    quantize = impl(esc.QuantizeOp)(_run)
    dequantize = impl(esc.DequantizeOp)(_run)
    softmax = impl(esc.SoftmaxOp)(_run)
    conv2d = impl(esc.Conv2dOp)(_run)
    coeff_combine = impl(esc.CoeffCombineOp)(_run)
    basis_conv2d = impl(esc.BasisConv2dOp)(_run)
    requantize = impl(esc.RequantizeOp)(_run)
    add = impl(esc.AddOp)(_run)
    max_pool = impl(esc.MaxPoolOp)(_run)
    avg_pool = impl(esc.AvgPoolOp)(_run)
    lookup = impl(esc.LookupOp)(_run)
    concat = impl(esc.ConcatOp)(_run)
    slice_pad = impl(esc.SliceOp)(_run)
