"""Operations of the `onnx` dialect that put the values of one tensor at other positions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from xdsl.dialects.builtin import DenseArrayBase, TensorType
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def, traits_def
from xdsl.traits import Pure

from dialects import onnx_shapes as shapes
from dialects.attributes import i64_array, ints
from dialects.onnx_base import Array, OnnxOp, StorageRule, f32_tensor, float_shape
from isa import reference


@irdl_op_definition
class TakeOp(OnnxOp):
    """Rows and columns of a map in any order and number: out[n,c,y,x] = in[n, c, rows[y], columns[x]]."""

    name = "onnx.Take"
    STORAGE: ClassVar[StorageRule] = StorageRule.PRESERVED
    QUANTISED_FORM: ClassVar[str] = "passes.quantization.forms.positions:take"
    TORCH_FORM: ClassVar[str] = "escc.training.forms.positions:taken"
    input = operand_def(TensorType)
    rows = prop_def(DenseArrayBase)
    columns = prop_def(DenseArrayBase)
    output = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(self, x: SSAValue, rows: Sequence[int], columns: Sequence[int]):
        super().__init__([x], {"rows": i64_array(rows), "columns": i64_array(columns)})

    def infer(self) -> TensorType[Attribute]:
        n, c, h, w = shapes.rank4(float_shape(self.input))
        rows, columns = ints(self.rows), ints(self.columns)
        for what, indices, size in (("rows", rows, h), ("columns", columns, w)):
            if not indices or not 0 <= min(indices) <= max(indices) < size:
                raise ValueError(f"{what}={list(indices)} are not all of [0, {size})")
        return f32_tensor((n, c, len(rows), len(columns)))

    def compute(self, args: Sequence[Array]) -> Array:
        return args[0][:, :, ints(self.rows)][:, :, :, ints(self.columns)]


@irdl_op_definition
class DepthToSpaceOp(OnnxOp):
    """Channels as positions: out[n, c, y*by + i, x*bx + j] = in[n, (i*bx + j)*C + c, y, x]; `blocks` is [by, bx]."""

    name = "onnx.DepthToSpace"
    STORAGE: ClassVar[StorageRule] = StorageRule.PRESERVED
    QUANTISED_FORM: ClassVar[str] = "passes.quantization.forms.positions:depth_to_space"
    TORCH_FORM: ClassVar[str] = "escc.training.forms.positions:depth_to_space"
    input = operand_def(TensorType)
    blocks = prop_def(DenseArrayBase)
    output = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(self, x: SSAValue, blocks: Sequence[int]):
        super().__init__([x], {"blocks": i64_array(blocks)})

    def infer(self) -> TensorType[Attribute]:
        n, c, h, w = shapes.rank4(float_shape(self.input))
        blocks = ints(self.blocks)
        if len(blocks) != 2 or min(blocks) < 1 or c % (blocks[0] * blocks[1]):
            raise ValueError(f"blocks={list(blocks)} do not divide {c} channels")
        by, bx = blocks
        return f32_tensor((n, c // (by * bx), h * by, w * bx))

    def compute(self, args: Sequence[Array]) -> Array:
        moved = reference.depth_to_space(args[0].transpose(0, 2, 3, 1), ints(self.blocks))
        return np.ascontiguousarray(moved.transpose(0, 3, 1, 2))
