"""Operations of the `esc` dialect that are the stages of a decomposed convolution."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import DenseArrayBase, IntegerAttr, TensorType, i32, i64
from xdsl.ir import SSAValue
from xdsl.irdl import (
    ParsePropInAttrDict,
    irdl_op_definition,
    operand_def,
    prop_def,
    result_def,
    traits_def,
)
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from dialects.attributes import i64_array, ints
from dialects.blob import DenseAttr
from dialects.esc_base import (
    AccumulatorOp,
    Array,
    EscOp,
    Flow,
    Mask,
    Tie,
    check_element,
    check_nhwc,
    check_shift,
    check_window,
    linear_bounds,
    q_of,
    shape_of,
    window_output,
)
from isa import reference
from isa.levels import COEFFICIENT_VALUES, greatest_level, wrong_coefficients


@irdl_op_definition
class CoeffCombineOp(EscOp):
    """Coefficient stage: ic[y,x,k,v] = saturate_icbits((sum_c T[k,v,c] * input[y,x,c] + round) >> ic_shift), round
    half up.

    `coefficients` int8 [K][V][C], 0 or of magnitude 1, 2 or 4; the result is tensor<1xHxWxKxVxi32> holding
    `ic_bits`-bit values.
    """

    name = "esc.coeff_combine"
    SOLE_READER: ClassVar[str] = "esc.basis_conv2d"
    input = operand_def(TensorType)
    coefficients = prop_def(DenseAttr)
    ic_shift = prop_def(IntegerAttr)
    ic_bits = prop_def(IntegerAttr)
    output = result_def(TensorType)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$input attr-dict `:` type($input) `->` type($output)"

    def __init__(self, x: SSAValue, coefficients: NDArray[np.generic], ic_shift: int, ic_bits: int):
        _, h, w, _ = shape_of(x)
        k, v, _ = coefficients.shape
        super().__init__(
            operands=[x],
            result_types=[TensorType(i32, (1, h, w, k, v))],
            properties={
                "coefficients": DenseAttr.of(coefficients),
                "ic_shift": IntegerAttr(ic_shift, i64),
                "ic_bits": IntegerAttr(ic_bits, i64),
            },
        )

    @property
    def level(self) -> int:
        """The greatest magnitude of a coefficient; 1 where all are 0."""
        return greatest_level(self.coefficients.array)

    @property
    def basis_stage(self) -> BasisConv2dOp | None:
        """The basis stage that alone reads the result; None if there is none, or another operation reads it too."""
        readers = [use.operation for use in self.output.uses]
        return readers[0] if len(readers) == 1 and isinstance(readers[0], BasisConv2dOp) else None

    def compute(self, args: Sequence[Array]) -> Array:
        return reference.coeff_combine(
            args[0], self.coefficients.array, self.ic_shift.value.data, self.ic_bits.value.data
        )

    def needed_channels(self, wanted: Mask) -> Iterator[tuple[SSAValue, Mask]]:
        return iter(()) if self.basis_stage is not None else super().needed_channels(wanted)

    def channel_ties(self) -> Iterator[Tie]:
        return iter(())

    def pinned_channels(self) -> Sequence[SSAValue]:
        return () if self.basis_stage is not None else super().pinned_channels()

    def verify_(self) -> None:
        _, h, w, c = check_nhwc(self.input, "input")
        q_of(self.input)
        check_element(self.output, i32, "output")
        t = self.coefficients.array
        if t.dtype != np.int8 or t.ndim != 3 or t.shape[2] != c:
            raise VerifyException(f"coefficients must be int8[K,V,{c}], found {t.dtype}{list(t.shape)}")
        if wrong := wrong_coefficients(t):
            raise VerifyException(f"coefficients must be {COEFFICIENT_VALUES}, found {wrong[0]}")
        check_shift(self.ic_shift, "ic_shift", 0, 31)
        check_shift(self.ic_bits, "ic_bits", 8, 24)
        if shape_of(self.output) != (1, h, w, *t.shape[:2]):
            raise VerifyException(f"output must be {[1, h, w, *t.shape[:2]]}, found {list(shape_of(self.output))}")


@irdl_op_definition
class BasisConv2dOp(AccumulatorOp):
    """Basis stage, int32: acc[y,x,k] = sum basis[v,r,s] * ic[y*sy-pt+r, x*sx-pl+s, k, v]; `basis` int8 [V][R][S]."""

    name = "esc.basis_conv2d"
    TORCH_FORM: ClassVar[str] = "escc.training.forms.decomposed:decomposed"
    TRAINED_FORM: ClassVar[str] = "escc.training.forms.decomposed:trained"
    ONNX_FORM: ClassVar[str] = "escc.onnx_export.forms.decomposed:decomposed"
    input = operand_def(TensorType)
    basis = prop_def(DenseAttr)
    strides = prop_def(DenseArrayBase)
    pads = prop_def(DenseArrayBase)
    output = result_def(TensorType)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$input attr-dict `:` type($input) `->` type($output)"

    def __init__(self, ic: SSAValue, basis: NDArray[np.generic], strides: Sequence[int], pads: Sequence[int]):
        _, h, w, k, _ = shape_of(ic)
        _, r, s = basis.shape
        oh = window_output(h, r, strides[0], pads[0], pads[2])
        ow = window_output(w, s, strides[1], pads[1], pads[3])
        super().__init__(
            operands=[ic],
            result_types=[TensorType(i32, (1, oh, ow, k))],
            properties={"basis": DenseAttr.of(basis), "strides": i64_array(strides), "pads": i64_array(pads)},
        )

    @property
    def kernel(self) -> tuple[int, int]:
        """Rows and columns of the window."""
        _, r, s = self.basis.array.shape
        return r, s

    @property
    def window(self) -> tuple[Sequence[int], Sequence[int]]:
        return ints(self.strides), ints(self.pads)

    @property
    def dense_weights(self) -> int:
        first = self.input.owner
        if not isinstance(first, CoeffCombineOp):
            return 0
        k, _, c = first.coefficients.array.shape
        return k * c * self.basis.array[0].size

    @property
    def stored_weights(self) -> Sequence[Array]:
        first = self.input.owner
        return [first.coefficients.array, self.basis.array] if isinstance(first, CoeffCombineOp) else []

    @property
    def coefficient_level(self) -> int | None:
        first = self.input.owner
        return first.level if isinstance(first, CoeffCombineOp) else None

    @property
    def stages(self) -> list[EscOp]:
        first = self.input.owner
        return [first, self] if isinstance(first, CoeffCombineOp) else [self]

    @property
    def intermediate_bits(self) -> int:
        first = self.input.owner
        return first.ic_bits.value.data if isinstance(first, CoeffCombineOp) else 0

    @property
    def coefficient_stage(self) -> CoeffCombineOp | None:
        """The coefficient stage of which this is the only reader; None if the input comes from elsewhere, or another
        operation reads it too.
        """
        first = self.input.owner
        return first if isinstance(first, CoeffCombineOp) and first.output.has_one_use() else None

    @property
    def accumulator_bounds(self) -> tuple[Array, Array]:
        """Smallest and largest accumulator int64 [K] that any input can cause, windows over the padding included."""
        combine = self.input.owner
        k, v = shape_of(self.input)[3:]
        if isinstance(combine, CoeffCombineOp):
            q = q_of(combine.input)
            bits, shift = combine.ic_bits.value.data, combine.ic_shift.value.data
            limit = 1 << (bits - 1)
            bounds = linear_bounds(combine.coefficients.array, q.low, q.high)
            rounding = (1 << shift) >> 1
            low, high = (np.clip((b + rounding) >> shift, -limit, limit - 1) for b in bounds)
        else:
            least, most = reference.INT32_LOW, reference.INT32_HIGH
            low, high = np.full((k, v), least, np.int64), np.full((k, v), most, np.int64)
        # A tap over the padding reads 0, so 0 belongs to every interval.
        low, high = np.minimum(low, 0), np.maximum(high, 0)
        basis = self.basis.array.reshape(v, -1).astype(np.int64)
        positive, negative = np.maximum(basis, 0).sum(axis=1), np.minimum(basis, 0).sum(axis=1)
        return (low * positive + high * negative).sum(axis=1), (high * positive + low * negative).sum(axis=1)

    def compute(self, args: Sequence[Array]) -> Array:
        return reference.basis_conv2d(args[0], self.basis.array, ints(self.strides), ints(self.pads))

    def accumulate(self, x: Array) -> Array:
        """Both stages; as one convolution where nothing can saturate or round, which spares the large intermediate."""
        first = self.input.owner
        if not isinstance(first, CoeffCombineOp) or not self._is_exact(first):
            return super().accumulate(x)
        kernels = reference.expanded(first.coefficients.array, self.basis.array)
        return reference.conv2d(x, kernels, ints(self.strides), ints(self.pads))

    def _is_exact(self, first: CoeffCombineOp) -> bool:
        """Whether no intermediate value is rounded or saturates, and no accumulator leaves int32, for any input."""
        q, limit = q_of(first.input), 1 << (first.ic_bits.value.data - 1)
        least, most = linear_bounds(first.coefficients.array, q.low, q.high)
        bottom, top = self.accumulator_bounds
        return (
            first.ic_shift.value.data == 0
            and bool((least >= -limit).all() and (most < limit).all())
            and bool((bottom >= reference.INT32_LOW).all() and (top <= reference.INT32_HIGH).all())
        )

    def structure_faults(self) -> Iterator[str]:
        yield from super().structure_faults()
        if not isinstance(self.input.owner, CoeffCombineOp):
            yield "its input is not computed by esc.coeff_combine"

    def _useful(self, first: CoeffCombineOp) -> Mask:
        """[K, V, C]: coefficients that are not 0 and whose basis is not 0."""
        basis = np.asarray(self.basis.array.reshape(len(self.basis.array), -1).astype(np.bool_).any(axis=1))
        return first.coefficients.array.astype(np.bool_) & basis[None, :, None]

    def needed_channels(self, wanted: Mask) -> Iterator[tuple[SSAValue, Mask]]:
        first = self.coefficient_stage
        if first is None:
            yield from super().needed_channels(wanted)
        else:
            yield first.input, np.asarray(self._useful(first)[wanted].any(axis=(0, 1)))

    def channel_ties(self) -> Iterator[Tie]:
        return iter(())

    def pinned_channels(self) -> Sequence[SSAValue]:
        return () if self.coefficient_stage is not None else (self.output,)

    def drop_channels(self, flow: Flow) -> bool:
        first = self.coefficient_stage
        if first is None:
            return False
        t = first.coefficients.array.astype(np.int8)
        t[~self._useful(first)] = 0
        t[~flow.needed[self.output]] = 0
        t[..., flow.zero[first.input]] = 0
        t = t[flow.kept[self.output]][..., flow.kept[first.input]]
        bases = np.asarray(t.any(axis=(0, 2)))
        bases[0] |= not bases.any()
        t = t[:, bases]
        if np.array_equal(t, first.coefficients.array):
            return False
        first.coefficients = DenseAttr.of(t)
        self.basis = DenseAttr.of(self.basis.array[bases])
        flow.reshape(first.output, t.shape[:2])
        return True

    def verify_(self) -> None:
        shape = shape_of(self.input)
        if len(shape) != 5:
            raise VerifyException(f"input must be tensor<1xHxWxKxVxi32>, found {self.input.type}")
        check_element(self.input, i32, "input")
        check_element(self.output, i32, "output")
        (sy, sx), (pt, pl, pb, pr) = check_window(self.strides, self.pads)
        b = self.basis.array
        if b.dtype != np.int8 or b.ndim != 3 or b.shape[0] != shape[4]:
            raise VerifyException(f"basis must be int8[{shape[4]},R,S], found {b.dtype}{list(b.shape)}")
        want = (
            1,
            window_output(shape[1], b.shape[1], sy, pt, pb),
            window_output(shape[2], b.shape[2], sx, pl, pr),
            shape[3],
        )
        if shape_of(self.output) != want:
            raise VerifyException(f"output must be {list(want)}, found {list(shape_of(self.output))}")
