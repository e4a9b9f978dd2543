"""Run the main function of a module of any executable level on NumPy arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, cast

from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp, TensorType
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.interpreter import Interpreter, InterpreterFunctions
from xdsl.ir import Attribute, Operation, SSAValue

from dialects.esc_base import EscOp
from dialects.onnx_base import OnnxOp
from isa.errors import UserError
from isa.reference import declared

Array = NDArray[Any]
Observer = Callable[[Operation, Sequence[Array]], Sequence[Array] | None]
"""Called with an operation and its results; what it gives back takes their place."""


def main_function(module: ModuleOp, name: str = "main") -> FuncOp:
    """The function `@main` of a module. Raises UserError if there is none."""
    for op in module.ops:
        if isinstance(op, FuncOp) and op.sym_name.data == name and op.body.blocks:
            return op
    raise UserError(
        f"the module has no function @{name}", "the input must hold one function @main, as escc --emit writes it"
    )


def functions_of(module: ModuleOp) -> list[InterpreterFunctions]:
    """Interpreter functions of the dialects a module uses; those of a dialect are imported only when it occurs."""
    result: list[InterpreterFunctions] = []
    if onnx_operations := {type(op): None for op in module.walk() if isinstance(op, OnnxOp)}:
        from dialects.interpreters.onnx import onnx_functions

        result.append(onnx_functions(onnx_operations))
    if esc_operations := {type(op): None for op in module.walk() if isinstance(op, EscOp)}:
        from dialects.interpreters.esc import esc_functions

        result.append(esc_functions(esc_operations))
    return result


def _shape(value: SSAValue) -> tuple[int, ...]:
    return cast("TensorType[Attribute]", value.type).get_shape()


def _check_inputs(function: FuncOp, inputs: Sequence[Array]) -> None:
    arguments = function.body.block.args
    if len(inputs) != len(arguments):
        raise UserError(f"{len(inputs)} inputs given; requires {len(arguments)}")
    causes: list[str] = []
    for i, (argument, x) in enumerate(zip(arguments, inputs, strict=True)):
        shape = _shape(argument)
        if x.shape[1:] != shape[1:] or x.ndim != len(shape):
            causes.append(f"input {i} has shape {list(x.shape)}; requires {['N', *shape[1:]]}")
    if causes:
        raise UserError(causes, "the first axis is the batch; all others must be those of the model")


def run_module(
    module: ModuleOp,
    inputs: Sequence[Array],
    observer: Observer | None = None,
    extra: Sequence[InterpreterFunctions] = (),
) -> list[Array]:
    """Outputs of `@main` for `inputs`, one array per argument with any batch N in front where the types say 1.

    N takes the place of a first extent of 1 in outputs too; other outputs have the shape of their type for one sample
    and [N, *shape] for more. `observer(op, results)` is called after each operation; an operand is released after its
    last use, so an observer that keeps results keeps their memory. It may give back other results of the same shapes,
    with which the run goes on. `extra` adds the functions of dialects from
    elsewhere. Raises UserError for inputs of the wrong shape.
    """
    function = main_function(module)
    _check_inputs(function, inputs)
    interpreter = Interpreter(module)
    for functions in (*functions_of(module), *extra):
        interpreter.register_implementations(functions)
    block = function.body.block
    remaining = Counter(operand for op in block.ops for operand in op.operands)
    values: dict[SSAValue, Array] = dict(zip(block.args, inputs, strict=True))
    for op in block.ops:
        arguments = tuple(values[operand] for operand in op.operands)
        if isinstance(op, ReturnOp):
            return [declared(x, _shape(v)) for x, v in zip(arguments, op.operands, strict=True)]
        results = interpreter.run_op(op, arguments)
        if observer is not None:
            results = observer(op, results) or results
        values.update(zip(op.results, results, strict=True))
        del arguments, results
        for operand in op.operands:
            remaining[operand] -= 1
            if not remaining[operand]:
                values.pop(operand, None)
    raise UserError("@main has no func.return", "the input must hold one function @main, as escc --emit writes it")
