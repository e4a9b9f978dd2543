"""`onnx-legalize`: the boundary of the `onnx` level; lists everything that cannot be quantised."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Operation
from xdsl.passes import ModulePass

from dialects import onnx, onnx_expression
from dialects.attributes import ints
from dialects.interpreters.run import main_function
from dialects.locations import node_fault
from dialects.onnx import shape_of
from dialects.onnx_arg_max import ArgMaxOp
from dialects.onnx_choices import COMPARISONS, WhereOp
from dialects.signature import inputs_of, outputs_of
from isa.errors import NodeFault, UserError, summed_up
from isa.reference import map_shape
from passes.analysis.preserved import Preserved
from passes.onnx_patterns.boundary import unsettled_inputs
from passes.onnx_patterns.common import constant_array, producer
from passes.onnx_patterns.dilated import spread_fault
from passes.quantization.host_tail import MOVEMENTS, at_output, host_tail
from passes.tiling.limits import field_range

Check = Callable[[Any], str | None]
_MAX_EXTENT = min(field_range("load.act", field)[1] for field in ("h", "w"))


def text(shape: tuple[int, ...]) -> str:
    """`[1,3,224,224]`."""
    return "[" + ",".join(map(str, shape)) + "]"


def is_map(op: onnx.OnnxOp) -> str | None:
    """Activations are maps [1,C,H,W] of extents that the machine's transfers can express"""
    for value in (*op.operands, *op.results):
        if constant_array(value) is not None:
            continue
        shape = shape_of(value)
        if len(shape) != 4 or shape[0] != 1:
            return f"tensor of shape {text(shape)} unsupported here; requires a map [1,C,H,W]"
        if max(shape[2:]) > _MAX_EXTENT:
            return f"tensor of shape {text(shape)} unsupported; requires at most {_MAX_EXTENT} rows and columns"
    return None


def weights_are_constant(op: onnx.ConvOp) -> str | None:
    """Weights and bias are constants"""
    for what, value in (("weight", op.weight), ("bias", op.bias)):
        if value is not None and constant_array(value) is None:
            return f"{what} is computed; requires a constant"
    return None


def taps_lie_side_by_side(op: onnx.ConvOp) -> str | None:
    """Dilated windows have become dense ones"""
    dilations = ints(op.dilations)
    return None if dilations == (1, 1) else spread_fault(shape_of(op.weight), dilations)


def adds_two_activations(op: onnx.AddOp) -> str | None:
    """Both operands are computed and have one shape"""
    if constant_array(op.lhs) is not None or constant_array(op.rhs) is not None:
        return "adds a constant that is not one value per channel; requires one value, or one per channel"
    if shape_of(op.lhs) != shape_of(op.rhs):
        return f"adds shapes {text(shape_of(op.lhs))} and {text(shape_of(op.rhs))}; requires one shape"
    return None


def multiplies_two_activations(op: onnx.MulOp) -> str | None:
    """Both operands are computed; one has the shape of the result, the other the same or extent 1 along some axes"""
    if constant_array(op.lhs) is not None or constant_array(op.rhs) is not None:
        return "multiplies by a constant that is not one value per channel; requires one value, or one per channel"
    a, b = shape_of(op.lhs), shape_of(op.rhs)
    if shape_of(op.output) not in (a, b):
        return f"multiplies shapes {text(a)} and {text(b)}; requires one of the shape of the result"
    return None


def concatenates_channels(op: onnx.ConcatOp) -> str | None:
    """axis is 1 (channels), all operands are computed"""
    if op.axis.value.data != 1:
        return f"axis={op.axis.value.data} unsupported; requires 1 (channels)"
    return (
        "has a constant operand; requires computed operands"
        if any(constant_array(x) is not None for x in op.inputs)
        else None
    )


def pads_with_zero(op: onnx.PadOp) -> str | None:
    """Pads C, H or W with 0 (with any value where it folds into a following maximum)"""
    if op.constant_value.value.data != 0:
        return f"pads with {op.constant_value.value.data:g}; requires 0"
    pads = ints(op.pads)
    return "pads the batch axis; requires pads on C, H or W" if pads[0] or pads[len(pads) // 2] else None


def slices_maps(op: onnx.SliceOp) -> str | None:
    """Slices C (step 1), H or W"""
    for axis, step in zip(ints(op.axes), ints(op.steps), strict=True):
        if axis == 0 or (axis == 1 and step != 1):
            return f"step {step} on axis {axis} unsupported; requires axes C (step 1), H, W"
    return None


def reshapes_at_boundary(op: onnx.ReshapeOp) -> str | None:
    """Reshapes only an output, or an input [1], [1,C], [1,C,L] or [1,C,D,H,W] to a map"""
    old, new = shape_of(op.input), shape_of(op.output)
    if isinstance(op.input.owner, Block) and len(old) != 4 and new == map_shape(old):
        return None
    if not at_output(op):
        return (
            f"reshapes {text(old)} to {text(new)} in the middle of the graph; requires Flatten before Gemm or an output"
        )
    return _starts_from_a_map(op)


def transposes_at_output(op: onnx.TransposeOp) -> str | None:
    """Moves the data of an output only"""
    if not at_output(op):
        perm = text(ints(op.perm))
        return f"moves data (perm={perm}); requires transposes that cancel, only relabel the layout or end the model"
    return _starts_from_a_map(op)


def _starts_from_a_map(op: onnx.ReshapeOp | onnx.TransposeOp) -> str | None:
    shape = shape_of(op.input)
    if isinstance(op.input.owner, (onnx.SoftmaxOp, *MOVEMENTS)) or (len(shape) == 4 and shape[0] == 1):
        return None
    return f"moves the data of shape {text(shape)}; requires a map [1,C,H,W]"


def softmax_is_last(op: onnx.SoftmaxOp) -> str | None:
    """Only at an output"""
    return None if at_output(op) else "stands before other operators; requires an output of the model"


def arg_max_is_last(op: ArgMaxOp) -> str | None:
    """Only at an output"""
    return None if op.at_output else "stands before other operators; requires an output of the model"


def quantises_an_activation(op: onnx.QuantizeLinearOp) -> str | None:
    """Per tensor, on activations"""
    if op.scale.array.ndim:
        return "quantises activations per axis; requires one scale"
    users = [use.operation for use in op.output.uses]
    if not all(isinstance(u, onnx.DequantizeLinearOp) for u in users):
        return "result is read by something else than DequantizeLinear; requires QuantizeLinear -> DequantizeLinear"
    return None


def dequantises_activation_or_weight(op: onnx.DequantizeLinearOp) -> str | None:
    """Of the result of QuantizeLinear with the same scale per tensor, or of constant weights of Conv"""
    source = producer(op.input)
    if isinstance(source, onnx.ConstantOp):
        if all(isinstance(u.operation, onnx.ConvOp) and u.index == 1 for u in op.output.uses):
            return None
        return "dequantises a constant that is no weight of a Conv; requires constants of Conv, Gemm or MatMul"
    if not isinstance(source, onnx.QuantizeLinearOp) or op.scale.array.ndim:
        return "input does not come from QuantizeLinear; requires QuantizeLinear -> DequantizeLinear per tensor"
    same = source.scale == op.scale and source.zero_point == op.zero_point
    return None if same else "scale or zero point differs from its QuantizeLinear; requires the same"


_MAP: tuple[Check, ...] = (is_map,)
_LEGAL: dict[type[Operation], tuple[Check, ...]] = {
    onnx.ConstantOp: (),
    onnx.ConvOp: (is_map, weights_are_constant, taps_lie_side_by_side),
    onnx.AddOp: (is_map, adds_two_activations),
    onnx.MulOp: (is_map, multiplies_two_activations),
    onnx.ConcatOp: (is_map, concatenates_channels),
    onnx.SliceOp: (is_map, slices_maps),
    onnx.PadOp: (is_map, pads_with_zero),
    onnx.ReshapeOp: (reshapes_at_boundary,),
    onnx.TransposeOp: (transposes_at_output,),
    onnx.SoftmaxOp: (softmax_is_last,),
    ArgMaxOp: (arg_max_is_last,),
    onnx.QuantizeLinearOp: (is_map, quantises_an_activation),
    onnx.DequantizeLinearOp: (dequantises_activation_or_weight,),
    ReturnOp: (),
}

_ONE_TENSOR = "requires operands that depend element by element on one tensor, or a single number"
_REASONS: dict[type[Operation], str] = {
    onnx.DivOp: f"divides by what is not one constant value per channel; requires that, or {_ONE_TENSOR[9:]}",
    onnx_expression.MaxOp: f"takes the maximum of two tensors; {_ONE_TENSOR}",
    onnx_expression.MinOp: f"takes the minimum of two tensors; {_ONE_TENSOR}",
    onnx_expression.PowOp: f"raises to a power of several values; {_ONE_TENSOR}",
    WhereOp: f"chooses between tensors by another; {_ONE_TENSOR}",
    **dict.fromkeys(COMPARISONS, f"compares two tensors of which none is a single number; {_ONE_TENSOR}"),
    onnx.ReduceMeanOp: "reduces other axes than C, H and W of a map; requires those",
}


def legal_checks(operation: type[Operation]) -> tuple[Check, ...] | None:
    """What operations of a class must fulfil to pass the boundary; None if they never do.

    Those that say how they are quantised pass, whatever package they come from; so do functions of one number, as a
    table computes each of them.
    """
    if operation in _LEGAL:
        return _LEGAL[operation]
    return _MAP if issubclass(operation, onnx.OnnxOp) and operation.QUANTISED_FORM else None


def legal_operations(operations: Iterable[type[Operation]]) -> Mapping[type[Operation], tuple[Check, ...]]:
    """Those of some operations that may pass the boundary, and what each must fulfil."""
    found = {operation: legal_checks(operation) for operation in operations}
    return {operation: checks for operation, checks in found.items() if checks is not None}


def offence(op: Operation) -> str | None:
    """Why an operation may not pass the boundary; None if it may."""
    checks = legal_checks(type(op))
    if checks is None:
        return _REASONS.get(
            type(op),
            "cannot be brought into canonical form; requires constant parameters and [1,C,H,W] or [1,C] tensors",
        )
    return next((reason for reason in (check(op) for check in checks) if reason is not None), None)


_OTHER_BOUNDARY = "export the model again with other inputs and outputs: those that it declares are at fault"


def boundary_offences(function: FuncOp) -> list[str]:
    """What is wrong with the signature of @main."""
    causes: list[str] = []
    for given, argument in zip(inputs_of(function), function.body.block.args, strict=True):
        shape = shape_of(argument)
        if not 1 <= len(shape) <= 5 or shape[0] != 1:
            causes.append(
                f"input '{given.name}' has shape {text(shape)}; requires 1 to 5 dimensions, the first of them 1"
            )
        if not argument.uses.get_length():
            causes.append(f"input '{given.name}' is not used; requires a model that reads its inputs")
    terminator = function.body.block.last_op
    if isinstance(terminator, ReturnOp):
        for name, value in outputs_of(function):
            if isinstance(value.owner, Block) or (constant_array(value) is not None and producer(value) is None):
                causes.append(f"output '{name}' is an input of the model; requires something to compute")
    return causes


def _tail_faults(function: FuncOp) -> list[str]:
    """What the host cannot do to the outputs of a function whose operations are legal."""
    terminator = function.body.block.last_op
    causes: list[str] = []
    for value in terminator.operands if terminator is not None else ():
        try:
            host_tail(value)
        except UserError as error:
            causes += error.causes
    return causes


@dataclass(frozen=True)
class OnnxLegalizePass(ModulePass):
    """Check that only canonical, supported operations are left; changes nothing.

    Raises UserError listing every offender by its ONNX node name, with what was found and what is required.
    """

    name = "onnx-legalize"
    PRESERVES: ClassVar[Preserved] = Preserved.VALUES

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        function = main_function(op)
        boundary = boundary_offences(function)
        unsettled = unsettled_inputs(function)
        faults: list[NodeFault | str] = [*boundary]
        for inner in function.body.block.ops:
            reason = offence(inner)
            if reason is not None:
                said = unsettled.get(inner) if isinstance(inner, onnx.TransposeOp) else None
                faults.append(said or node_fault(inner, reason))
        if not faults:
            faults += _tail_faults(function)
        if faults:
            alone = len(faults) == len(boundary)
            raise summed_up(faults, _OTHER_BOUNDARY if alone else "escc --supported-ops lists what is supported")
