"""What the operations of the `onnx` dialect share: attributes and shapes as plain values, the base operation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, ClassVar, Self, TypeAlias, cast

from numpy.typing import NDArray
from xdsl.dialects.builtin import FloatAttr, TensorType, f32, i64
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import IRDLOperation, ParsePropInAttrDict
from xdsl.rewriter import Rewriter
from xdsl.utils.exceptions import VerifyException

from dialects.attributes import integer
from dialects.locations import describe

Array: TypeAlias = NDArray[Any]
Shape = tuple[int, ...]


def tensor_of(value: SSAValue) -> TensorType[Attribute]:
    """Tensor type of a value."""
    result = cast("TensorType[Attribute]", value.type)
    assert isinstance(result, TensorType)
    return result


def shape_of(value: SSAValue) -> Shape:
    """Static shape of a tensor value."""
    return tensor_of(value).get_shape()


def extent_of(value: SSAValue) -> tuple[int, int]:
    """Rows and columns of a tensor [N, C, H, W]."""
    _, _, h, w = shape_of(value)
    return h, w


def element_of(value: SSAValue) -> Attribute:
    """Element type of a tensor value."""
    return tensor_of(value).element_type


def float_attr(value: float) -> FloatAttr:
    """`value : f32`."""
    return FloatAttr(float(value), f32)


ONE = integer(1)
ZERO = integer(0)


class StorageRule(Enum):
    """How the result of an operation is stored in 8 bits."""

    NONE = "it has no counterpart on the machine"
    REQUANTISED = "its integer result is rounded into any storage, with clamps at no cost"
    PRESERVED = "it moves bytes: the result is stored as the operand"
    GATHERED = "it puts operands into one tensor, which may be stored as the result is"
    TABLE = "a table gives each byte another"
    PRESCRIBED = "the model says how"
    HOST = "the host computes it in floating point at an output"


class OnnxOp(IRDLOperation, ABC):
    """Base of all operations of the dialect: one tensor result whose type `infer` computes."""

    LEVEL: ClassVar[str] = "onnx"
    """The level that operations of the class belong to, whatever their dialect."""
    STORAGE: ClassVar[StorageRule] = StorageRule.NONE
    QUANTISED_FORM: ClassVar[str] = ""
    """Lazy name "module:function": `function(emitter, op)` appends the operations of level `esc` for it."""
    TORCH_FORM: ClassVar[str] = ""
    """Lazy name "module:function": `function(op)` gives what the operation computes on torch tensors."""
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
        OnnxOp.__init__(op, self._slots(operands), self.properties | dict(properties or {}))
        op.location = self.location
        return op

    def _slots(self, operands: Sequence[SSAValue]) -> list[SSAValue | Sequence[SSAValue] | None]:
        """One entry for each operand declared; those missing at the end are None."""
        return [*operands, *[None] * (len(self.get_irdl_definition().operands) - len(operands))]

    def compute(self, args: Sequence[Array]) -> Array:
        """The result on NumPy arrays, float32 [N, ...] with any batch N, from those of all operands."""
        raise TypeError(f"no interpretation of {self.name}")

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


LOWEST = -3e38
"""A float that tensors hold no value below."""


class PadsItself(OnnxOp, ABC):
    """An operation of windows over H and W of its first operand, with `pads` [top, left, bottom, right] of its own."""

    ZERO_PADS: ClassVar[bool]
    """Whether the padded values count as zeros."""

    @abstractmethod
    def with_pads(self, extra: Sequence[int], value: float, least: float) -> Mapping[str, Attribute] | None:
        """Properties with which the operation on a map is what it is now on the map with `extra` rows and columns of a
        value around it; None if there are none. No value of the map is below `least`.
        """


def float_shape(value: SSAValue, what: str = "input") -> Shape:
    if element_of(value) != f32:
        raise ValueError(f"{what} has type {value.type}; requires elements of f32")
    return shape_of(value)


def moved_tensor(value: SSAValue, shape: Shape) -> TensorType[Attribute]:
    """The type of floats or of indices (i64) that are moved into another shape."""
    if element_of(value) not in (f32, i64):
        raise ValueError(f"input has type {value.type}; requires elements of f32 or i64")
    return TensorType(element_of(value), shape)


def f32_tensor(shape: Shape) -> TensorType[Attribute]:
    return TensorType(f32, shape)
