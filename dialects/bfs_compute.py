"""Tile operations of the `bfs` dialect that compute: convolutions and the post unit. See `dialects.bfs_tiles` for
ranges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from xdsl.dialects.builtin import (
    BoolAttr,
    DenseArrayBase,
    FlatSymbolRefAttr,
    IntegerAttr,
    SymbolRefAttr,
    UnitAttr,
)
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    ParsePropInAttrDict,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    opt_prop_def,
    prop_def,
)
from xdsl.utils.exceptions import VerifyException

from dialects.attributes import i64_array, integer
from dialects.bfs_tiles import ACT, COEF, INDEX, PAR, PSUM, Range, TileOp, flat, numbers, positive

# Convolutions --------------------------------------------------------------------------------------------------------


def window_properties(kernel: Sequence[int], strides: Sequence[int], pads: Sequence[int]) -> dict[str, Attribute]:
    return {"kernel": i64_array(kernel), "strides": i64_array(strides), "pads": i64_array(pads)}


def verify_window(kernel: DenseArrayBase, strides: DenseArrayBase, pads: DenseArrayBase, least_pad: int = 0) -> None:
    numbers(kernel, 2, 1, "kernel")
    numbers(strides, 2, 1, "strides")
    numbers(pads, 2, least_pad, "pads")


_PART_PAD = -(1 << 15)
"""A part of a window that begins below or right of the whole one has negative pads."""


class ConvTileOp(TileOp):
    """Base of the operations that compute partial sums of output rows, columns and channels `[y, x, k]` into a PSUM
    buffer; the window is in tensor coordinates.
    """

    if TYPE_CHECKING:  # every subclass defines these
        psum: SSAValue
        act: SSAValue
        coef: SSAValue
        y: SSAValue
        rows: SSAValue
        x: SSAValue
        columns: SSAValue
        k: SSAValue
        channels: SSAValue
        kernel: DenseArrayBase
        strides: DenseArrayBase
        pads: DenseArrayBase


class ChannelsTile(NamedTuple):
    """What a `ChannelsTileOp` works on: its buffers, the ranges `[y, x, k, c]`, and kernel, strides and pads."""

    psum: SSAValue
    act: SSAValue
    coef: SSAValue
    ranges: tuple[Range, Range, Range, Range]
    window: tuple[Sequence[int], Sequence[int], Sequence[int]]


class ChannelsTileOp(ConvTileOp):
    """Base of those that take input channels `c` of a tile of weights in COEF."""

    FILLS: ClassVar[bool] = True
    psum = operand_def(PSUM)
    act = operand_def(ACT)
    coef = operand_def(COEF)
    y = operand_def(INDEX)
    rows = operand_def(INDEX)
    x = operand_def(INDEX)
    columns = operand_def(INDEX)
    k = operand_def(INDEX)
    channels = operand_def(INDEX)
    c = operand_def(INDEX)
    depth = operand_def(INDEX)
    kernel = prop_def(DenseArrayBase)
    strides = prop_def(DenseArrayBase)
    pads = prop_def(DenseArrayBase)
    assembly_format = (
        "$psum `,` $act `,` $coef `[` $y `:` $rows `,` $x `:` $columns `,` $k `:` $channels `,` $c `:` $depth `]` "
        "attr-dict"
    )

    def __init__(self, tile: ChannelsTile, own: Mapping[str, Attribute | None]):
        """`own`: properties that only the subclass has."""
        super().__init__(
            operands=[tile.psum, tile.act, tile.coef, *flat(*tile.ranges)],
            properties={**window_properties(*tile.window), **own},
        )


@irdl_op_definition
class ConvOp(ChannelsTileOp):
    """Dense convolution over input channels `c` (of a group): starts new partial sums when the range begins at 0,
    unless it is to `accumulate` (a further part of the window), else adds.

    `kpg` output channels share a group; `row_groups` of PE blocks take different output rows.
    """

    name = "bfs.conv"
    kpg = prop_def(IntegerAttr)
    cpg = prop_def(IntegerAttr)
    row_groups = prop_def(IntegerAttr)
    accumulate = opt_prop_def(UnitAttr)

    def __init__(self, tile: ChannelsTile, kpg: int, cpg: int, row_groups: int, accumulate: bool = False):
        super().__init__(
            tile,
            {
                "kpg": integer(kpg),
                "cpg": integer(cpg),
                "row_groups": integer(row_groups),
                "accumulate": UnitAttr() if accumulate else None,
            },
        )

    def verify_(self) -> None:
        verify_window(self.kernel, self.strides, self.pads, _PART_PAD)
        positive(kpg=self.kpg, cpg=self.cpg, row_groups=self.row_groups)


@irdl_op_definition
class ConvDwOp(ConvTileOp):
    """Depthwise convolution: output channel k reads input channel k // kpg. Starts new partial sums unless it is to
    `accumulate` (a further part of the window).
    """

    name = "bfs.conv_dw"
    FILLS: ClassVar[bool] = True
    psum = operand_def(PSUM)
    act = operand_def(ACT)
    coef = operand_def(COEF)
    y = operand_def(INDEX)
    rows = operand_def(INDEX)
    x = operand_def(INDEX)
    columns = operand_def(INDEX)
    k = operand_def(INDEX)
    channels = operand_def(INDEX)
    kernel = prop_def(DenseArrayBase)
    strides = prop_def(DenseArrayBase)
    pads = prop_def(DenseArrayBase)
    kpg = prop_def(IntegerAttr)
    accumulate = opt_prop_def(UnitAttr)
    assembly_format = "$psum `,` $act `,` $coef `[` $y `:` $rows `,` $x `:` $columns `,` $k `:` $channels `]` attr-dict"

    def __init__(
        self,
        psum: SSAValue,
        act: SSAValue,
        coef: SSAValue,
        y: Range,
        x: Range,
        k: Range,
        kernel: Sequence[int],
        strides: Sequence[int],
        pads: Sequence[int],
        kpg: int,
        accumulate: bool = False,
    ):
        super().__init__(
            operands=[psum, act, coef, *flat(y, x, k)],
            properties={
                **window_properties(kernel, strides, pads),
                "kpg": integer(kpg),
                "accumulate": UnitAttr() if accumulate else None,
            },
        )

    def verify_(self) -> None:
        verify_window(self.kernel, self.strides, self.pads, _PART_PAD)
        positive(kpg=self.kpg)


# Post unit -----------------------------------------------------------------------------------------------------------


@irdl_op_definition
class RequantOp(TileOp):
    """Requantise what the PSUM buffer holds into the output tile, as esc.requantize; `table`, `residual` and `addition`
    buffers are present as there. `q_signed`: type of q before the addition.
    """

    name = "bfs.requant"
    out = operand_def(ACT)
    psum = operand_def(PSUM)
    parameters = operand_def(PAR)
    table = opt_operand_def(PAR)
    residual = opt_operand_def(ACT)
    addition = opt_operand_def(PAR)
    lo = prop_def(IntegerAttr)
    hi = prop_def(IntegerAttr)
    q_signed = prop_def(BoolAttr)
    irdl_options = (AttrSizedOperandSegments(as_property=True), ParsePropInAttrDict())
    assembly_format = (
        "$out `,` $psum `,` $parameters (`table` $table^)? (`residual` $residual^)? (`addition` $addition^)? attr-dict"
    )

    def __init__(
        self,
        out: SSAValue,
        psum: SSAValue,
        parameters: SSAValue,
        table: SSAValue | None,
        residual: SSAValue | None,
        addition: SSAValue | None,
        lo: int,
        hi: int,
        q_signed: bool,
    ):
        super().__init__(
            operands=[out, psum, parameters, table, residual, addition],
            properties={"lo": integer(lo), "hi": integer(hi), "q_signed": BoolAttr.from_bool(q_signed)},
        )

    def verify_(self) -> None:
        if (self.residual is None) != (self.addition is None):
            raise VerifyException("a residual needs the parameters of the addition, and they a residual")


@irdl_op_definition
class AddOp(TileOp):
    """Add two tiles of the geometry of the output tile, as esc.add; `parameters` hold multipliers, clamp and shift."""

    name = "bfs.add"
    out = operand_def(ACT)
    lhs = operand_def(ACT)
    rhs = operand_def(ACT)
    parameters = operand_def(PAR)
    assembly_format = "$out `,` $lhs `,` $rhs `,` $parameters attr-dict"

    def __init__(self, out: SSAValue, lhs: SSAValue, rhs: SSAValue, parameters: SSAValue):
        super().__init__(operands=[out, lhs, rhs, parameters])


@irdl_op_definition
class MulOp(TileOp):
    """Multiply two tiles, as esc.mul; `parameters` hold multiplier, clamp and shift. `lhs` has the geometry of the
    output tile, and so has `rhs` but for the axes [y, x, k] that `spread` marks with 1: there it has one index for all.
    """

    name = "bfs.mul"
    out = operand_def(ACT)
    lhs = operand_def(ACT)
    rhs = operand_def(ACT)
    parameters = operand_def(PAR)
    spread = prop_def(DenseArrayBase)
    assembly_format = "$out `,` $lhs `,` $rhs `,` $parameters attr-dict"

    def __init__(self, out: SSAValue, lhs: SSAValue, rhs: SSAValue, parameters: SSAValue, spread: Sequence[int]):
        super().__init__(operands=[out, lhs, rhs, parameters], properties={"spread": i64_array(spread)})

    def verify_(self) -> None:
        numbers(self.spread, 3, 0, "spread")


@irdl_op_definition
class MapOp(TileOp):
    """Move and map a tile of `tensor`: out[y,x,i] = f(act[y*sy + oy, x*sx + ox, i + oc]), 0 outside the tensor, for the
    output channels i of the output tile inside [first, first + count); f is the identity or the table. `offsets`
    [oy, ox, oc], `channels` [first, count].
    """

    name = "bfs.map"
    out = operand_def(ACT)
    act = operand_def(ACT)
    table = opt_operand_def(PAR)
    tensor = prop_def(FlatSymbolRefAttr)
    strides = prop_def(DenseArrayBase)
    offsets = prop_def(DenseArrayBase)
    channels = prop_def(DenseArrayBase)
    assembly_format = "$out `,` $act `of` $tensor (`table` $table^)? attr-dict"

    def __init__(
        self,
        out: SSAValue,
        act: SSAValue,
        tensor: str,
        table: SSAValue | None,
        strides: Sequence[int],
        offsets: Sequence[int],
        channels: Sequence[int],
    ):
        super().__init__(
            operands=[out, act, table],
            properties={
                "tensor": SymbolRefAttr(tensor),
                "strides": i64_array(strides),
                "offsets": i64_array(offsets),
                "channels": i64_array(channels),
            },
        )

    def verify_(self) -> None:
        numbers(self.strides, 2, 1, "strides")
        numbers(self.offsets, 3, -(1 << 16), "offsets")
        numbers(self.channels, 2, 0, "channels")
