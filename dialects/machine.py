"""What the levels that know the machine, `bfs` and `eisa`, share: target text, DRAM tensors, model ports, layer
facts.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from xdsl.dialects.builtin import (
    ArrayAttr,
    DenseArrayBase,
    FloatAttr,
    IntegerAttr,
    StringAttr,
    SymbolNameConstraint,
    UnitAttr,
    f64,
)
from xdsl.ir import Attribute
from xdsl.irdl import (
    IRDLOperation,
    ParsePropInAttrDict,
    opt_prop_def,
    prop_def,
    traits_def,
)
from xdsl.traits import SymbolOpInterface
from xdsl.utils.exceptions import VerifyException

from dialects.attributes import i64_array, integer, ints
from dialects.esc import QType
from isa.formats import TensorFormat
from isa.layout import TensorLayout
from isa.program import ArgMax
from isa.target import Target, installed_target, parse_target
from isa.target_files import TargetError

FORMATS = {"raw": TensorFormat.RAW, "bitmap": TensorFormat.BITMAP}


def strings(values: Sequence[str]) -> ArrayAttr[StringAttr]:
    """An array of strings."""
    return ArrayAttr([StringAttr(v) for v in values])


def floats(values: Sequence[float]) -> ArrayAttr[FloatAttr]:
    """An array of doubles."""
    return ArrayAttr([FloatAttr(v, f64) for v in values])


@lru_cache(maxsize=16)
def _parsed(text: str) -> Target:
    return parse_target(text, "target")


def checked_target(attr: StringAttr) -> Target:
    """The machine of a program: canonical text, or (hand-written modules) the name of an installed target.

    Raises VerifyException if there is no such machine.
    """
    try:
        return _parsed(attr.data) if "\n" in attr.data else installed_target(attr.data)
    except TargetError as e:
        raise VerifyException(str(e)) from e


class TensorDecl(IRDLOperation):
    """An activation tensor [h][w][c] in DRAM; `segment` is the number of positions of a line of a bitmap tensor."""

    sym_name = prop_def(SymbolNameConstraint())
    shape = prop_def(DenseArrayBase)
    element = prop_def(QType)
    format = prop_def(StringAttr)
    segment = prop_def(IntegerAttr)
    irdl_options = (ParsePropInAttrDict(),)
    traits = traits_def(SymbolOpInterface())

    @property
    def extents(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        h, w, c = ints(self.shape)
        return h, w, c

    @property
    def tensor_format(self) -> TensorFormat:
        return FORMATS[self.format.data]

    def layout(self, chunk: int) -> TensorLayout:
        """Geometry of the bytes in DRAM for a machine of this chunk."""
        return TensorLayout(*self.extents, self.tensor_format, self.segment.value.data, chunk)

    def verify_(self) -> None:
        shape = ints(self.shape)
        if len(shape) != 3 or min(shape) < 1:
            raise VerifyException(f"shape must be three positive extents [h, w, c], found {list(shape)}")
        if self.format.data not in FORMATS:
            raise VerifyException(f"format must be raw or bitmap, found '{self.format.data}'")
        if not 1 <= self.segment.value.data <= shape[1]:
            raise VerifyException(f"segment must be in 1..{shape[1]}, found {self.segment.value.data}")


class PortDecl(IRDLOperation):
    """An input or output of the model: the float shape that its user sees, and the tensor that holds its bytes.

    Both may be transposed (`view` and `perm`, as of `esc.dequantize`), inputs the other way. Inputs may say how an
    image becomes the tensor (`mean`, `std`, `channel_order`); outputs may end in a Softmax over `softmax_axis` of
    `shape`, computed by the host, or in its `logarithm`. With `arg_max_axis`, all this makes `scores`, a shape, and the
    output is the index of the largest along that axis: of equal ones the first, or with `arg_max_last` the last.
    """

    port_name = prop_def(StringAttr)
    shape = prop_def(DenseArrayBase)
    view = opt_prop_def(DenseArrayBase)
    perm = opt_prop_def(DenseArrayBase)
    softmax_axis = opt_prop_def(IntegerAttr)
    logarithm = opt_prop_def(UnitAttr)
    scores = opt_prop_def(DenseArrayBase)
    arg_max_axis = opt_prop_def(IntegerAttr)
    arg_max_last = opt_prop_def(UnitAttr)
    mean = opt_prop_def(ArrayAttr[FloatAttr])
    std = opt_prop_def(ArrayAttr[FloatAttr])
    channel_order = opt_prop_def(StringAttr)
    irdl_options = (ParsePropInAttrDict(),)

    @property
    def arg_max(self) -> ArgMax | None:
        """The choice that an output ends in, None if it is float."""
        if self.scores is None or self.arg_max_axis is None:
            return None
        return ArgMax(ints(self.scores), self.arg_max_axis.value.data, self.arg_max_last is not None)

    def verify_(self) -> None:
        parts = (self.scores, self.arg_max_axis, self.arg_max_last)
        if self.arg_max is None and any(part is not None for part in parts):
            raise VerifyException("an ArgMax needs both scores and arg_max_axis")


def port_properties(
    name: str,
    shape: Sequence[int],
    softmax_axis: int | None = None,
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    channel_order: str = "",
    view: Sequence[int] = (),
    perm: Sequence[int] = (),
    logarithm: bool = False,
    arg_max: ArgMax | None = None,
) -> dict[str, Attribute]:
    """Properties of a `PortDecl`; what is absent is left out."""
    properties: dict[str, Attribute] = {"port_name": StringAttr(name), "shape": i64_array(shape)}
    if perm:
        properties |= {"view": i64_array(view), "perm": i64_array(perm)}
    if softmax_axis is not None:
        properties["softmax_axis"] = integer(softmax_axis)
    if logarithm:
        properties["logarithm"] = UnitAttr()
    if arg_max is not None:
        properties |= {"scores": i64_array(arg_max.shape), "arg_max_axis": integer(arg_max.axis)}
        properties |= {"arg_max_last": UnitAttr()} if arg_max.last else {}
    if mean:
        properties["mean"] = floats(mean)
    if std:
        properties["std"] = floats(std)
    if channel_order:
        properties["channel_order"] = StringAttr(channel_order)
    return properties


def float_values(attr: ArrayAttr[FloatAttr] | None) -> tuple[float, ...]:
    """Plain numbers of an optional array of floats."""
    return () if attr is None else tuple(v.value.data for v in attr.data)


__all__ = [
    "FORMATS",
    "PortDecl",
    "TensorDecl",
    "checked_target",
    "float_values",
    "floats",
    "port_properties",
    "strings",
]
