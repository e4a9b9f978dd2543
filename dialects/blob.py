"""The `blob` dialect: tensor constants as bytes, shared by every level.

`#blob.dense<16x3x3x3xf32, "0x...">` holds the little-endian row-major bytes of a tensor; small ones print and parse as
readable lists: `#blob.dense<2x2xi8, [1, -2, 3, 4]>`. Element lists of big tensors are never built.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import (
    BytesAttr,
    FloatAttr,
    IntegerType,
    Signedness,
    TensorType,
    f16,
    f32,
    f64,
    i1,
    i8,
    i16,
    i32,
    i64,
)
from xdsl.ir import Attribute, Dialect, ParametrizedAttribute
from xdsl.irdl import irdl_attr_definition, param_def
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from dialects.attributes import double

u8 = IntegerType(8, Signedness.UNSIGNED)

_DTYPES: dict[Attribute, np.dtype[np.generic]] = {
    f64: np.dtype("<f8"),
    f32: np.dtype("<f4"),
    f16: np.dtype("<f2"),
    i64: np.dtype("<i8"),
    i32: np.dtype("<i4"),
    i16: np.dtype("<i2"),
    i8: np.dtype("i1"),
    u8: np.dtype("u1"),
    i1: np.dtype("?"),
}
_ELEMENTS = {dtype: element for element, dtype in _DTYPES.items()}
_READABLE = 16


@irdl_attr_definition
class DenseAttr(ParametrizedAttribute):
    """A constant tensor: its type and its bytes."""

    name = "blob.dense"
    type: TensorType = param_def()
    data: BytesAttr = param_def()

    @classmethod
    def of(cls, array: NDArray[np.generic] | Sequence[int] | Sequence[float]) -> DenseAttr:
        """From an array of float16/32/64, int8/16/32/64, uint8 or bool. Raises TypeError on any other dtype."""
        a = np.asarray(array)
        dtype = a.dtype.newbyteorder("<")
        if dtype not in _ELEMENTS:
            raise TypeError(f"no blob element type for {a.dtype}")
        return cls(TensorType(_ELEMENTS[dtype], a.shape), BytesAttr(np.ascontiguousarray(a, dtype).tobytes()))

    @property
    def array(self) -> NDArray[np.generic]:
        """Read-only view of the tensor."""
        dtype = _DTYPES[self.type.element_type]
        return np.frombuffer(self.data.data, dtype).reshape(self.type.get_shape())

    def verify(self) -> None:
        dtype = _DTYPES.get(self.type.element_type)
        if dtype is None:
            raise VerifyException(f"blob.dense: element type {self.type.element_type} is not supported")
        shape = self.type.get_shape()
        if any(d < 0 for d in shape):
            raise VerifyException("blob.dense: shape must be static")
        want = prod(shape) * dtype.itemsize
        if len(self.data.data) != want:
            raise VerifyException(f"blob.dense: {len(self.data.data)} bytes given, {self.type} needs {want}")

    def print_parameters(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            for d in self.type.get_shape():
                printer.print_string(f"{d}x")
            printer.print_attribute(self.type.element_type)
            printer.print_string(", ")
            a = self.array
            if a.size <= _READABLE and bool(np.isfinite(a).all()):
                items = (double(float(v)) if a.dtype.kind == "f" else str(int(v)) for v in a.reshape(-1))
                printer.print_string("[" + ", ".join(items) + "]")
            else:
                printer.print_string('"0x' + self.data.data.hex() + '"')

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> Sequence[Attribute]:
        with parser.in_angle_brackets():
            shape, element = parser.parse_ranked_shape()
            tensor = TensorType(element, shape)
            parser.parse_punctuation(",")
            dtype = _DTYPES.get(element)
            if dtype is None:
                parser.raise_error(f"blob.dense: element type {element} is not supported")
            text = parser.parse_optional_str_literal()
            if text is not None:
                try:
                    data = bytes.fromhex(text.removeprefix("0x"))
                except ValueError:
                    parser.raise_error("blob.dense: data must be hexadecimal")
            else:
                numbers = parser.parse_comma_separated_list(
                    parser.Delimiter.SQUARE, lambda: parser.parse_number(allow_boolean=True)
                )
                data = _packed(parser, numbers, dtype)
        return (tensor, BytesAttr(data))


def _packed(parser: AttrParser, numbers: Sequence[int | float], dtype: np.dtype[np.generic]) -> bytes:
    """Bytes of the numbers of a list. One that the elements cannot hold is an error of the text."""
    if dtype.kind == "f":
        limit = float(np.finfo(dtype.name).max)
        wrong = next((n for n in numbers if not -limit <= n <= limit), None)
        known = f"a finite {dtype.name}"
    else:
        low, high = (0, 1) if dtype.kind == "b" else (int(np.iinfo(dtype.name).min), int(np.iinfo(dtype.name).max))
        wrong = next((n for n in numbers if not isinstance(n, int) or not low <= n <= high), None)
        known = f"an integer in {low}..{high}"
    if wrong is not None:
        parser.raise_error(f"blob.dense: {wrong!r:.40} is not {known}")
    return np.array(numbers, dtype).tobytes()


Blob = Dialect("blob", [], [DenseAttr])

__all__ = ["Blob", "DenseAttr", "FloatAttr", "u8"]
