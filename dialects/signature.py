"""What goes into the main function of a module of level onnx or esc, and what comes out, as the model declares it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

from xdsl.dialects.builtin import ArrayAttr, IntegerType, ModuleOp, StringAttr, TensorType
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Attribute, Operation, SSAValue

from dialects.interpreters.run import main_function
from isa.arrays import Array, Input
from isa.errors import UserError
from isa.program import ArgMax


def inputs_of(function: FuncOp) -> list[Input]:
    """Names and shapes of the inputs of one sample; inputs without a name are `input0` and so on.

    `input_layouts` of the function says "NHWC" for those that it takes as [1, C, H, W] and the model as [N, H, W, C].
    """
    arguments = function.body.block.args
    names = _strings(function, "input_names", [f"input{i}" for i in range(len(arguments))])
    layouts = _strings(function, "input_layouts", ["NCHW"] * len(arguments))
    return [_input(name, _shape(x)[1:], layout) for name, x, layout in zip(names, arguments, layouts, strict=True)]


def _input(name: str, inner: tuple[int, ...], layout: str) -> Input:
    return Input(name, (*inner[1:], inner[0]), (2, 0, 1)) if (layout, len(inner)) == ("NHWC", 3) else Input(name, inner)


def moved_inputs(module: ModuleOp, inputs: Sequence[Array]) -> list[Array]:
    """Samples [N, ...] of each input, which lie as the model declares them, as the main function takes them."""
    ports = inputs_of(main_function(module))
    return [port.moved(x) for port, x in zip(ports, inputs, strict=True)]


def given_inputs(module: ModuleOp, inputs: Sequence[Array]) -> list[Array]:
    """The inverse of `moved_inputs`: samples as a binary takes them."""
    ports = inputs_of(main_function(module))
    return [port.given(x) for port, x in zip(ports, inputs, strict=True)]


def outputs_of(function: FuncOp) -> list[tuple[str, SSAValue]]:
    """Names and values of the outputs; outputs without a name are `output0` and so on."""
    last = function.body.block.last_op
    values = list(last.operands) if isinstance(last, ReturnOp) else []
    names = _strings(function, "output_names", [f"output{i}" for i in range(len(values))])
    return list(zip(names, values, strict=True))


def _strings(function: FuncOp, attribute: str, otherwise: list[str]) -> list[str]:
    """The strings of an attribute, or others if it has not as many."""
    given = function.attributes.get(attribute)
    items = cast("ArrayAttr[Attribute]", given) if isinstance(given, ArrayAttr) else ()
    found = [item.data for item in items if isinstance(item, StringAttr)]
    return found if len(found) == len(otherwise) else otherwise


def only_input(module: ModuleOp, purpose: str) -> Input:
    """The input of a model that may have one only. Raises `UserError` naming the inputs of any other."""
    inputs = inputs_of(main_function(module))
    if len(inputs) != 1:
        names = ", ".join(f"'{i.name}'" for i in inputs) or "none"
        raise UserError(f"{purpose} requires a model with one input; this one has {len(inputs)}: {names}")
    return inputs[0]


def classes_of(module: ModuleOp) -> int:
    """Number of scores in the only output, or of those from which its ArgMax chooses. Raises `UserError` if there are
    several outputs, or scores or choices at many places, as those of a map.
    """
    outputs = outputs_of(main_function(module))
    if len(outputs) != 1:
        raise UserError(f"accuracy requires a model with one output of scores; this one has {len(outputs)} outputs")
    name, value = outputs[0]
    inner, choice = _shape(value)[1:], _choice_of(value)
    scores = choice.shape[choice.axis] if choice else max(inner, default=1)
    if math.prod(inner) != (1 if choice else scores):
        raise UserError(
            "accuracy requires a model with one output of shape [1, classes] or [classes]; that of this one, "
            f"'{name}', is {[1, *inner]}",
            "a model that scores every place of a map can be compiled, and compared by what `esc-emu --output` writes",
        )
    return scores


def _choice_of(value: SSAValue) -> ArgMax | None:
    """The choice whose integers a value holds, reshaped perhaps or of another type."""
    while isinstance(owner := value.owner, Operation):
        if isinstance(choice := getattr(owner, "choice", None), ArgMax):
            return choice
        if not owner.operands or not isinstance(_type(value).element_type, IntegerType):
            return None
        value = owner.operands[0]
    return None


def _type(value: SSAValue) -> TensorType[Attribute]:
    return cast("TensorType[Attribute]", value.type)


def _shape(value: SSAValue) -> tuple[int, ...]:
    return tuple(_type(value).get_shape())
