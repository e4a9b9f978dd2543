"""Poolings of the `onnx` dialect."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import DenseArrayBase, IntegerAttr, TensorType
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def, traits_def
from xdsl.traits import Pure

from dialects import onnx_shapes as shapes
from dialects.attributes import i64_array, integer, ints
from dialects.interpreters import kernels
from dialects.onnx_base import (
    ONE,
    ZERO,
    Array,
    OnnxOp,
    PadsItself,
    StorageRule,
    extent_of,
    f32_tensor,
    float_shape,
)


def _windows(
    x: Array, kernel: Sequence[int], strides: Sequence[int], pads: Sequence[int], extent: tuple[int, int], value: float
) -> list[Array]:
    """One strided view of the padded x for each tap of the window, each [N,C,*extent]."""
    (kh, kw), (sy, sx), (oh, ow) = kernel, strides, extent
    top, left, _, _ = pads
    bottom = max((oh - 1) * sy + kh - top - x.shape[2], 0)  # with ceil_mode more than the declared padding
    right = max((ow - 1) * sx + kw - left - x.shape[3], 0)
    p = kernels.padded(x, (top, left, bottom, right), value)
    return [
        p[:, :, r : r + (oh - 1) * sy + 1 : sy, s : s + (ow - 1) * sx + 1 : sx] for r in range(kh) for s in range(kw)
    ]


def max_pool(
    x: Array, kernel: Sequence[int], strides: Sequence[int], pads: Sequence[int], extent: tuple[int, int]
) -> Array:
    """Maximum over the positions of each window inside x."""
    if tuple(kernel) == x.shape[2:] and not any(pads):
        return x.max(axis=(2, 3), keepdims=True)
    first, *rest = _windows(x, kernel, strides, pads, extent, -np.inf)
    out = first.copy()
    for taps in rest:
        np.maximum(out, taps, out=out)
    return out


def counted(
    size: int, kernel: int, stride: int, before: int, after: int, out: int, include_pad: bool
) -> NDArray[np.int64]:
    """How many positions each window of one axis counts: those inside the input, or inside the padded input."""
    start = np.arange(out) * stride - before
    low, high = (-before, size + after) if include_pad else (0, size)
    return np.minimum(start + kernel, high) - np.maximum(start, low)


def average_pool(
    x: Array,
    kernel: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
    extent: tuple[int, int],
    count_include_pad: bool,
) -> Array:
    """Mean over each window."""
    if tuple(kernel) == x.shape[2:] and not any(pads):
        return x.mean(axis=(2, 3), keepdims=True, dtype=np.float32)
    first, *rest = _windows(x, kernel, strides, pads, extent, 0.0)
    out = first.copy()
    for taps in rest:
        out += taps
    rows, columns = (
        counted(x.shape[2 + i], kernel[i], strides[i], pads[i], pads[2 + i], extent[i], count_include_pad)
        for i in (0, 1)
    )
    out /= np.multiply.outer(rows, columns).astype(np.float32)
    return out


class PoolOp(PadsItself, ABC):
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
            "ceil_mode": integer(ceil_mode),
        }
        super().__init__([x], geometry | dict(properties or {}))

    def infer(self) -> TensorType[Attribute]:
        kernel, strides, pads = ints(self.kernel_shape), ints(self.strides), ints(self.pads)
        return f32_tensor(shapes.pool(float_shape(self.input), kernel, strides, pads, bool(self.ceil_mode.value.data)))

    def _more_pads(self, extra: Sequence[int]) -> dict[str, Attribute] | None:
        """The pads with `extra` around them; None if a window would lie in them."""
        pads = [a + b for a, b in zip(ints(self.pads), extra, strict=True)]
        inside = all(p < k for p, k in zip(pads, ints(self.kernel_shape) * 2, strict=True))
        return {"pads": i64_array(pads)} if inside else None


@irdl_op_definition
class MaxPoolOp(PoolOp):
    """Maximum over the positions of each window that lie inside the input."""

    name = "onnx.MaxPool"
    ZERO_PADS: ClassVar[bool] = False
    STORAGE: ClassVar[StorageRule] = StorageRule.PRESERVED
    QUANTISED_FORM: ClassVar[str] = "passes.quantization.forms.pools:maximum"
    TORCH_FORM: ClassVar[str] = "escc.training.forms.pools:float_maximum"

    def compute(self, args: Sequence[Array]) -> Array:
        kernel, strides, pads = ints(self.kernel_shape), ints(self.strides), ints(self.pads)
        return max_pool(args[0], kernel, strides, pads, extent_of(self.output))

    def with_pads(self, extra: Sequence[int], value: float, least: float) -> Mapping[str, Attribute] | None:
        return self._more_pads(extra) if value <= least else None  # a window must not see a padded value win


@irdl_op_definition
class AveragePoolOp(PoolOp):
    """Mean over each window: of its positions inside the input, or inside the padded input with `count_include_pad`."""

    name = "onnx.AveragePool"
    ZERO_PADS: ClassVar[bool] = True
    STORAGE: ClassVar[StorageRule] = StorageRule.REQUANTISED
    QUANTISED_FORM: ClassVar[str] = "passes.quantization.forms.pools:average"
    TORCH_FORM: ClassVar[str] = "escc.training.forms.pools:float_average"
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
        return cls(x, kernel_shape, strides, pads, ceil_mode, {"count_include_pad": integer(count_include_pad)})

    def compute(self, args: Sequence[Array]) -> Array:
        kernel, strides, pads = ints(self.kernel_shape), ints(self.strides), ints(self.pads)
        include_pad = bool(self.count_include_pad.value.data)
        return average_pool(args[0], kernel, strides, pads, extent_of(self.output), include_pad)

    def with_pads(self, extra: Sequence[int], value: float, least: float) -> Mapping[str, Attribute] | None:
        pads = self._more_pads(extra)
        counted_alike = not any(ints(self.pads)) or bool(self.count_include_pad.value.data)
        return {**pads, "count_include_pad": ONE} if pads and value == 0 and counted_alike else None


class GlobalPoolOp(OnnxOp, ABC):
    """Reduction of [N,C,H,W] over H and W to [N,C,1,1]."""

    input = operand_def(TensorType)
    output = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(self, x: SSAValue):
        super().__init__([x])

    def infer(self) -> TensorType[Attribute]:
        n, c, _, _ = shapes.rank4(float_shape(self.input))
        return f32_tensor((n, c, 1, 1))


@irdl_op_definition
class GlobalAveragePoolOp(GlobalPoolOp):
    """Mean over H and W."""

    name = "onnx.GlobalAveragePool"

    def compute(self, args: Sequence[Array]) -> Array:
        return args[0].mean(axis=(2, 3), keepdims=True, dtype=np.float32)


@irdl_op_definition
class GlobalMaxPoolOp(GlobalPoolOp):
    """Maximum over H and W."""

    name = "onnx.GlobalMaxPool"

    def compute(self, args: Sequence[Array]) -> Array:
        return args[0].max(axis=(2, 3), keepdims=True)


def most_of_blocks(x: SSAValue, blocks: Sequence[int]) -> OnnxOp:
    """The maximum of each block of positions [rows, columns]."""
    return MaxPoolOp(x, blocks, blocks)


def mean_of_blocks(x: SSAValue, blocks: Sequence[int]) -> OnnxOp:
    """The mean of each block of positions [rows, columns]."""
    return AveragePoolOp.of(x, blocks, blocks)


CHOOSING = ("MaxPool",)
"""Operators of ONNX whose results are values of their operand."""
