"""Interpreter of the `onnx` dialect: every operation as NumPy arithmetic on float32 arrays with any batch."""

from __future__ import annotations

from collections.abc import Iterable

from xdsl.interpreter import Interpreter, InterpreterFunctions, PythonValues, impl, register_impls
from xdsl.ir import Operation

from dialects.onnx_base import OnnxOp


def _run(functions: InterpreterFunctions, interpreter: Interpreter, op: Operation, args: PythonValues) -> PythonValues:
    assert isinstance(op, OnnxOp)
    return (op.compute(args),)


def onnx_functions(operations: Iterable[type[OnnxOp]]) -> InterpreterFunctions:
    """Implementations of operations of the dialect, those of other packages included."""
    namespace = {op.__name__: impl(op)(_run) for op in operations}
    return register_impls(type("OnnxFunctions", (InterpreterFunctions,), namespace))()
