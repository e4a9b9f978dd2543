"""The tile operation of the `bfs` dialect that loads codes into a book."""

from __future__ import annotations

from typing import ClassVar

from xdsl.dialects.builtin import DenseArrayBase, FlatSymbolRefAttr, SymbolRefAttr, i8
from xdsl.ir import SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, prop_def

from dialects.attributes import i64_array
from dialects.bfs_tiles import COEF, INDEX, PAR, ConstantForm, Range, TileOp, flat, numbers


@irdl_op_definition
class LoadCodesOp(TileOp):
    """Fill a COEF buffer with weights of output channels `k` and input channels `c`: [k][R][S][c]. The constant holds
    codes, each for a patch of [span, depth] columns and input channels; their book lies in a PAR buffer.
    """

    name = "bfs.load_codes"
    FILLS: ClassVar[bool] = True
    CONSTANT: ClassVar[ConstantForm | None] = ConstantForm(i8, 4, "int8 [K][R][S/span][C/depth]")
    buffer = operand_def(COEF)
    book = operand_def(PAR)
    k = operand_def(INDEX)
    channels = operand_def(INDEX)
    c = operand_def(INDEX)
    depth = operand_def(INDEX)
    constant = prop_def(FlatSymbolRefAttr)
    patch = prop_def(DenseArrayBase)
    assembly_format = "$buffer `,` $book `,` $constant `[` $k `:` $channels `,` $c `:` $depth `]` attr-dict"

    def __init__(self, buffer: SSAValue, book: SSAValue, constant: str, k: Range, c: Range, patch: tuple[int, int]):
        super().__init__(
            operands=[buffer, book, *flat(k, c)],
            properties={"constant": SymbolRefAttr(constant), "patch": i64_array(patch)},
        )

    def verify_(self) -> None:
        numbers(self.patch, 2, 1, "patch")
