"""What the importer requires of each operator.

A constraint is a function of a node that returns None, or what was found and what is required. The first line of its
docstring says the requirement in words: `escc --supported-ops` prints exactly the checks that run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from escc.onnx_import.node import Node, Value, is_float, text

Constraint = Callable[[Node], str | None]


def _name(value: Value) -> str:
    return f"'{value.name}'"


def float_inputs(node: Node) -> str | None:
    """Tensors are floating point (float32; float16, bfloat16 and float64 are converted)"""
    for value in node.inputs:
        if value is not None and value.is_activation and value.dtype is not None and not is_float(value.dtype):
            return f"input {_name(value)} has type {value.dtype}; requires float"
    return None


def floats_or_indices(node: Node) -> str | None:
    """Tensors are floating point, or what ArgMax or ArgMin gives"""
    value = node.input(0)
    return None if value is not None and value.is_indices else float_inputs(node)


_REDUCTIONS = (
    *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax"),
    *("ReduceMean", "ReduceMin", "ReduceSum", "ReduceSumSquare"),
)
_AXES_INPUT = {"Slice": 3, "Pad": 3, "Squeeze": 1, **dict.fromkeys(_REDUCTIONS, 1)}


_LISTS = {"Slice": (1, 2, 3, 4), "Pad": (1,), "Reshape": (1,)}


def axes_are_in_range(node: Node) -> str | None:
    """axis and axes lie inside the rank, each once; starts, ends, axes and steps are lists of one length"""
    shape = node.shape()
    if shape is None:
        return None
    rank = len(shape)
    axes: tuple[int, ...] | None = None
    if node.op_type in _AXES_INPUT:
        axes = node.axes("axes", _AXES_INPUT[node.op_type], rank)
    elif node.op_type in ("Concat", "LogSoftmax", "Softmax", "Flatten") and "axis" in node.attributes:
        axes = (node.axis(1, rank + (node.op_type == "Flatten")),)
        rank += node.op_type == "Flatten"
    if axes is not None and (any(not 0 <= a < rank for a in axes) or len(set(axes)) != len(axes)):
        return f"axes {text(axes)} of {rank} dimensions; requires distinct axes below {rank}"
    for index in _LISTS.get(node.op_type, ()):
        value = node.input(index)
        if value is not None and value.const is not None and value.const.ndim != 1:
            return f"input {_name(value)} has shape {text(value.const.shape)}; requires a list"
    if node.op_type == "Slice":
        starts, ends, steps = (node.parameter_ints(n, i) for n, i in (("starts", 1), ("ends", 2), ("steps", 4)))
        if starts is None or ends is None:
            return None
        lengths = {len(v) for v in (starts, ends, axes, steps) if v is not None}
        if len(lengths) != 1 or len(starts) > rank:
            return f"starts={text(starts)}, ends={text(ends)}, axes, steps differ in length; requires one length"
    return None


def rank_4(node: Node) -> str | None:
    """The input has 4 dimensions [N,C,H,W]"""
    shape = node.shape()
    if shape is not None and len(shape) != 4:
        return f"input of shape {text(shape)} unsupported; requires 4 dimensions [N,C,H,W]"
    return None


def _all_axes(node: Node, rank: int) -> range:
    """The axes of a reduction that names none."""
    return range(0 if node.flag("noop_with_empty_axes") else rank)


def batch_stays(node: Node) -> str | None:
    """The batch axis is left alone"""
    shape = node.shape()
    if shape is None:
        return None
    if node.op_type == "Concat" and node.axis(1, len(shape)) == 0 and len(shape) > 1:
        return "concatenates the batch axis; requires axis 1 to 3"
    axis = node.axis(1 if node.opset < 13 else -1, len(shape)) if node.op_type in ("LogSoftmax", "Softmax") else None
    if axis == 0 and len(shape) > 1 and shape[0] == 1:
        return "axis=0 is the batch axis; requires another"
    if node.op_type in ("ArgMax", "ArgMin") and node.axis(0, len(shape)) == 0 and shape[:1] == (1,):
        return "axis=0 is the batch axis; requires another"
    if node.op_type == "ReduceMean" and 0 in (node.axes("axes", 1, len(shape)) or _all_axes(node, len(shape))):
        return "reduces the batch axis; requires axes C, H, W"
    return None


def weights_are_constant(node: Node) -> str | None:
    """Weights and biases are constants"""
    for value in node.inputs[1:]:
        if value is not None and value.is_computed:
            return f"input {_name(value)} is computed from the model's input; requires a constant"
    return None


def parameters_are_constant(node: Node) -> str | None:
    """Inputs beyond the first (axes, bounds, shapes, scales, ...) are constants"""
    return weights_are_constant(node)


def conv_groups_match(node: Node) -> str | None:
    """group x weight channels = input channels, and group divides the output channels"""
    x, w, group = node.shape(0), node.shape(1), int(node.attr("group", 1))
    if x is None or w is None or len(x) != 4 or len(w) != 4:
        return None
    if group < 1 or w[1] * group != x[1] or w[0] % group:
        return (
            f"group={group} with weights {text(w)} and {x[1]} input channels; "
            "requires group x weights[1] = input channels, and group dividing weights[0]"
        )
    return None


def conv_kernel_matches(node: Node) -> str | None:
    """Weights have 4 dimensions, none of them 0; kernel_shape, if given, is theirs"""
    w, kernel = node.shape(1), node.ints("kernel_shape")
    if w is not None and (len(w) != 4 or not all(w)):
        return f"weights of shape {text(w)} unsupported; requires 4 dimensions of at least 1"
    if w is not None and len(w) == 4 and kernel and kernel != w[2:]:
        return f"kernel_shape={text(kernel)} differs from the weights {text(w)}; requires {text(w[2:])}"
    return None


def pads_are_explicit(node: Node) -> str | None:
    """pads are not negative; auto_pad is NOTSET, VALID, SAME_UPPER or SAME_LOWER"""
    pads, auto = node.ints("pads"), node.attr("auto_pad", "NOTSET")
    if auto not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        return f"auto_pad={auto} unsupported; requires NOTSET, VALID, SAME_UPPER or SAME_LOWER"
    if any(p < 0 for p in pads):
        return f"pads={text(pads)} unsupported; requires non-negative pads"
    return None


def windows_are_two_dimensional(node: Node) -> str | None:
    """kernel_shape, strides and dilations hold 2 values of at least 1, pads 4"""
    for name, count, least in (("kernel_shape", 2, 1), ("strides", 2, 1), ("dilations", 2, 1), ("pads", 4, None)):
        values = node.ints(name)
        if name in node.attributes and (len(values) != count or (least is not None and min(values) < least)):
            rule = f"{count} values" + ("" if least is None else f" of at least {least}")
            return f"{name}={text(values)} unsupported; requires {rule}"
    return None


def pads_are_below_the_kernel(node: Node) -> str | None:
    """Pads are smaller than the window with its gaps"""
    kernel, pads, dilations = node.ints("kernel_shape"), node.ints("pads"), node.ints("dilations", (1, 1))
    if len(kernel) != len(dilations):
        return None
    kernel = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True))
    if len(kernel) == 2 and len(pads) == 4 and any(p >= k for p, k in zip(pads, (*kernel, *kernel), strict=True)):
        return f"pads={text(pads)} of a window of {text(kernel)}; requires smaller pads"
    return None


def pool_has_no_indices(node: Node) -> str | None:
    """Nothing reads the second output (Indices)"""
    return "output Indices is read; requires a model that reads only the first output" if node.has_output(1) else None


def not_training(node: Node) -> str | None:
    """Inference mode: training_mode=0, one output; spatial=1"""
    if node.flag("training_mode"):
        return "training_mode=1 unsupported; requires 0: export the model for inference"
    if node.listed_outputs > 1:  # by the standard, whether they are read or not
        return f"{node.listed_outputs} outputs (training mode); requires 1: export the model for inference"
    if not node.flag("spatial", 1):
        return "spatial=0 unsupported; requires 1: statistics per channel"
    return None


def dropout_is_inactive(node: Node) -> str | None:
    """Inference mode: training_mode is absent or false, nothing reads the mask"""
    mode = node.input(2)
    if mode is not None and (mode.const is None or bool(np.any(mode.const))):
        return "training_mode may be true; requires false: export the model for inference"
    return "output mask is read; requires a model that reads only the first output" if node.has_output(1) else None


def operand_is_per_channel(node: Node) -> str | None:
    """A constant is single, per channel or broadcasts with a map; two tensors have one shape or are maps that do"""
    a, b = node.input(0), node.input(1)
    if a is None or b is None:
        return "has fewer than 2 inputs; requires 2"
    if not all(v.known or v.is_computed for v in (a, b)):
        return None
    if a.is_activation and b.is_activation:
        return _shapes_of_two(node, a.shape, b.shape)
    const, other = (a, b) if b.is_activation else (b, a)
    if const.shape is None or other.shape is None:
        return None
    if len(other.shape) == 4:
        return _beside_a_map(const.shape, other.shape)
    if node.op_type == "Div" and b.is_activation and math.prod(const.shape) > 1:
        return "divides a constant of several numbers; requires a single one, or a map [1,C,H,W]"
    if sum(d > 1 for d in const.shape) > 1:
        return f"constant operand of shape {text(const.shape)} unsupported; requires one value, or one per channel"
    if len(const.shape) > len(other.shape):
        return (
            f"constant operand of shape {text(const.shape)} unsupported; requires at most {len(other.shape)} dimensions"
        )
    return None


def _beside_a_map(const: tuple[int, ...], other: tuple[int, ...]) -> str | None:
    """What is wrong with the shape of a constant that meets a map."""
    if len(const) > 4 or (1, 1, 1, 1, *const)[-4] != 1:
        return f"constant operand of shape {text(const)} unsupported; requires at most the dimensions [1,C,H,W]"
    try:
        np.broadcast_shapes(const, other)
    except ValueError:
        return f"combines shapes {text(const)} and {text(other)}; requires extents that are equal or 1"
    return None


def _shapes_of_two(node: Node, a: tuple[int, ...] | None, b: tuple[int, ...] | None) -> str | None:
    """What is wrong with the shapes of two computed operands."""
    if a is None or b is None or a == b:
        return None
    try:
        whole = tuple(np.broadcast_shapes(a, b))
    except ValueError:
        return f"combines shapes {text(a)} and {text(b)}; requires extents that are equal or 1"
    if len(a) == len(b) == 4 or (node.op_type == "Mul" and whole in (a, b)):
        return None
    return f"combines shapes {text(a)} and {text(b)}; requires one shape, maps [1,C,H,W], or a constant operand"


def constants_are_per_channel(node: Node) -> str | None:
    """Constants are single, per channel or broadcast with maps; others are such maps, or depend on one tensor"""
    shapes = [v.shape for v in node.inputs if v is not None and v.is_activation and v.shape is not None]
    for value in node.inputs:
        if value is None or value.shape is None or not shapes:
            continue
        if value.is_activation:
            if (reason := _shapes_of_two(node, shapes[0], value.shape)) is not None:
                return reason
            continue
        if len(shapes[0]) == 4:
            if (reason := _beside_a_map(value.shape, shapes[0])) is not None:
                return reason
            continue
        aligned = (1,) * (len(shapes[0]) - len(value.shape)) + value.shape
        wrong = len(aligned) > len(shapes[0]) or any(d != 1 for i, d in enumerate(aligned) if i != 1)
        if wrong and math.prod(value.shape) != 1:
            return f"constant operand of shape {text(value.shape)} unsupported; requires one value, or one per channel"
    return None


def divisor_is_not_zero(node: Node) -> str | None:
    """A constant divisor holds no zero"""
    divisor = node.const(1)
    if divisor is not None and not np.all(divisor):
        return "divides by zero; requires a divisor without zeros"
    return None


def operands_are_computed(node: Node) -> str | None:
    """No operand is a constant, but for constant maps [1,C,H,W] beside others"""
    for value in node.inputs:
        if value is not None and not value.is_activation and len(value.shape or ()) != 4:
            return f"operand {_name(value)} is a constant; requires tensors computed from the model's input"
    return None


def second_matrix_is_constant(node: Node) -> str | None:
    """The second operand is a constant matrix"""
    b = node.input(1)
    if b is None or b.is_computed:
        return "second operand is computed from the model's input, as in attention; requires a constant matrix"
    if b.shape is not None and len(b.shape) != 2:
        return f"second operand of shape {text(b.shape)} unsupported; requires a constant matrix"
    return None


def rows_are_one(node: Node) -> str | None:
    """The first operand is a vector [1,K] (MatMul: or a map [1,H,W,K])"""
    shape = node.shape()
    if shape is None:
        return None
    if node.flag("transA"):
        shape = shape[::-1]
    if len(shape) == 2 and shape[0] == 1:
        return None
    if node.op_type == "MatMul" and len(shape) == 4 and shape[0] == 1:
        return None
    return f"first operand of shape {text(shape)} unsupported; requires [1,K]"


def pads_fit(node: Node) -> str | None:
    """mode is constant, or edge, reflect or wrap of maps without negative pads; pads leave the batch axis alone"""
    mode = node.attr("mode", "constant")
    if mode not in ("constant", "edge", "reflect", "wrap"):
        return f"mode={mode} unsupported; requires constant, edge, reflect or wrap"
    pads = node.parameter_ints("pads", 1)
    if pads is None:
        return None  # parameters_are_constant has said it
    if mode != "constant" and min(pads, default=0) < 0:
        return f"mode={mode} with pads {text(pads)} unsupported; requires non-negative pads"
    shape = node.shape()
    if shape is not None:
        axes = node.axes("axes", 3, len(shape)) or tuple(range(len(shape)))
        if len(pads) != 2 * len(axes):
            return f"pads={text(pads)} for {len(axes)} axes; requires {2 * len(axes)} values"
        sides = [(a, pads[i], pads[i + len(axes)]) for i, a in enumerate(axes)]
        if any(a == 0 and (before or after) for a, before, after in sides):
            return "pads the batch axis; requires pads on C, H or W"
        if any(min(before, 0) + min(after, 0) + shape[a] < 1 for a, before, after in sides):
            return f"pads={text(pads)} leave nothing of {text(shape)}; requires a value that stays on each axis"
        if mode != "constant":
            return _repeating_pads(mode, shape, axes, pads)
    return None


def _repeating_pads(mode: str, shape: tuple[int, ...], axes: Sequence[int], pads: Sequence[int]) -> str | None:
    """What is wrong with pads that repeat values of the tensor."""
    if len(shape) != 4:
        return f"mode={mode} of a tensor {text(shape)} unsupported; requires a map [N,C,H,W]"
    for i, axis in enumerate(axes):
        most = max(pads[i], pads[i + len(axes)])
        if mode != "edge" and most >= shape[axis] + (mode == "wrap"):
            return f"mode={mode} with pads {text(pads)} of {text(shape)}; requires pads below the extents"
    return None


def cast_is_between_floats(node: Node) -> str | None:
    """Converts between floating-point types (converting constants is always possible)"""
    import onnx

    to = int(node.attr("to", 0))
    dtype = (
        np.dtype(onnx.helper.tensor_dtype_to_np_dtype(to)) if to in onnx.TensorProto.DataType.values() and to else None
    )
    if dtype is None or not is_float(dtype):
        return f"converts to {dtype if dtype is not None else to}; requires a floating-point type"
    return None


def quantised_to_8_bits(node: Node) -> str | None:
    """int8 or uint8 (int32 constants as biases), scales positive, per tensor or per axis, no blocks"""
    if int(node.attr("block_size", 0)):
        return f"block_size={node.attr('block_size')} unsupported; requires per-tensor or per-axis scales"
    value, scale, zero_point = node.input(0), node.const(1), node.const(2)
    if scale is not None and not (np.all(np.isfinite(scale)) and np.all(scale > 0)):
        return "has scales that are not positive; requires positive scales"
    if node.op_type == "QuantizeLinear":
        to = int(node.attr("output_dtype", 0))
        dtype = (
            zero_point.dtype
            if zero_point is not None
            else {0: np.dtype(np.uint8), 2: np.dtype(np.uint8), 3: np.dtype(np.int8)}.get(to)
        )
        if dtype is None or dtype.name not in ("int8", "uint8"):
            return f"quantises to {dtype if dtype is not None else to}; requires int8 or uint8"
        return None
    if value is not None and value.dtype is not None:
        allowed = ("int8", "uint8") if value.is_activation else ("int8", "uint8", "int32")
        if value.dtype.name not in allowed:
            return f"dequantises {value.dtype}; requires {' or '.join(allowed)}"
    return None


def scale_shape_matches(node: Node) -> str | None:
    """Scale and zero point are scalars, or vectors along `axis`"""
    shape, scale, zero = node.shape(), node.const(1), node.const(2)
    if scale is not None and zero is not None and zero.size not in (1, scale.size):
        return f"{zero.size} zero points for {scale.size} scales; requires one for each scale"
    if shape is None or scale is None or scale.size == 1:
        return None
    axis = node.axis(1, len(shape))
    if scale.ndim != 1 or not 0 <= axis < len(shape) or scale.shape[0] != shape[axis]:
        return (
            f"scale of shape {text(scale.shape)} for axis {axis} of {text(shape)}; requires one scale, or one per index"
        )
    return None


def shape_is_constant(node: Node) -> str | None:
    """The new shape is a constant"""
    value = node.input(1)
    if value is not None and value.is_computed:
        return f"shape {_name(value)} is computed from the model's input; requires a constant"
    return None
