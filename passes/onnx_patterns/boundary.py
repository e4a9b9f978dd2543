"""NHWC inputs of models converted from channels-last frameworks: the signature has them as NCHW."""

from __future__ import annotations

import math

from xdsl.dialects.builtin import ArrayAttr, FunctionType, ModuleOp, StringAttr, TensorType, f32
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import BlockArgument, Operation, SSAValue
from xdsl.pattern_rewriter import GreedyRewritePatternApplier, PatternRewriteWalker
from xdsl.rewriter import Rewriter

from dialects import onnx
from dialects.attributes import ints
from dialects.interpreters.run import main_function
from dialects.onnx import shape_of
from dialects.signature import inputs_of
from passes.onnx_patterns import layout
from passes.onnx_patterns.common import ELEMENTWISE

NHWC_TO_NCHW = (0, 3, 1, 2)
NCHW_TO_NHWC = (0, 2, 3, 1)
_PASSES_LAYOUT = (*ELEMENTWISE, onnx.BinaryOp, onnx.PadOp, onnx.SliceOp, onnx.QuantizeLinearOp, onnx.DequantizeLinearOp)


def _reads_channels_last(argument: BlockArgument) -> bool:
    """Whether the model transposes an input from NHWC to NCHW, or multiplies its last axis by a matrix, at once or
    after elementwise operations.
    """
    todo: list[SSAValue] = [argument]
    seen: set[Operation] = set()
    while todo:
        for use in todo.pop().uses:
            op = use.operation
            if isinstance(op, onnx.TransposeOp) and ints(op.perm) == NHWC_TO_NCHW:
                return True
            if isinstance(op, onnx.MatMulOp) and use.index == 0 and math.prod(shape_of(op.lhs)[1:3]) > 1:
                return True
            if isinstance(op, _PASSES_LAYOUT) and op not in seen:
                seen.add(op)
                todo.extend(op.results)
    return False


def _relabel_input(function: FuncOp, argument: BlockArgument) -> None:
    n, h, w, c = shape_of(argument)
    location = argument.location
    relabelled = Rewriter.replace_value_with_new_type(argument, TensorType(f32, (n, c, h, w)))
    assert isinstance(relabelled, BlockArgument)
    relabelled.location = location
    transpose = onnx.TransposeOp(relabelled, NCHW_TO_NHWC)
    transpose.location = location
    first = function.body.block.first_op
    assert first is not None
    function.body.block.insert_op_before(transpose, first)
    relabelled.replace_uses_with_if(transpose.output, lambda use: use.operation is not transpose)


def relabel_boundary(module: ModuleOp) -> None:
    """Give @main NCHW inputs where the model has NHWC ones, and cancel the transposes behind them.

    `input_layouts` of @main then says for each input what the ONNX model has: "NCHW" or "NHWC". Outputs stay as the
    model declares them. Models without such inputs stay untouched.
    """
    function = main_function(module)
    block = function.body.block
    layouts = ["NHWC" if len(shape_of(a)) == 4 and _reads_channels_last(a) else "NCHW" for a in block.args]
    if "NHWC" not in layouts:
        return
    for argument, named in zip(tuple(block.args), layouts, strict=True):
        if named == "NHWC":
            _relabel_input(function, argument)
    patterns = GreedyRewritePatternApplier(list(layout.PATTERNS), dce_enabled=True)
    PatternRewriteWalker(patterns).rewrite_module(module)
    terminator = block.last_op
    assert isinstance(terminator, ReturnOp)
    function.attributes["input_layouts"] = ArrayAttr([StringAttr(s) for s in layouts])
    function.properties["function_type"] = FunctionType.from_lists(
        [a.type for a in block.args], [v.type for v in terminator.operands]
    )


def unsettled_inputs(function: FuncOp) -> dict[onnx.TransposeOp, str]:
    """The transposes that relabelling has left in front of some readers of an input, with a line about that input."""
    found: dict[onnx.TransposeOp, str] = {}
    for given, argument in zip(inputs_of(function), function.body.block.args, strict=True):
        for use in argument.uses:
            op = use.operation
            if given.perm and isinstance(op, onnx.TransposeOp) and ints(op.perm) == NCHW_TO_NHWC:
                found[op] = (
                    f"input '{given.name}' is read with channels last by some operators and in another order by "
                    "others; requires one order for all"
                )
    return found
