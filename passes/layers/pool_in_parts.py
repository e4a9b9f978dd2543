"""Poolings whose window does not fit a scratchpad, as operations that take windows in parts.

Sums and maxima are associative: an average becomes a depthwise convolution with weights of 1, which accumulates in
PSUM, and a maximum becomes one over columns and then one over rows. Both are bit-identical to the original.
"""

from __future__ import annotations

import numpy as np
from xdsl.dialects.builtin import TensorType
from xdsl.rewriter import Rewriter

from dialects import esc
from dialects.attributes import ints
from dialects.esc import q_of, shape_of
from isa.reference import pool_counts


def uniform_count(op: esc.AvgPoolOp) -> int | None:
    """The number of positions that every window of an average counts; None if windows differ."""
    kernel, strides, pads = ints(op.kernel), ints(op.strides), ints(op.pads)
    _, h, w, _ = shape_of(op.input)
    include = bool(op.count_include_pad.value.data)
    counts = pool_counts((h, w), kernel, strides, pads, include, shape_of(op.output)[1:3])
    return int(counts.flat[0]) if bool((counts == counts.flat[0]).all()) else None


def average_as_convolution(op: esc.AvgPoolOp) -> esc.RequantizeOp | None:
    """Replace an average by a depthwise convolution and its requantisation, which is returned; None, and no change,
    if its windows count different numbers of positions.
    """
    count = uniform_count(op)
    if count is None:
        return None
    c = shape_of(op.input)[3]
    ones = np.ones((c, *ints(op.kernel), 1), np.int8)
    sums = esc.Conv2dOp(op.input, ones, ints(op.strides), ints(op.pads), c)
    mult = np.full(c, op.mult.array[count - op.count0.value.data], np.int32)
    shift = np.full(c, op.shift.value.data)
    output = TensorType(q_of(op.output), shape_of(op.output))
    requantize = esc.RequantizeOp(
        sums.output, np.zeros(c, np.int32), mult, shift, op.lo.value.data, op.hi.value.data, output
    )
    sums.location = requantize.location = op.location
    Rewriter.replace_op(op, [sums, requantize], [requantize.output])
    return requantize


def separate_maximum(op: esc.MaxPoolOp) -> tuple[esc.MaxPoolOp, esc.MaxPoolOp] | None:
    """Replace a maximum by one over the columns of each window and one over the rows of that; None, and no change,
    if the window is a single row or column.
    """
    (r, s), (sy, sx), (top, left, bottom, right) = ints(op.kernel), ints(op.strides), ints(op.pads)
    if 1 in (r, s):
        return None
    _, h, _, c = shape_of(op.input)
    _, oh, ow, _ = shape_of(op.output)
    q = q_of(op.output)
    columns = esc.MaxPoolOp(op.input, (1, s), (1, sx), (0, left, 0, right), TensorType(q, (1, h, ow, c)))
    rows = esc.MaxPoolOp(columns.output, (r, 1), (sy, 1), (top, 0, bottom, 0), TensorType(q, (1, oh, ow, c)))
    columns.location = rows.location = op.location
    Rewriter.replace_op(op, [columns, rows], [rows.output])
    return columns, rows
