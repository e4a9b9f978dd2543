"""The `onnx` dialect: the imported graph, NCHW, one operation per ONNX node under the ONNX operator's name.

Attribute names are those of ONNX (and of onnx-mlir's dialect of the same name). What ONNX lets a model give as an
optional constant input (bounds of Clip, axes of Slice, Pad, ReduceMean, ...; scale and zero point of QuantizeLinear) is
an attribute here. Weights stay operands, fed by `onnx.Constant`, in QDQ models by `onnx.Constant` ->
`onnx.DequantizeLinear`. Absent optional operands are simply missing. Shapes are static; each operation infers its
result type from operands and attributes, and its verifier checks that.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import DenseArrayBase, FloatAttr, IntegerAttr, TensorType, f32, i8, i32, i64
from xdsl.ir import Attribute, Dialect, Operation, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    ParsePropInAttrDict,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.rewriter import Rewriter
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from dialects import onnx_shapes as shapes
from dialects.blob import DenseAttr, u8
from dialects.locations import describe

Shape = tuple[int, ...]


def tensor_of(value: SSAValue) -> TensorType[Attribute]:
    """Tensor type of a value."""
    result = cast("TensorType[Attribute]", value.type)
    assert isinstance(result, TensorType)
    return result


def shape_of(value: SSAValue) -> Shape:
    """Static shape of a tensor value."""
    return tensor_of(value).get_shape()


def element_of(value: SSAValue) -> Attribute:
    """Element type of a tensor value."""
    return tensor_of(value).element_type


def ints(attr: DenseArrayBase[Any]) -> Shape:
    """Plain integers of an `array<i64: ...>`."""
    return tuple(int(v) for v in attr.get_values())


def i64_array(values: Sequence[int]) -> DenseArrayBase:
    """`array<i64: ...>` from plain integers."""
    return DenseArrayBase.from_list(i64, [int(v) for v in values])


def int_attr(value: int) -> IntegerAttr:
    """`value : i64`."""
    return IntegerAttr(int(value), i64)


def float_attr(value: float) -> FloatAttr:
    """`value : f32`."""
    return FloatAttr(float(value), f32)


ONE = int_attr(1)
ZERO = int_attr(0)


class OnnxOp(IRDLOperation, ABC):
    """Base of all operations of the dialect: one tensor result whose type `infer` computes."""

    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "operands attr-dict `:` functional-type(operands, results)"

    def __init__(
        self,
        operands: Sequence[SSAValue | Sequence[SSAValue] | None],
        properties: Mapping[str, Attribute | None] | None = None,
    ):
        given = dict(properties or {})
        # In the order of declaration, however they were given: equal operations print equally.
        given = {name: given[name] for name in self.get_irdl_definition().properties if given.get(name) is not None}
        super().__init__(operands=operands, result_types=[TensorType(f32, ())], properties=given)
        try:
            Rewriter.replace_value_with_new_type(self.results[0], self.infer())
        except ValueError as error:
            self.drop_all_references()
            raise VerifyException(str(error)) from error

    def on(self, operands: Sequence[SSAValue], properties: Mapping[str, Attribute] | None = None) -> Self:
        """The same operation on other operands, with some properties changed; result type inferred, location kept."""
        op = object.__new__(type(self))
        slots: list[SSAValue | Sequence[SSAValue] | None] = [operands] if isinstance(self, ConcatOp) else [*operands]
        slots += [None] * (len(self.get_irdl_definition().operands) - len(slots))
        OnnxOp.__init__(op, slots, self.properties | dict(properties or {}))
        op.location = self.location
        return op

    @abstractmethod
    def infer(self) -> TensorType[Attribute]:
        """Result type. Raises ValueError with the reason when operands and attributes do not fit together."""

    def verify_(self) -> None:
        try:
            want = self.infer()
        except ValueError as error:
            raise VerifyException(f"{describe(self)}: {error}") from error
        if self.results[0].type != want:
            raise VerifyException(f"{describe(self)}: result must be {want}, found {self.results[0].type}")


def _float(value: SSAValue, what: str = "input") -> Shape:
    if element_of(value) != f32:
        raise ValueError(f"{what} has type {value.type}; requires elements of f32")
    return shape_of(value)


def _f32_tensor(shape: Shape) -> TensorType[Attribute]:
    return TensorType(f32, shape)


@irdl_op_definition
class ConstantOp(OnnxOp):
    """A constant tensor."""

    name = "onnx.Constant"
    value = prop_def(DenseAttr)
    output = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = "attr-dict `:` type($output)"

    def __init__(self, value: NDArray[np.generic] | DenseAttr):
        super().__init__([], {"value": value if isinstance(value, DenseAttr) else DenseAttr.of(value)})

    def infer(self) -> TensorType[Attribute]:
        return self.value.type


class UnaryOp(OnnxOp, ABC):
    """Elementwise: one tensor of f32 in, one of the same type out."""

    input = operand_def(TensorType)
    output = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(self, x: SSAValue, properties: Mapping[str, Attribute | None] | None = None):
        super().__init__([x], properties)

    def infer(self) -> TensorType[Attribute]:
        return _f32_tensor(_float(self.input))


@irdl_op_definition
class IdentityOp(UnaryOp):
    """y = x. Conversions between floating-point types are imported as this: everything is widened to f32."""

    name = "onnx.Identity"


@irdl_op_definition
class DropoutOp(UnaryOp):
    """y = x: dropout of a network that is not training."""

    name = "onnx.Dropout"


@irdl_op_definition
class ReluOp(UnaryOp):
    """y = max(x, 0)."""

    name = "onnx.Relu"


@irdl_op_definition
class LeakyReluOp(UnaryOp):
    """y = x if x >= 0 else alpha * x."""

    name = "onnx.LeakyRelu"
    alpha = prop_def(FloatAttr, default_value=float_attr(0.01))


@irdl_op_definition
class ClipOp(UnaryOp):
    """y = min(max(x, min), max); a missing bound does not bound."""

    name = "onnx.Clip"
    min = opt_prop_def(FloatAttr)
    max = opt_prop_def(FloatAttr)

    @classmethod
    def of(cls, x: SSAValue, low: float, high: float) -> ClipOp:
        """From bounds that may be infinite."""
        return cls(
            x,
            {
                "min": float_attr(low) if math.isfinite(low) else None,
                "max": float_attr(high) if math.isfinite(high) else None,
            },
        )

    @property
    def low(self) -> float:
        """Lower bound, -inf if there is none."""
        return -math.inf if self.min is None else self.min.value.data

    @property
    def high(self) -> float:
        """Upper bound, +inf if there is none."""
        return math.inf if self.max is None else self.max.value.data


@irdl_op_definition
class SigmoidOp(UnaryOp):
    """y = 1 / (1 + exp(-x))."""

    name = "onnx.Sigmoid"


@irdl_op_definition
class HardSigmoidOp(UnaryOp):
    """y = min(max(alpha * x + beta, 0), 1)."""

    name = "onnx.HardSigmoid"
    alpha = prop_def(FloatAttr, default_value=float_attr(0.2))
    beta = prop_def(FloatAttr, default_value=float_attr(0.5))


@irdl_op_definition
class HardSwishOp(UnaryOp):
    """y = x * min(max(x / 6 + 0.5, 0), 1)."""

    name = "onnx.HardSwish"


@irdl_op_definition
class TanhOp(UnaryOp):
    """y = tanh(x)."""

    name = "onnx.Tanh"


@irdl_op_definition
class EluOp(UnaryOp):
    """y = x if x >= 0 else alpha * (exp(x) - 1)."""

    name = "onnx.Elu"
    alpha = prop_def(FloatAttr, default_value=float_attr(1.0))


@irdl_op_definition
class SoftmaxOp(UnaryOp):
    """y = exp(x) / sum of exp(x) along `axis`."""

    name = "onnx.Softmax"
    axis = prop_def(IntegerAttr)

    def infer(self) -> TensorType[Attribute]:
        shapes.axis_in(self.axis.value.data, len(_float(self.input)))
        return super().infer()


class BinaryOp(OnnxOp, ABC):
    """Elementwise of two tensors of f32 with NumPy broadcasting."""

    lhs = operand_def(TensorType)
    rhs = operand_def(TensorType)
    output = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(self, lhs: SSAValue, rhs: SSAValue):
        super().__init__([lhs, rhs])

    def infer(self) -> TensorType[Attribute]:
        return _f32_tensor(shapes.broadcast(_float(self.lhs, "lhs"), _float(self.rhs, "rhs")))


@irdl_op_definition
class AddOp(BinaryOp):
    """y = lhs + rhs."""

    name = "onnx.Add"


@irdl_op_definition
class SubOp(BinaryOp):
    """y = lhs - rhs."""

    name = "onnx.Sub"


@irdl_op_definition
class MulOp(BinaryOp):
    """y = lhs * rhs."""

    name = "onnx.Mul"


@irdl_op_definition
class DivOp(BinaryOp):
    """y = lhs / rhs."""

    name = "onnx.Div"


@irdl_op_definition
class ConvOp(OnnxOp):
    """2-D convolution, NCHW: `weight` [M, C/group, kH, kW], `bias` [M], `pads` [top, left, bottom, right] of zeros."""

    name = "onnx.Conv"
    input = operand_def(TensorType)
    weight = operand_def(TensorType)
    bias = opt_operand_def(TensorType)
    kernel_shape = prop_def(DenseArrayBase)
    strides = prop_def(DenseArrayBase, default_value=i64_array([1, 1]))
    pads = prop_def(DenseArrayBase, default_value=i64_array([0, 0, 0, 0]))
    dilations = prop_def(DenseArrayBase, default_value=i64_array([1, 1]))
    group = prop_def(IntegerAttr, default_value=ONE)
    output = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(
        self,
        x: SSAValue,
        weight: SSAValue,
        bias: SSAValue | None = None,
        *,
        strides: Sequence[int] = (1, 1),
        pads: Sequence[int] = (0, 0, 0, 0),
        group: int = 1,
    ):
        properties = {
            "kernel_shape": i64_array(shape_of(weight)[2:]),
            "strides": i64_array(strides),
            "pads": i64_array(pads),
            "group": int_attr(group),
        }
        super().__init__([x, weight, bias], properties)

    def infer(self) -> TensorType[Attribute]:
        w = _float(self.weight, "weight")
        if ints(self.dilations) != (1, 1):
            raise ValueError(f"dilations={list(ints(self.dilations))}; requires [1,1]")
        result = shapes.conv(_float(self.input), w, ints(self.strides), ints(self.pads), self.group.value.data)
        if ints(self.kernel_shape) != w[2:]:
            raise ValueError(f"kernel_shape={list(ints(self.kernel_shape))} does not fit weight {list(w)}")
        if self.bias is not None and _float(self.bias, "bias") != (w[0],):
            raise ValueError(f"bias has shape {list(shape_of(self.bias))}; requires [{w[0]}]")
        return _f32_tensor(result)


@irdl_op_definition
class BatchNormalizationOp(OnnxOp):
    """Inference: y = (x - mean) / sqrt(var + epsilon) * scale + bias, each parameter a vector over axis 1."""

    name = "onnx.BatchNormalization"
    input = operand_def(TensorType)
    scale = operand_def(TensorType)
    bias = operand_def(TensorType)
    mean = operand_def(TensorType)
    var = operand_def(TensorType)
    epsilon = prop_def(FloatAttr, default_value=float_attr(1e-5))
    output = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(self, x: SSAValue, parameters: Sequence[SSAValue], epsilon: float):
        super().__init__([x, *parameters], {"epsilon": float_attr(epsilon)})

    def infer(self) -> TensorType[Attribute]:
        x = _float(self.input)
        for name, p in (("scale", self.scale), ("bias", self.bias), ("mean", self.mean), ("var", self.var)):
            if len(x) < 2 or _float(p, name) != (x[1],):
                raise ValueError(f"{name} has shape {list(shape_of(p))}; requires one value per channel of {list(x)}")
        return _f32_tensor(x)


@irdl_op_definition
class GemmOp(OnnxOp):
    """y = alpha * a' @ b' + beta * c; a' and b' transposed as `transA`, `transB` say, c broadcast to the result."""

    name = "onnx.Gemm"
    lhs = operand_def(TensorType)
    rhs = operand_def(TensorType)
    bias = opt_operand_def(TensorType)
    alpha = prop_def(FloatAttr, default_value=float_attr(1.0))
    beta = prop_def(FloatAttr, default_value=float_attr(1.0))
    transA = prop_def(IntegerAttr, default_value=ZERO)
    transB = prop_def(IntegerAttr, default_value=ZERO)
    output = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(
        self,
        lhs: SSAValue,
        rhs: SSAValue,
        bias: SSAValue | None = None,
        *,
        alpha: float = 1.0,
        beta: float = 1.0,
        trans_a: bool = False,
        trans_b: bool = False,
    ):
        properties = {
            "alpha": float_attr(alpha),
            "beta": float_attr(beta),
            "transA": int_attr(trans_a),
            "transB": int_attr(trans_b),
        }
        super().__init__([lhs, rhs, bias], properties)

    def infer(self) -> TensorType[Attribute]:
        a, b = _float(self.lhs, "lhs"), _float(self.rhs, "rhs")
        result = shapes.gemm(a, b, bool(self.transA.value.data), bool(self.transB.value.data))
        if self.bias is not None and shapes.broadcast(_float(self.bias, "bias"), result) != result:
            raise ValueError(
                f"bias has shape {list(shape_of(self.bias))}; requires one that broadcasts to {list(result)}"
            )
        return _f32_tensor(result)


@irdl_op_definition
class MatMulOp(OnnxOp):
    """Matrix product of the last two axes, the others broadcast."""

    name = "onnx.MatMul"
    lhs = operand_def(TensorType)
    rhs = operand_def(TensorType)
    output = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(self, lhs: SSAValue, rhs: SSAValue):
        super().__init__([lhs, rhs])

    def infer(self) -> TensorType[Attribute]:
        return _f32_tensor(shapes.matmul(_float(self.lhs, "lhs"), _float(self.rhs, "rhs")))


class PoolOp(OnnxOp, ABC):
    """Windows over H and W; `pads` [top, left, bottom, right]; `ceil_mode` rounds the output extent up."""

    input = operand_def(TensorType)
    kernel_shape = prop_def(DenseArrayBase)
    strides = prop_def(DenseArrayBase, default_value=i64_array([1, 1]))
    pads = prop_def(DenseArrayBase, default_value=i64_array([0, 0, 0, 0]))
    ceil_mode = prop_def(IntegerAttr, default_value=ZERO)
    output = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(
        self,
        x: SSAValue,
        kernel_shape: Sequence[int],
        strides: Sequence[int] = (1, 1),
        pads: Sequence[int] = (0, 0, 0, 0),
        ceil_mode: bool = False,
        properties: Mapping[str, Attribute] | None = None,
    ):
        geometry = {
            "kernel_shape": i64_array(kernel_shape),
            "strides": i64_array(strides),
            "pads": i64_array(pads),
            "ceil_mode": int_attr(ceil_mode),
        }
        super().__init__([x], geometry | dict(properties or {}))

    def infer(self) -> TensorType[Attribute]:
        kernel, strides, pads = ints(self.kernel_shape), ints(self.strides), ints(self.pads)
        return _f32_tensor(shapes.pool(_float(self.input), kernel, strides, pads, bool(self.ceil_mode.value.data)))


@irdl_op_definition
class MaxPoolOp(PoolOp):
    """Maximum over the positions of each window that lie inside the input."""

    name = "onnx.MaxPool"


@irdl_op_definition
class AveragePoolOp(PoolOp):
    """Mean over each window: of its positions inside the input, or inside the padded input with `count_include_pad`."""

    name = "onnx.AveragePool"
    count_include_pad = prop_def(IntegerAttr, default_value=ZERO)

    @classmethod
    def of(
        cls,
        x: SSAValue,
        kernel_shape: Sequence[int],
        strides: Sequence[int] = (1, 1),
        pads: Sequence[int] = (0, 0, 0, 0),
        ceil_mode: bool = False,
        count_include_pad: bool = False,
    ) -> AveragePoolOp:
        """From plain values."""
        return cls(x, kernel_shape, strides, pads, ceil_mode, {"count_include_pad": int_attr(count_include_pad)})


class GlobalPoolOp(OnnxOp, ABC):
    """Reduction of [N,C,H,W] over H and W to [N,C,1,1]."""

    input = operand_def(TensorType)
    output = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(self, x: SSAValue):
        super().__init__([x])

    def infer(self) -> TensorType[Attribute]:
        n, c, _, _ = shapes.rank4(_float(self.input))
        return _f32_tensor((n, c, 1, 1))


@irdl_op_definition
class GlobalAveragePoolOp(GlobalPoolOp):
    """Mean over H and W."""

    name = "onnx.GlobalAveragePool"


@irdl_op_definition
class GlobalMaxPoolOp(GlobalPoolOp):
    """Maximum over H and W."""

    name = "onnx.GlobalMaxPool"


@irdl_op_definition
class ReduceMeanOp(OnnxOp):
    """Mean over `axes`, which stay with extent 1 when `keepdims` is 1."""

    name = "onnx.ReduceMean"
    input = operand_def(TensorType)
    axes = prop_def(DenseArrayBase)
    keepdims = prop_def(IntegerAttr, default_value=ONE)
    output = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(self, x: SSAValue, axes: Sequence[int], keepdims: bool):
        super().__init__([x], {"axes": i64_array(axes), "keepdims": int_attr(keepdims)})

    def infer(self) -> TensorType[Attribute]:
        return _f32_tensor(shapes.reduce(_float(self.input), ints(self.axes), bool(self.keepdims.value.data)))


@irdl_op_definition
class ConcatOp(OnnxOp):
    """Concatenation along `axis`."""

    name = "onnx.Concat"
    inputs = var_operand_def(TensorType)
    axis = prop_def(IntegerAttr)
    output = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(self, inputs: Sequence[SSAValue], axis: int):
        super().__init__([list(inputs)], {"axis": int_attr(axis)})

    def infer(self) -> TensorType[Attribute]:
        return _f32_tensor(shapes.concat([_float(x) for x in self.inputs], self.axis.value.data))


@irdl_op_definition
class SliceOp(OnnxOp):
    """y = x[start:end:step] along each of `axes`; 0 <= start < end <= extent, positive steps."""

    name = "onnx.Slice"
    input = operand_def(TensorType)
    starts = prop_def(DenseArrayBase)
    ends = prop_def(DenseArrayBase)
    axes = prop_def(DenseArrayBase)
    steps = prop_def(DenseArrayBase)
    output = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(
        self, x: SSAValue, starts: Sequence[int], ends: Sequence[int], axes: Sequence[int], steps: Sequence[int]
    ):
        values = {"starts": starts, "ends": ends, "axes": axes, "steps": steps}
        super().__init__([x], {n: i64_array(v) for n, v in values.items()})

    def infer(self) -> TensorType[Attribute]:
        bounds = (ints(self.starts), ints(self.ends), ints(self.axes), ints(self.steps))
        return _f32_tensor(shapes.slice_(_float(self.input), *bounds))


@irdl_op_definition
class PadOp(OnnxOp):
    """x surrounded by `constant_value`: `pads` lists the extent before each axis, then the extent after each."""

    name = "onnx.Pad"
    input = operand_def(TensorType)
    pads = prop_def(DenseArrayBase)
    constant_value = prop_def(FloatAttr, default_value=float_attr(0.0))
    output = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(self, x: SSAValue, pads: Sequence[int], constant_value: float = 0.0):
        super().__init__([x], {"pads": i64_array(pads), "constant_value": float_attr(constant_value)})

    def infer(self) -> TensorType[Attribute]:
        return _f32_tensor(shapes.pad(_float(self.input), ints(self.pads)))


@irdl_op_definition
class ReshapeOp(OnnxOp):
    """The same elements in row-major order under the static `shape`."""

    name = "onnx.Reshape"
    input = operand_def(TensorType)
    shape = prop_def(DenseArrayBase)
    output = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(self, x: SSAValue, shape: Sequence[int]):
        super().__init__([x], {"shape": i64_array(shape)})

    def infer(self) -> TensorType[Attribute]:
        return _f32_tensor(shapes.reshape(_float(self.input), ints(self.shape)))


@irdl_op_definition
class FlattenOp(OnnxOp):
    """Matrix of the axes before `axis` by those from it on."""

    name = "onnx.Flatten"
    input = operand_def(TensorType)
    axis = prop_def(IntegerAttr, default_value=ONE)
    output = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(self, x: SSAValue, axis: int = 1):
        super().__init__([x], {"axis": int_attr(axis)})

    def infer(self) -> TensorType[Attribute]:
        return _f32_tensor(shapes.flatten(_float(self.input), self.axis.value.data))


@irdl_op_definition
class SqueezeOp(OnnxOp):
    """Drops `axes`, which have extent 1."""

    name = "onnx.Squeeze"
    input = operand_def(TensorType)
    axes = prop_def(DenseArrayBase)
    output = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(self, x: SSAValue, axes: Sequence[int]):
        super().__init__([x], {"axes": i64_array(axes)})

    def infer(self) -> TensorType[Attribute]:
        return _f32_tensor(shapes.squeeze(_float(self.input), ints(self.axes)))


@irdl_op_definition
class UnsqueezeOp(OnnxOp):
    """Inserts axes of extent 1 so that they stand at `axes` of the result."""

    name = "onnx.Unsqueeze"
    input = operand_def(TensorType)
    axes = prop_def(DenseArrayBase)
    output = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(self, x: SSAValue, axes: Sequence[int]):
        super().__init__([x], {"axes": i64_array(axes)})

    def infer(self) -> TensorType[Attribute]:
        return _f32_tensor(shapes.unsqueeze(_float(self.input), ints(self.axes)))


@irdl_op_definition
class TransposeOp(OnnxOp):
    """Axis i of the result is axis perm[i] of the input."""

    name = "onnx.Transpose"
    input = operand_def(TensorType)
    perm = prop_def(DenseArrayBase)
    output = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(self, x: SSAValue, perm: Sequence[int]):
        super().__init__([x], {"perm": i64_array(perm)})

    def infer(self) -> TensorType[Attribute]:
        return _f32_tensor(shapes.transpose(_float(self.input), ints(self.perm)))


def _quantisation(x: Shape, scale: DenseAttr, zero_point: DenseAttr, axis: int) -> None:
    s = scale.array
    if scale.type.element_type != f32 or not np.all(s.astype(np.float32) > 0):
        raise ValueError("scale must be positive f32")
    if s.shape != zero_point.array.shape:
        raise ValueError(f"scale {list(s.shape)} and zero_point {list(zero_point.array.shape)} differ in shape")
    if s.ndim > 1 or (s.ndim == 1 and s.shape[0] != x[shapes.axis_in(axis, len(x))]):
        raise ValueError(f"scale {list(s.shape)} is neither a scalar nor one value per index of axis {axis}")


@irdl_op_definition
class QuantizeLinearOp(OnnxOp):
    """y = saturate(round_half_even(x / scale) + zero_point); per tensor, or per index of `axis` with vectors.

    `scale` f32 and `zero_point` (i8 or ui8: the type of the result) are scalars `[]` or vectors of one length.
    """

    name = "onnx.QuantizeLinear"
    input = operand_def(TensorType)
    scale = prop_def(DenseAttr)
    zero_point = prop_def(DenseAttr)
    axis = prop_def(IntegerAttr, default_value=ONE)
    output = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(self, x: SSAValue, scale: NDArray[np.generic], zero_point: NDArray[np.generic], axis: int = 1):
        values = {"scale": DenseAttr.of(scale), "zero_point": DenseAttr.of(zero_point), "axis": int_attr(axis)}
        super().__init__([x], values)

    def infer(self) -> TensorType[Attribute]:
        x = _float(self.input)
        _quantisation(x, self.scale, self.zero_point, self.axis.value.data)
        if self.zero_point.type.element_type not in (i8, u8):
            raise ValueError(f"zero_point has type {self.zero_point.type}; requires elements of i8 or ui8")
        return TensorType(self.zero_point.type.element_type, x)


@irdl_op_definition
class DequantizeLinearOp(OnnxOp):
    """y = (x - zero_point) * scale; per tensor, or per index of `axis` with vectors. x, zero_point: i8, ui8 or i32."""

    name = "onnx.DequantizeLinear"
    input = operand_def(TensorType)
    scale = prop_def(DenseAttr)
    zero_point = prop_def(DenseAttr)
    axis = prop_def(IntegerAttr, default_value=ONE)
    output = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(self, x: SSAValue, scale: NDArray[np.generic], zero_point: NDArray[np.generic], axis: int = 1):
        values = {"scale": DenseAttr.of(scale), "zero_point": DenseAttr.of(zero_point), "axis": int_attr(axis)}
        super().__init__([x], values)

    def infer(self) -> TensorType[Attribute]:
        x = shape_of(self.input)
        _quantisation(x, self.scale, self.zero_point, self.axis.value.data)
        element = element_of(self.input)
        if element not in (i8, u8, i32) or self.zero_point.type.element_type != element:
            raise ValueError(
                f"input {self.input.type} and zero_point {self.zero_point.type}; requires both of i8, ui8 or i32"
            )
        return _f32_tensor(x)


OPS: list[type[Operation]] = [
    ConstantOp,
    IdentityOp,
    DropoutOp,
    ReluOp,
    LeakyReluOp,
    ClipOp,
    SigmoidOp,
    HardSigmoidOp,
    HardSwishOp,
    TanhOp,
    EluOp,
    SoftmaxOp,
    AddOp,
    SubOp,
    MulOp,
    DivOp,
    ConvOp,
    BatchNormalizationOp,
    GemmOp,
    MatMulOp,
    MaxPoolOp,
    AveragePoolOp,
    GlobalAveragePoolOp,
    GlobalMaxPoolOp,
    ReduceMeanOp,
    ConcatOp,
    SliceOp,
    PadOp,
    ReshapeOp,
    FlattenOp,
    SqueezeOp,
    UnsqueezeOp,
    TransposeOp,
    QuantizeLinearOp,
    DequantizeLinearOp,
]

Onnx = Dialect("onnx", OPS, [])
