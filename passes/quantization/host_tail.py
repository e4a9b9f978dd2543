"""What the host does to an output behind the last tensor that the machine computes: moves it, a Softmax, an ArgMax."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.dialects.func import ReturnOp
from xdsl.ir import Operation, SSAValue

from dialects import onnx
from dialects.attributes import ints
from dialects.locations import describe
from dialects.onnx import shape_of
from dialects.onnx_arg_max import ArgMaxOp
from isa.errors import UserError
from passes.math.rearrangement import Rearrangement

MOVEMENTS = (onnx.ReshapeOp, onnx.TransposeOp)
"""Operations that only move the values of an output."""
AFFINE = (onnx.QuantizeLinearOp, onnx.DequantizeLinearOp)
"""Operations that round, which a float result of the host does without."""


@dataclass(frozen=True)
class HostTail:
    """How an output comes from the tensor [1, C, H, W] that the machine computes.

    The tensor is reshaped to `view` and transposed by `perm` (both empty: left as it is), then reshaped to `shape`;
    then `softmax`, if any, works along `axis` of that shape; then `arg_max`, if any, makes the output of it. `ops` are
    the operations that do it.
    """

    computed: SSAValue
    shape: tuple[int, ...]
    view: tuple[int, ...]
    perm: tuple[int, ...]
    softmax: onnx.SoftmaxOp | None
    axis: int
    arg_max: ArgMaxOp | None
    ops: tuple[Operation, ...]


def host_tail(output: SSAValue) -> HostTail:
    """The tail of a returned value. Raises UserError naming the node that one rearrangement cannot express."""
    ops = tail_operations(output)
    computed = ops[0].operands[0] if ops else output
    _, c, h, w = (*shape_of(computed), 1, 1, 1, 1)[:4]
    layout = Rearrangement((1, c, h, w))
    softmax: onnx.SoftmaxOp | None = None
    last = output.owner
    arg_max = last if isinstance(last, ArgMaxOp) else None
    scores = output if arg_max is None else arg_max.input
    for op in ops[:-1] if arg_max is not None else ops:
        try:
            if isinstance(op, onnx.TransposeOp):
                layout.transpose(ints(op.perm))
            elif isinstance(op, onnx.SoftmaxOp):
                layout.reshape(shape_of(op.input))
                layout.mark(op.axis.value.data)
                softmax = op
            else:
                layout.reshape(shape_of(op.results[0]))
        except ValueError as error:
            raise UserError(
                f"{describe(op)}: {error}; requires reshapes that split or join axes next to each other"
            ) from error
    axis = None if softmax is None else _axis(softmax, layout)
    if softmax is not None and axis is None:
        raise UserError(
            f"{describe(softmax)}: its axis is no axis of the output of shape {list(shape_of(scores))}; requires "
            "reshapes that keep it"
        )
    view, perm = layout.view
    return HostTail(computed, shape_of(scores), view, perm, softmax, axis or 0, arg_max, ops)


def _axis(softmax: onnx.SoftmaxOp, layout: Rearrangement) -> int | None:
    """The axis of a Softmax in the shape of the output; a first extent of 1 is that of the images, and no axis."""
    axis = layout.marked
    if axis is not None and layout.shape[axis] == 1 and shape_of(softmax.input) == layout.shape:
        axis = softmax.axis.value.data  # which of several extents of 1
    return None if axis == 0 and layout.shape[0] == 1 else axis


def tail_operations(output: SSAValue) -> tuple[Operation, ...]:
    """Operations of the host that make a returned value, in program order."""
    ops: list[Operation] = []
    softmax = False
    value = output
    if isinstance(value.owner, ArgMaxOp):
        ops.append(value.owner)
        value = value.owner.input
    while isinstance(op := value.owner, (onnx.SoftmaxOp, *MOVEMENTS, *AFFINE)):
        if isinstance(op, AFFINE) and (softmax or not _after_softmax(op)):
            break
        if isinstance(op, onnx.SoftmaxOp) and softmax:
            break
        softmax |= isinstance(op, onnx.SoftmaxOp)
        ops.append(op)
        value = op.operands[0]
    return tuple(reversed(ops))


def _after_softmax(op: Operation) -> bool:
    """Whether only re-quantisation and movement lie between a Softmax and an operation."""
    owner = op.operands[0].owner
    while isinstance(owner, (*AFFINE, *MOVEMENTS)):
        owner = owner.operands[0].owner
    return isinstance(owner, onnx.SoftmaxOp)


def at_output(op: Operation) -> bool:
    """Whether only outputs, movements, one Softmax at most and an ArgMax at last read what an operation makes."""
    pending = [(op.results[0], isinstance(op, onnx.SoftmaxOp))]
    while pending:
        value, softmax = pending.pop()
        for use in value.uses:
            user = use.operation
            if isinstance(user, ArgMaxOp) and user.at_output:
                continue
            if isinstance(user, (onnx.SoftmaxOp, *MOVEMENTS)) and not (softmax and isinstance(user, onnx.SoftmaxOp)):
                pending.append((user.results[0], softmax or isinstance(user, onnx.SoftmaxOp)))
            elif not isinstance(user, ReturnOp):
                return False
    return True
