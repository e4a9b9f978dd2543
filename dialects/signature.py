"""What goes into the main function of a module of level onnx or esc, and what comes out, as the model declares it."""

from __future__ import annotations

import math
from typing import cast

from xdsl.dialects.builtin import ArrayAttr, ModuleOp, StringAttr, TensorType
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Attribute, SSAValue

from dialects.interpreters.run import main_function
from isa.arrays import Input
from isa.errors import UserError


def inputs_of(function: FuncOp) -> list[Input]:
    """Names and shapes of the inputs of one sample; inputs without a name are `input0` and so on."""
    arguments = function.body.block.args
    names = _names(function, "input", len(arguments))
    return [Input(name, _shape(argument)[1:]) for name, argument in zip(names, arguments, strict=True)]


def outputs_of(function: FuncOp) -> list[tuple[str, SSAValue]]:
    """Names and values of the outputs; outputs without a name are `output0` and so on."""
    last = function.body.block.last_op
    values = list(last.operands) if isinstance(last, ReturnOp) else []
    names = _names(function, "output", len(values))
    return list(zip(names, values, strict=True))


def _names(function: FuncOp, kind: str, count: int) -> list[str]:
    given = function.attributes.get(f"{kind}_names")
    items = cast("ArrayAttr[Attribute]", given) if isinstance(given, ArrayAttr) else ()
    names = [item.data for item in items if isinstance(item, StringAttr)]
    return names if len(names) == count else [f"{kind}{i}" for i in range(count)]


def only_input(module: ModuleOp, purpose: str) -> Input:
    """The input of a model that may have one only. Raises `UserError` naming the inputs of any other."""
    inputs = inputs_of(main_function(module))
    if len(inputs) != 1:
        names = ", ".join(f"'{i.name}'" for i in inputs) or "none"
        raise UserError(f"{purpose} requires a model with one input; this one has {len(inputs)}: {names}")
    return inputs[0]


def classes_of(module: ModuleOp) -> int:
    """Number of scores in the only output. Raises `UserError` if there are several outputs."""
    outputs = outputs_of(main_function(module))
    if len(outputs) != 1:
        raise UserError(f"accuracy requires a model with one output of scores; this one has {len(outputs)} outputs")
    return math.prod(_shape(outputs[0][1])[1:])


def _shape(value: SSAValue) -> tuple[int, ...]:
    return tuple(cast("TensorType[Attribute]", value.type).get_shape())
