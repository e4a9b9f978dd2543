"""Tile operations of the `bfs` dialect: transfers into scratchpad buffers, convolutions, the post unit, transfers
out.

Ranges `[%y : %h]` are (first, extent) in the coordinates of the tensors, clipped by the loops around. What a buffer
holds (which rows, columns and channels of which tensor) follows from the operation that filled it last; see
`dialects.bfs`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

from xdsl.dialects.builtin import (
    DenseArrayBase,
    FlatSymbolRefAttr,
    IndexType,
    IntegerAttr,
    SymbolRefAttr,
    i8,
    i32,
)
from xdsl.ir import Attribute, Data, SSAValue, TypeAttribute
from xdsl.irdl import (
    IRDLOperation,
    ParsePropInAttrDict,
    irdl_attr_definition,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
)
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from dialects.attributes import i64_array, integer, ints

SPACES = ("act", "coef", "par", "psum")
INDEX = IndexType()


@irdl_attr_definition
class BufferType(Data[str], TypeAttribute):
    """A buffer in one of the scratchpads: `!bfs.buffer<act>`, `coef`, `par` or `psum`."""

    name = "bfs.buffer"

    def verify(self) -> None:
        if self.data not in SPACES:
            raise VerifyException(f"bfs.buffer: no scratchpad '{self.data}', only {', '.join(SPACES)}")

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> str:
        with parser.in_angle_brackets():
            return parser.parse_identifier()

    def print_parameter(self, printer: Printer) -> None:
        printer.print_string(f"<{self.data}>")


ACT, COEF, PAR, PSUM = (BufferType(s) for s in SPACES)


Range = tuple[SSAValue, SSAValue]
"""First index and extent."""


def flat(*ranges: Range) -> list[SSAValue]:
    """Operands of ranges."""
    return [value for pair in ranges for value in pair]


def numbers(attr: DenseArrayBase, count: int, low: int, what: str) -> None:
    """Check an array of `count` integers of at least `low`. Raises VerifyException."""
    values = ints(attr)
    if len(values) != count or min(values) < low:
        raise VerifyException(f"{what} must be {count} integers of at least {low}, found {list(values)}")


def positive(**values: IntegerAttr) -> None:
    """Check numbers that must be at least 1. Raises VerifyException."""
    for name, attr in values.items():
        if attr.value.data < 1:
            raise VerifyException(f"{name} must be positive, found {attr.value.data}")


class ConstantForm(NamedTuple):
    """Element type and rank of a constant, and how people call that."""

    element: Attribute
    rank: int
    text: str


class TileOp(IRDLOperation):
    """Base of the tile operations."""

    FILLS: ClassVar[bool] = False
    """Whether the operation goes on to the next instance of the buffer that is its first operand, and fills it."""
    CONSTANT: ClassVar[ConstantForm | None] = None
    """What the operation needs of the constant that it names; None where any will do."""
    irdl_options = (ParsePropInAttrDict(),)


# Transfers in --------------------------------------------------------------------------------------------------------


@irdl_op_definition
class LoadTileOp(TileOp):
    """Fill an ACT buffer with the part of a tensor that output rows, columns and channels `[y, x, c]` need.

    Rows: those that windows of `kernel[0]` rows, `strides[0]` apart and moved up by `pads[0]`, touch, clipped to the
    tensor; columns likewise. Where `taken_rows` says the row of the tensor for each output row, all between the first
    and the last of those; columns likewise. Channels: outputs i of the range inside [first, first + count) need channel
    i // per + offset, where `channels` is [first, count, offset, per]; widened downwards to a multiple of the chunk.
    Loads nothing when that is empty.
    """

    name = "bfs.load_tile"
    FILLS: ClassVar[bool] = True
    buffer = operand_def(ACT)
    y = operand_def(INDEX)
    rows = operand_def(INDEX)
    x = operand_def(INDEX)
    columns = operand_def(INDEX)
    c = operand_def(INDEX)
    depth = operand_def(INDEX)
    tensor = prop_def(FlatSymbolRefAttr)
    kernel = prop_def(DenseArrayBase)
    strides = prop_def(DenseArrayBase)
    pads = prop_def(DenseArrayBase)
    channels = prop_def(DenseArrayBase)
    taken_rows = opt_prop_def(DenseArrayBase)
    taken_columns = opt_prop_def(DenseArrayBase)
    assembly_format = "$buffer `,` $tensor `[` $y `:` $rows `,` $x `:` $columns `,` $c `:` $depth `]` attr-dict"

    def __init__(
        self,
        buffer: SSAValue,
        tensor: str,
        y: Range,
        x: Range,
        c: Range,
        kernel: Sequence[int],
        strides: Sequence[int],
        pads: Sequence[int],
        channels: Sequence[int],
        taken: tuple[Sequence[int] | None, Sequence[int] | None] = (None, None),
    ):
        rows, columns = (None if indices is None else i64_array(indices) for indices in taken)
        super().__init__(
            operands=[buffer, *flat(y, x, c)],
            properties={
                "tensor": SymbolRefAttr(tensor),
                "kernel": i64_array(kernel),
                "strides": i64_array(strides),
                "pads": i64_array(pads),
                "channels": i64_array(channels),
                "taken_rows": rows,
                "taken_columns": columns,
            },
        )

    def verify_(self) -> None:
        numbers(self.kernel, 2, 1, "kernel")
        numbers(self.strides, 2, 1, "strides")
        numbers(self.pads, 2, -(1 << 15), "pads")
        first, count, _, per = (*ints(self.channels), 0, 0, 0, 0)[:4]
        if len(ints(self.channels)) != 4 or first < 0 or count < 1 or per < 1:
            raise VerifyException(f"channels must be [first, count, offset, per], found {list(ints(self.channels))}")


class LoadChannelsOp(TileOp):
    """Base of those that fill a COEF buffer with what output channels `k` and input channels `c` have in a constant."""

    FILLS: ClassVar[bool] = True
    buffer = operand_def(COEF)
    k = operand_def(INDEX)
    channels = operand_def(INDEX)
    c = operand_def(INDEX)
    depth = operand_def(INDEX)
    constant = prop_def(FlatSymbolRefAttr)
    assembly_format = "$buffer `,` $constant `[` $k `:` $channels `,` $c `:` $depth `]` attr-dict"

    def __init__(self, buffer: SSAValue, constant: str, k: Range, c: Range, own: Mapping[str, Attribute | None]):
        """`own`: properties that only the subclass has."""
        super().__init__(operands=[buffer, *flat(k, c)], properties={"constant": SymbolRefAttr(constant), **own})


@irdl_op_definition
class LoadWeightsOp(LoadChannelsOp):
    """Fill a COEF buffer with int8 weights of output channels `k` and input channels (of a group) `c`: [k][R][S][c]."""

    name = "bfs.load_weights"
    CONSTANT: ClassVar[ConstantForm | None] = ConstantForm(i8, 4, "int8 [K][R][S][C/groups]")

    def __init__(self, buffer: SSAValue, constant: str, k: Range, c: Range):
        super().__init__(buffer, constant, k, c, {})


@irdl_op_definition
class LoadCoefficientsOp(TileOp):
    """Fill a COEF buffer with the expanded ternary coefficients of output channels `k`: [k][V][chunk] of bitmap and
    signs.
    """

    name = "bfs.load_coefficients"
    FILLS: ClassVar[bool] = True
    CONSTANT: ClassVar[ConstantForm | None] = ConstantForm(i8, 3, "int8 [K][V][C]")
    buffer = operand_def(COEF)
    k = operand_def(INDEX)
    channels = operand_def(INDEX)
    constant = prop_def(FlatSymbolRefAttr)
    assembly_format = "$buffer `,` $constant `[` $k `:` $channels `]` attr-dict"

    def __init__(self, buffer: SSAValue, constant: str, k: Range):
        super().__init__(operands=[buffer, *k], properties={"constant": SymbolRefAttr(constant)})


@irdl_op_definition
class LoadParametersOp(TileOp):
    """Fill a PAR buffer with requantisation parameters of output channels `k`, a block for every `block` channels."""

    name = "bfs.load_parameters"
    FILLS: ClassVar[bool] = True
    CONSTANT: ClassVar[ConstantForm | None] = ConstantForm(i32, 2, "int32 [3][K]")
    buffer = operand_def(PAR)
    k = operand_def(INDEX)
    channels = operand_def(INDEX)
    constant = prop_def(FlatSymbolRefAttr)
    block = prop_def(IntegerAttr)
    assembly_format = "$buffer `,` $constant `[` $k `:` $channels `]` attr-dict"

    def __init__(self, buffer: SSAValue, constant: str, k: Range, block: int):
        super().__init__(
            operands=[buffer, *k], properties={"constant": SymbolRefAttr(constant), "block": integer(block)}
        )

    def verify_(self) -> None:
        positive(block=self.block)


@irdl_op_definition
class LoadBytesOp(TileOp):
    """Fill a PAR buffer with the bytes of a constant: bases, a table, parameters of an addition or an average."""

    name = "bfs.load_bytes"
    buffer = operand_def(PAR)
    constant = prop_def(FlatSymbolRefAttr)
    assembly_format = "$buffer `,` $constant attr-dict"

    def __init__(self, buffer: SSAValue, constant: str):
        super().__init__(operands=[buffer], properties={"constant": SymbolRefAttr(constant)})


# Transfers out ------------------------------------------------------------------------------------------------------


@irdl_op_definition
class OpenTileOp(TileOp):
    """Turn to the next instance of an output buffer; it will hold output rows, columns and channels `[y, x, k]`.

    With `pool`, rows and columns of windows, `[y, x]` are positions of which each window gives one of the output.
    """

    name = "bfs.open_tile"
    FILLS: ClassVar[bool] = True
    buffer = operand_def(ACT)
    y = operand_def(INDEX)
    rows = operand_def(INDEX)
    x = operand_def(INDEX)
    columns = operand_def(INDEX)
    k = operand_def(INDEX)
    channels = operand_def(INDEX)
    pool = opt_prop_def(DenseArrayBase)
    assembly_format = "$buffer `[` $y `:` $rows `,` $x `:` $columns `,` $k `:` $channels `]` attr-dict"

    def __init__(self, buffer: SSAValue, y: Range, x: Range, k: Range, pool: Sequence[int] = (1, 1)):
        windows = None if tuple(pool) == (1, 1) else i64_array(pool)
        super().__init__(operands=[buffer, *flat(y, x, k)], properties={"pool": windows})

    def verify_(self) -> None:
        if self.pool is not None:
            numbers(self.pool, 2, 1, "pool")


@irdl_op_definition
class StoreTileOp(TileOp):
    """Write the output tile to its place in a tensor."""

    name = "bfs.store_tile"
    tensor = prop_def(FlatSymbolRefAttr)
    buffer = operand_def(ACT)
    assembly_format = "$tensor `,` $buffer attr-dict"

    def __init__(self, tensor: str, buffer: SSAValue):
        super().__init__(operands=[buffer], properties={"tensor": SymbolRefAttr(tensor)})
