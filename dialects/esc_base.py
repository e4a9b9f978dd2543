"""What the operations of the `esc` dialect share: the type of quantised tensors, checks of verifiers."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import DenseArrayBase, IntegerAttr, IntegerType, TensorType, i32
from xdsl.ir import Attribute, Data, SSAValue, TypeAttribute
from xdsl.irdl import (
    IRDLOperation,
    irdl_attr_definition,
)
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from dialects.attributes import double, ints
from dialects.blob import DenseAttr
from isa.reference import Addition

Array: TypeAlias = NDArray[Any]
Mask: TypeAlias = NDArray[np.bool_]


@irdl_attr_definition
class QType(Data[tuple[bool, float]], TypeAttribute):
    """8-bit activation with zero point 0: `!esc.q<u8, s>` or `!esc.q<i8, s>`; stored b means the real number b * s."""

    name = "esc.q"

    @classmethod
    def of(cls, signed: bool, scale: float) -> QType:
        return cls((bool(signed), float(scale)))

    @property
    def signed(self) -> bool:
        return self.data[0]

    @property
    def scale(self) -> float:
        return self.data[1]

    @property
    def low(self) -> int:
        """Smallest storable value."""
        return -128 if self.signed else 0

    @property
    def high(self) -> int:
        """Largest storable value."""
        return 127 if self.signed else 255

    @property
    def dtype(self) -> np.dtype[np.generic]:
        return np.dtype(np.int8 if self.signed else np.uint8)

    def verify(self) -> None:
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise VerifyException(f"esc.q: scale must be positive and finite, found {self.scale}")

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> tuple[bool, float]:
        with parser.in_angle_brackets():
            kind = parser.parse_identifier()
            if kind not in ("u8", "i8"):
                parser.raise_error(f"esc.q: expected u8 or i8, found {kind}")
            parser.parse_punctuation(",")
            return kind == "i8", float(parser.parse_number())

    def print_parameter(self, printer: Printer) -> None:
        printer.print_string(f"<{'i8' if self.signed else 'u8'}, {double(self.scale)}>")


def q_tensor(shape: Iterable[int], signed: bool, scale: float) -> TensorType[Attribute]:
    """Type of a quantised NHWC tensor."""
    return TensorType(QType.of(signed, scale), tuple(shape))


def tensor_type(value: SSAValue) -> TensorType[Attribute]:
    """Type of a tensor value. Raises VerifyException if it is none."""
    kind: Attribute = value.type
    if not isinstance(kind, TensorType):
        raise VerifyException(f"expected a tensor, found {kind}")
    return cast("TensorType[Attribute]", kind)


def shape_of(value: SSAValue) -> tuple[int, ...]:
    """Static shape of a tensor value. Raises VerifyException if it is no tensor."""
    return tensor_type(value).get_shape()


def q_of(value: SSAValue) -> QType:
    """Quantised element type of a tensor value. Raises VerifyException if it has another."""
    element = tensor_type(value).element_type
    if isinstance(element, QType):
        return element
    raise VerifyException(f"expected a tensor of !esc.q, found {value.type}")


def window_output(size: int, kernel: int, stride: int, before: int, after: int) -> int:
    """Output extent of a convolution window (floor)."""
    return (size + before + after - kernel) // stride + 1


def convolved_type(
    x: SSAValue, k: int, kernel: tuple[int, int], strides: Sequence[int], pads: Sequence[int]
) -> TensorType[Attribute]:
    """Type of the accumulators [1, OH, OW, K] of a convolution of x [1, H, W, C]; `pads` [top, left, bottom, right]."""
    _, h, w, _ = shape_of(x)
    oh = window_output(h, kernel[0], strides[0], pads[0], pads[2])
    ow = window_output(w, kernel[1], strides[1], pads[1], pads[3])
    return TensorType(i32, (1, oh, ow, k))


def check_nhwc(value: SSAValue, what: str) -> tuple[int, int, int, int]:
    """Extents [1, H, W, C] of a value. Raises VerifyException if it has no such type."""
    shape = shape_of(value)
    if len(shape) != 4 or shape[0] != 1 or min(shape) < 1:
        raise VerifyException(f"{what} must be a static tensor<1xHxWxC>, found {value.type}")
    return shape[0], shape[1], shape[2], shape[3]


def check_element(value: SSAValue, want: Attribute, what: str) -> None:
    """Raise VerifyException unless the value is a tensor of these elements."""
    if tensor_type(value).element_type != want:
        raise VerifyException(f"{what} must have elements of {want}, found {value.type}")


def check_same_shape(a: SSAValue, b: SSAValue, what: str) -> None:
    """Raise VerifyException unless both tensors have one shape."""
    if shape_of(a) != shape_of(b):
        raise VerifyException(f"{what}: shapes {shape_of(a)} and {shape_of(b)} differ")


def check_constant(attr: DenseAttr, dtype: str, shape: tuple[int, ...], what: str) -> NDArray[np.generic]:
    """Values of a constant. Raises VerifyException unless it has this dtype and shape."""
    a = attr.array
    if a.dtype != np.dtype(dtype) or a.shape != shape:
        raise VerifyException(f"{what} must be {dtype}{list(shape)}, found {a.dtype}{list(a.shape)}")
    return a


def check_window(
    strides: DenseArrayBase[Any], pads: DenseArrayBase[Any]
) -> tuple[tuple[int, int], tuple[int, int, int, int]]:
    """Strides [y, x] and pads [top, left, bottom, right]. Raises VerifyException if they are none."""
    st, pd = ints(strides), ints(pads)
    if len(st) != 2 or min(st) < 1:
        raise VerifyException(f"strides must be two positive integers, found {list(st)}")
    if len(pd) != 4 or min(pd) < 0:
        raise VerifyException(f"pads must be four non-negative integers [top, left, bottom, right], found {list(pd)}")
    return (st[0], st[1]), (pd[0], pd[1], pd[2], pd[3])


def check_shift(attr: IntegerAttr, what: str, low: int = 1, high: int = 62) -> None:
    """Raise VerifyException unless a shift lies in [low, high]."""
    if not low <= attr.value.data <= high:
        raise VerifyException(f"{what} must be in [{low}, {high}], found {attr.value.data}")


def check_clamp(lo: IntegerAttr, hi: IntegerAttr, q: QType) -> None:
    """Raise VerifyException unless [lo, hi] is a range of stored values of q."""
    if not q.low <= lo.value.data <= hi.value.data <= q.high:
        raise VerifyException(f"clamp [{lo.value.data}, {hi.value.data}] must lie in [{q.low}, {q.high}]")


def check_addition(a: Addition, q: QType) -> None:
    """Raise VerifyException unless the parameters of an addition are in range."""
    if not 1 <= a.shift <= 62:
        raise VerifyException(f"shift of the addition must be in [1, 62], found {a.shift}")
    for m in (a.mult_a, a.mult_b):
        if not 0 <= m < 1 << 31:
            raise VerifyException(f"multiplier must be in [0, 2^31), found {m}")
    if not q.low <= a.lo <= a.hi <= q.high:
        raise VerifyException(f"clamp [{a.lo}, {a.hi}] of the addition must lie in [{q.low}, {q.high}]")


class Tie(NamedTuple):
    """Channels of two values that must stay together: channel `left[i]` of `a` and channel `right[i]` of `b`."""

    a: SSAValue
    left: NDArray[np.int64]
    b: SSAValue
    right: NDArray[np.int64]


class Flow(Protocol):
    """What is known of the channels of a network, bool [C] for each NHWC value.

    `zero`: stored as 0 at every position for any input. `needed`: not `zero`, and some output of the model depends on
    it. `kept`: what stays when dead channels are dropped.
    """

    @property
    def zero(self) -> Mapping[SSAValue, Mask]: ...

    @property
    def needed(self) -> Mapping[SSAValue, Mask]: ...

    @property
    def kept(self) -> Mapping[SSAValue, Mask]: ...

    def reshape(self, value: SSAValue, extents: tuple[int, ...]) -> None:
        """Note that the last extents of a value are to become these."""
        ...


class EscOp(IRDLOperation):
    """Base of all operations of the dialect: what passes ask of an operation."""

    LEVEL: ClassVar[str] = "esc"
    """The level that operations of the class belong to, whatever their dialect."""
    SOLE_READER: ClassVar[str] = ""
    """Name of the operation that alone may read the result, where it is a stage of a convolution and no tensor."""
    TORCH_FORM: ClassVar[str] = ""
    """Lazy name "module:function": `function(op)` gives what the operation computes on torch tensors NCHW."""
    ONNX_FORM: ClassVar[str] = ""
    """Lazy name "module:function": `function(exporter, op)` adds the operation to an ONNX graph."""

    def compute(self, args: Sequence[Array]) -> Array:
        """The result on NumPy arrays of any batch size, from those of all operands."""
        raise TypeError(f"no interpretation of {self.name}")

    def structure_faults(self) -> Iterator[str]:
        """What is wrong with where the operation stands: accumulators never become tensors of their own."""
        users = [use.operation for result in self.results for use in result.uses]
        if self.SOLE_READER and (len(users) != 1 or users[0].name != self.SOLE_READER):
            yield f"its result has {len(users)} uses; requires exactly one, an {self.SOLE_READER}"

    def zero_channels(self, zero: Mapping[SSAValue, Mask]) -> Mask:
        """Channels of the result that are stored as 0 for any input, given those of the operands; bool [C]."""
        return np.zeros(channels_of(self.results[0]), np.bool_)

    def needed_channels(self, wanted: Mask) -> Iterator[tuple[SSAValue, Mask]]:
        """Channels that the wanted ones [C] of the result depend on: (operand, bool [C of the operand])."""
        return ((x, np.ones(channels_of(x), np.bool_)) for x in self.operands if has_channels(x))

    def maximum_over(self) -> int:
        """How many values of the input each value of the result is the maximum of; 1 where the operation takes none."""
        return 1

    def channel_ties(self) -> Iterator[Tie]:
        """Channels of operands and results that must stay together."""
        return iter(())

    def pinned_channels(self) -> Sequence[SSAValue]:
        """Operands and results that must keep all their channels."""
        return [v for v in (*self.operands, *self.results) if has_channels(v)]

    def drop_channels(self, flow: Flow) -> bool:
        """Leave only the kept channels in the constants of the operation; whether that changes their values."""
        return False


class FlowingOp(EscOp):
    """An operation that says by its ties which channels must stay together, and pins none."""

    def pinned_channels(self) -> Sequence[SSAValue]:
        return ()


class ChannelwiseOp(FlowingOp):
    """An operation whose result has, channel by channel, the channels of all its operands."""

    def needed_channels(self, wanted: Mask) -> Iterator[tuple[SSAValue, Mask]]:
        return ((x, wanted) for x in self.operands)

    def channel_ties(self) -> Iterator[Tie]:
        every = np.arange(channels_of(self.results[0]), dtype=np.int64)
        return (Tie(x, every, self.results[0], every) for x in self.operands)


class AccumulatorOp(FlowingOp, ABC):
    """An operation that computes int32 accumulators, which `esc.requantize` reads."""

    SOLE_READER: ClassVar[str] = "esc.requantize"
    TRAINED_FORM: ClassVar[str] = ""
    """Lazy name "module:function": `function(op, module, requantize)` gives the weight form of a trained module that
    `TORCH_FORM` has made. A convolution with a `TORCH_FORM` needs one, or it cannot be written back.
    """

    @property
    @abstractmethod
    def kernel(self) -> tuple[int, int]:
        """Rows and columns of the window."""

    @property
    @abstractmethod
    def window(self) -> tuple[Sequence[int], Sequence[int]]:
        """Strides [y, x] and pads [top, left, bottom, right]."""

    @property
    @abstractmethod
    def dense_weights(self) -> int:
        """Weights of the dense convolution that the operation computes or stands for."""

    @property
    @abstractmethod
    def stored_weights(self) -> Sequence[Array]:
        """The integers that are held for the weights: those that are coded, then small ones that are held as they are.

        Empty where the operation alone does not know them.
        """

    @property
    def coefficient_level(self) -> int | None:
        """The greatest magnitude of a coefficient of the coded weights; None if these are no coefficients."""
        return None

    @property
    def stages(self) -> list[EscOp]:
        """The operations from the layer's input to the accumulators, in order; this one comes last."""
        return [self]

    @property
    def intermediate_bits(self) -> int:
        """Width of the values between the stages; 0 where there is one stage."""
        return 0

    def accumulate(self, x: Array) -> Array:
        """The accumulators of all stages from the layer's input, on arrays of any batch size."""
        for stage in self.stages:
            x = stage.compute([x])
        return x

    @property
    @abstractmethod
    def accumulator_bounds(self) -> tuple[Array, Array]:
        """Smallest and largest accumulator int64 [K] that any input can cause, windows over the padding included."""


def check_convolved(op: AccumulatorOp, x: SSAValue, output: SSAValue, k: int) -> None:
    """Check that an output is [1, OH, OW, K], as the windows of a convolution of x [1, H, W, C] make it."""
    want = convolved_type(x, k, op.kernel, *op.window).get_shape()
    if shape_of(output) != want:
        raise VerifyException(f"output must be {list(want)}, found {list(shape_of(output))}")


def linear_bounds(coefficients: Array, low: int, high: int) -> tuple[Array, Array]:
    """Interval of sum coefficients * x over the last axis, for every x in [low, high]; int64."""
    c = coefficients.astype(np.int64)
    positive, negative = np.maximum(c, 0), np.minimum(c, 0)
    return (positive * low + negative * high).sum(axis=-1), (positive * high + negative * low).sum(axis=-1)


def extent_of(value: SSAValue) -> tuple[int, int]:
    """Rows and columns of an NHWC tensor."""
    _, h, w, _ = shape_of(value)
    return h, w


def channels_of(value: SSAValue) -> int:
    """Channels of an NHWC tensor."""
    return shape_of(value)[3]


def has_channels(value: SSAValue) -> bool:
    """Whether a value is an NHWC tensor, of bytes or of accumulators."""
    return isinstance(tensor_type(value).element_type, QType | IntegerType) and len(shape_of(value)) == 4
