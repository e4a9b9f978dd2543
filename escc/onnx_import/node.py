"""What the importer knows of a tensor and of a node: one view for constraints and converters, whatever the opset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import i64
from xdsl.ir import SSAValue

from dialects.onnx_base import element_of

Array = NDArray[Any]


@dataclass(frozen=True)
class Quantised:
    """The integers behind a constant DequantizeLinear: value = (data - zero_point) * scale along `axis`."""

    data: Array
    scale: Array
    zero_point: Array
    axis: int


@dataclass
class Value:
    """A tensor of the graph: a constant (`const`), an activation (`ssa`), or neither after a fault upstream."""

    name: str
    shape: tuple[int, ...] | None = None
    dtype: np.dtype[Any] | None = None
    const: Array | None = None
    quantised: Quantised | None = None
    origin: str = ""  # ONNX node, or initializer, that a constant comes from
    ssa: SSAValue | None = None
    from_input: bool = False  # of the result of a node at fault: whether the node reads the input of the model

    @classmethod
    def constant(cls, name: str, array: Array, origin: str, quantised: Quantised | None = None) -> Value:
        """A tensor known at import."""
        return cls(name, array.shape, array.dtype, array, quantised, origin)

    @property
    def known(self) -> bool:
        """Whether the import of everything upstream succeeded."""
        return self.const is not None or self.ssa is not None

    @property
    def is_computed(self) -> bool:
        """Whether it surely depends on the input of the model."""
        return self.const is None and (self.ssa is not None or self.from_input)

    @property
    def is_indices(self) -> bool:
        """Whether it is the result of an ArgMax or ArgMin."""
        return self.ssa is not None and element_of(self.ssa) == i64

    @property
    def is_activation(self) -> bool:
        """Whether it depends on the input of the model (or on a node that could not be imported)."""
        return self.const is None


def is_float(dtype: np.dtype[Any]) -> bool:
    """Whether a NumPy (or ml_dtypes) type is a floating-point type of 16 bits or more."""
    return dtype.kind == "f" or dtype.name == "bfloat16"


def text(values: Sequence[Any]) -> str:
    """`[2,2]`, as diagnostics print lists."""
    return "[" + ",".join(str(v) for v in values) + "]"


@dataclass
class Node:
    """An ONNX node with its inputs resolved. Absent optional inputs are None."""

    name: str
    op_type: str
    opset: int
    inputs: list[Value | None]
    outputs: list[str]  # "" for those that nothing reads
    attributes: dict[str, Any] = field(default_factory=lambda: dict[str, Any]())
    listed_outputs: int = 1  # those that nothing reads too

    def __str__(self) -> str:
        return f"node '{self.name}' ({self.op_type})"

    def input(self, index: int) -> Value | None:
        """Input number `index`, None when absent."""
        return self.inputs[index] if index < len(self.inputs) else None

    def shape(self, index: int = 0) -> tuple[int, ...] | None:
        """Shape of an input, None when absent or unknown."""
        value = self.input(index)
        return None if value is None else value.shape

    def const(self, index: int) -> Array | None:
        """Constant value of an input, None when absent or not constant."""
        value = self.input(index)
        return None if value is None else value.const

    def attr(self, name: str, default: Any = None) -> Any:
        """Attribute as plain Python value."""
        return self.attributes.get(name, default)

    def ints(self, name: str, default: Sequence[int] = ()) -> tuple[int, ...]:
        """Attribute that is a list of integers."""
        return tuple(int(v) for v in self.attributes.get(name, default))

    def flag(self, name: str, default: int = 0) -> bool:
        """Attribute that is 0 or 1."""
        return bool(self.attributes.get(name, default))

    def parameter(self, name: str, index: int) -> Array | None:
        """A parameter that old opsets keep in attribute `name`, newer in constant input `index`; None if absent."""
        if name in self.attributes:
            return np.asarray(self.attributes[name])
        return self.const(index)

    def parameter_ints(self, name: str, index: int) -> tuple[int, ...] | None:
        """`parameter` as integers."""
        value = self.parameter(name, index)
        return None if value is None else tuple(int(v) for v in value.reshape(-1))

    def axes(self, name: str, index: int, rank: int) -> tuple[int, ...] | None:
        """`parameter_ints` as non-negative axes of a tensor of `rank` dimensions."""
        values = self.parameter_ints(name, index)
        return None if values is None else tuple(v + rank if v < 0 else v for v in values)

    def axis(self, default: int, rank: int) -> int:
        """Attribute `axis`, non-negative."""
        value = int(self.attr("axis", default))
        return value + rank if value < 0 else value

    @property
    def is_known(self) -> bool:
        """Whether the import of everything that the node reads succeeded."""
        return all(v is None or v.known for v in self.inputs)

    @property
    def is_computed(self) -> bool:
        """Whether the node surely depends on the input of the model."""
        return any(v is not None and v.is_computed for v in self.inputs)

    def has_output(self, index: int) -> bool:
        """Whether an output is wanted: another node or the model's outputs read it."""
        return index < len(self.outputs) and bool(self.outputs[index])
