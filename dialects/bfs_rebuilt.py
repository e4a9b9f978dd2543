"""The tile operations of the `bfs` dialect that rebuild weights out of vectors, or that take circulant
blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from xdsl.dialects.builtin import DenseArrayBase, FlatSymbolRefAttr, IntegerAttr, SymbolRefAttr, UnitAttr, i8, i64
from xdsl.ir import SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, opt_prop_def, prop_def

from dialects.attributes import i64_array
from dialects.bfs_compute import ChannelsTileOp, verify_window, window_properties
from dialects.bfs_tiles import COEF, INDEX, PAR, ConstantForm, LoadChannelsOp, Range, TileOp, flat, numbers, positive


@irdl_op_definition
class LoadSumsOp(TileOp):
    """Fill a COEF buffer with weights of output channels `k` and input channels `c`: [k][R][S][c]. The constant holds
    coefficients of `terms` vectors, each of which covers a patch of [span, depth] columns and input channels; the
    vectors lie in a PAR buffer, `own` ones for each output channel or the same for all.
    """

    name = "bfs.load_sums"
    FILLS: ClassVar[bool] = True
    CONSTANT: ClassVar[ConstantForm | None] = ConstantForm(i8, 5, "int8 [K][J][R][S/span][C/depth]")
    buffer = operand_def(COEF)
    vectors = operand_def(PAR)
    k = operand_def(INDEX)
    channels = operand_def(INDEX)
    c = operand_def(INDEX)
    depth = operand_def(INDEX)
    constant = prop_def(FlatSymbolRefAttr)
    terms = prop_def(IntegerAttr)
    rows = prop_def(IntegerAttr)
    patch = prop_def(DenseArrayBase)
    shift = prop_def(IntegerAttr)
    own = opt_prop_def(UnitAttr)
    assembly_format = "$buffer `,` $vectors `,` $constant `[` $k `:` $channels `,` $c `:` $depth `]` attr-dict"

    def __init__(
        self,
        buffer: SSAValue,
        vectors: SSAValue,
        constant: str,
        k: Range,
        c: Range,
        terms: int,
        rows: int,
        patch: tuple[int, int],
        shift: int,
        own: bool,
    ):
        super().__init__(
            operands=[buffer, vectors, *flat(k, c)],
            properties={
                "constant": SymbolRefAttr(constant),
                "terms": IntegerAttr(terms, i64),
                "rows": IntegerAttr(rows, i64),
                "patch": i64_array(patch),
                "shift": IntegerAttr(shift, i64),
                "own": UnitAttr() if own else None,
            },
        )

    def verify_(self) -> None:
        numbers(self.patch, 2, 1, "patch")
        positive(terms=self.terms, rows=self.rows)


@irdl_op_definition
class LoadCirculantOp(LoadChannelsOp):
    """Fill a COEF buffer with weights of output channels `k` and input channels `c`: [k][R][S][c]. The constant holds
    the values of circulant blocks of `block` channels; `taps` are R*S.
    """

    name = "bfs.load_circulant"
    CONSTANT: ClassVar[ConstantForm | None] = ConstantForm(i8, 5, "int8 [K/b][R][S][C/b][b]")
    taps = prop_def(IntegerAttr)
    block = prop_def(IntegerAttr)

    def __init__(self, buffer: SSAValue, constant: str, k: Range, c: Range, taps: int, block: int):
        super().__init__(
            operands=[buffer, *flat(k, c)],
            properties={
                "constant": SymbolRefAttr(constant),
                "taps": IntegerAttr(taps, i64),
                "block": IntegerAttr(block, i64),
            },
        )

    def verify_(self) -> None:
        positive(taps=self.taps, block=self.block)


@irdl_op_definition
class LoadBlocksOp(LoadChannelsOp):
    """Fill a COEF buffer with the values of the circulant blocks of `block` channels that output channels `k` touch:
    [k/b][R][S][C/b][b]; `taps` are R*S. All input channels `c` come at once.
    """

    name = "bfs.load_blocks"
    CONSTANT: ClassVar[ConstantForm | None] = ConstantForm(i8, 5, "int8 [K/b][R][S][C/b][b]")
    block = prop_def(IntegerAttr)

    def __init__(self, buffer: SSAValue, constant: str, k: Range, c: Range, block: int):
        super().__init__(
            operands=[buffer, *flat(k, c)],
            properties={"constant": SymbolRefAttr(constant), "block": IntegerAttr(block, i64)},
        )

    def verify_(self) -> None:
        positive(block=self.block)


@irdl_op_definition
class ConvCirculantOp(ChannelsTileOp):
    """Convolution with the values of circulant blocks of `block` channels over all input channels `c`: starts new
    partial sums. `row_groups` of PE blocks take different output rows.
    """

    name = "bfs.conv_circulant"
    block = prop_def(IntegerAttr)
    row_groups = prop_def(IntegerAttr)

    def __init__(
        self,
        psum: SSAValue,
        act: SSAValue,
        coef: SSAValue,
        ranges: tuple[Range, Range, Range, Range],
        window: tuple[Sequence[int], Sequence[int], Sequence[int]],
        block: int,
        row_groups: int,
    ):
        super().__init__(
            operands=[psum, act, coef, *flat(*ranges)],
            properties={
                **window_properties(*window),
                "block": IntegerAttr(block, i64),
                "row_groups": IntegerAttr(row_groups, i64),
            },
        )

    def verify_(self) -> None:
        verify_window(self.kernel, self.strides, self.pads)
        positive(block=self.block, row_groups=self.row_groups)
