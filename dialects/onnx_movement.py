"""Operations of the `onnx` dialect that move elements without changing them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from xdsl.dialects.builtin import DenseArrayBase, FloatAttr, IntegerAttr, TensorType
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def, traits_def, var_operand_def
from xdsl.traits import Pure

from dialects import onnx_shapes as shapes
from dialects.attributes import i64_array, integer, ints
from dialects.onnx_base import (
    ONE,
    Array,
    OnnxOp,
    StorageRule,
    f32_tensor,
    float_attr,
    float_shape,
    moved_tensor,
    shape_of,
)
from isa.reference import batched_shape


def _moved(x: Array, source: SSAValue, result: SSAValue, perm: Sequence[int] = ()) -> Array:
    """x transposed by `perm` and reshaped as the types say; of a batch, every sample by itself.

    A batch beyond the one that the types know takes the place of a first extent of 1, else it comes before it.
    """
    old, new = shape_of(source), shape_of(result)
    batch = x.size // max(math.prod(old), 1)
    samples = x.reshape(batch, *old)
    if perm:
        samples = samples.transpose(0, *(axis + 1 for axis in perm))
    return samples.reshape(new if batch == 1 else batched_shape(new, batch))


@irdl_op_definition
class ConcatOp(OnnxOp):
    """Concatenation along `axis`."""

    name = "onnx.Concat"
    STORAGE: ClassVar[StorageRule] = StorageRule.GATHERED
    QUANTISED_FORM: ClassVar[str] = "passes.quantization.forms.movement:concatenate"
    TORCH_FORM: ClassVar[str] = "escc.training.forms.float_movement:concatenation"
    inputs = var_operand_def(TensorType)
    axis = prop_def(IntegerAttr)
    output = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(self, inputs: Sequence[SSAValue], axis: int):
        super().__init__([list(inputs)], {"axis": integer(axis)})

    def _slots(self, operands: Sequence[SSAValue]) -> list[SSAValue | Sequence[SSAValue] | None]:
        return [operands]

    def infer(self) -> TensorType[Attribute]:
        return f32_tensor(shapes.concat([float_shape(x) for x in self.inputs], self.axis.value.data))

    def compute(self, args: Sequence[Array]) -> Array:
        return np.concatenate(args, axis=self.axis.value.data)


@irdl_op_definition
class SliceOp(OnnxOp):
    """y = x[start:end:step] along each of `axes`; 0 <= start < end <= extent, positive steps."""

    name = "onnx.Slice"
    STORAGE: ClassVar[StorageRule] = StorageRule.PRESERVED
    QUANTISED_FORM: ClassVar[str] = "passes.quantization.forms.movement:move"
    TORCH_FORM: ClassVar[str] = "escc.training.forms.float_movement:part"
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
        return f32_tensor(shapes.slice_(float_shape(self.input), *bounds))

    def compute(self, args: Sequence[Array]) -> Array:
        x = args[0]
        index = [slice(None)] * x.ndim
        bounds = zip(ints(self.starts), ints(self.ends), ints(self.axes), ints(self.steps), strict=True)
        for start, end, axis, step in bounds:
            index[axis] = slice(start, end, step)
        return x[tuple(index)]


@irdl_op_definition
class PadOp(OnnxOp):
    """x surrounded by `constant_value`: `pads` lists the extent before each axis, then the extent after each."""

    name = "onnx.Pad"
    STORAGE: ClassVar[StorageRule] = StorageRule.PRESERVED
    QUANTISED_FORM: ClassVar[str] = "passes.quantization.forms.movement:move"
    TORCH_FORM: ClassVar[str] = "escc.training.forms.float_movement:pad"
    input = operand_def(TensorType)
    pads = prop_def(DenseArrayBase)
    constant_value = prop_def(FloatAttr, default_value=float_attr(0.0))
    output = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(self, x: SSAValue, pads: Sequence[int], constant_value: float = 0.0):
        super().__init__([x], {"pads": i64_array(pads), "constant_value": float_attr(constant_value)})

    def infer(self) -> TensorType[Attribute]:
        return f32_tensor(shapes.pad(float_shape(self.input), ints(self.pads)))

    def compute(self, args: Sequence[Array]) -> Array:
        x, pads = args[0], ints(self.pads)
        widths = list(zip(pads[: x.ndim], pads[x.ndim :], strict=True))
        return np.pad(x, widths, constant_values=self.constant_value.value.data)


@irdl_op_definition
class ReshapeOp(OnnxOp):
    """The same elements in row-major order under the static `shape`."""

    name = "onnx.Reshape"
    STORAGE: ClassVar[StorageRule] = StorageRule.PRESERVED
    QUANTISED_FORM: ClassVar[str] = "passes.quantization.forms.movement:same_values"
    TORCH_FORM: ClassVar[str] = "escc.training.forms.float_movement:reshape"
    input = operand_def(TensorType)
    shape = prop_def(DenseArrayBase)
    output = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(self, x: SSAValue, shape: Sequence[int]):
        super().__init__([x], {"shape": i64_array(shape)})

    def infer(self) -> TensorType[Attribute]:
        return moved_tensor(self.input, shapes.reshape(shape_of(self.input), ints(self.shape)))

    def compute(self, args: Sequence[Array]) -> Array:
        return _moved(args[0], self.input, self.output)


@irdl_op_definition
class FlattenOp(OnnxOp):
    """Matrix of the axes before `axis` by those from it on."""

    name = "onnx.Flatten"
    input = operand_def(TensorType)
    axis = prop_def(IntegerAttr, default_value=ONE)
    output = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(self, x: SSAValue, axis: int = 1):
        super().__init__([x], {"axis": integer(axis)})

    def infer(self) -> TensorType[Attribute]:
        return moved_tensor(self.input, shapes.flatten(shape_of(self.input), self.axis.value.data))

    def compute(self, args: Sequence[Array]) -> Array:
        return _moved(args[0], self.input, self.output)


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
        return moved_tensor(self.input, shapes.squeeze(shape_of(self.input), ints(self.axes)))

    def compute(self, args: Sequence[Array]) -> Array:
        return _moved(args[0], self.input, self.output)


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
        return moved_tensor(self.input, shapes.unsqueeze(shape_of(self.input), ints(self.axes)))

    def compute(self, args: Sequence[Array]) -> Array:
        return _moved(args[0], self.input, self.output)


@irdl_op_definition
class TransposeOp(OnnxOp):
    """Axis i of the result is axis perm[i] of the input."""

    name = "onnx.Transpose"
    STORAGE: ClassVar[StorageRule] = StorageRule.PRESERVED
    QUANTISED_FORM: ClassVar[str] = "passes.quantization.forms.movement:same_values"
    TORCH_FORM: ClassVar[str] = "escc.training.forms.float_movement:transpose"
    input = operand_def(TensorType)
    perm = prop_def(DenseArrayBase)
    output = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(self, x: SSAValue, perm: Sequence[int]):
        super().__init__([x], {"perm": i64_array(perm)})

    def infer(self) -> TensorType[Attribute]:
        return f32_tensor(shapes.transpose(float_shape(self.input), ints(self.perm)))

    def compute(self, args: Sequence[Array]) -> Array:
        return _moved(args[0], self.input, self.output, ints(self.perm))
