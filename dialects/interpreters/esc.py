"""Interpreter of the `esc` dialect: every operation as the NumPy arithmetic of `isa.reference`.

Values are NumPy arrays with any leading batch: floats NCHW outside, int8/uint8 NHWC and int32 inside.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from xdsl.interpreter import Interpreter, InterpreterFunctions, PythonValues, impl, register_impls
from xdsl.ir import Operation

from dialects.esc_base import Array, EscOp


def evaluate(op: Operation, args: Sequence[Array]) -> Array:
    """Result of one `esc` operation on NumPy arrays of any batch size. Raises TypeError on any other operation."""
    if not isinstance(op, EscOp):
        raise TypeError(f"no interpretation of {op.name}")
    return op.compute(args)


def _run(functions: InterpreterFunctions, interpreter: Interpreter, op: Operation, args: PythonValues) -> PythonValues:
    return (evaluate(op, [np.asarray(a) for a in args]),)


def esc_functions(operations: Iterable[type[EscOp]]) -> InterpreterFunctions:
    """Implementations of operations of the dialect, those of other packages included."""
    namespace = {op.__name__: impl(op)(_run) for op in operations}
    return register_impls(type("EscFunctions", (InterpreterFunctions,), namespace))()
