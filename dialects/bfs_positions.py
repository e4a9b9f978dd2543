"""Tile operations of the `bfs` dialect that put values at other positions."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import DenseArrayBase, FlatSymbolRefAttr, SymbolRefAttr
from xdsl.ir import SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, prop_def

from dialects.attributes import i64_array, ints
from dialects.bfs_tiles import ACT, TileOp, numbers


@irdl_op_definition
class TakeOp(TileOp):
    """Row y and column x of the output tile are row `rows[y]` and column `columns[x]` of `tensor`."""

    name = "bfs.take"
    out = operand_def(ACT)
    act = operand_def(ACT)
    tensor = prop_def(FlatSymbolRefAttr)
    rows = prop_def(DenseArrayBase)
    columns = prop_def(DenseArrayBase)
    assembly_format = "$out `,` $act `of` $tensor attr-dict"

    def __init__(self, out: SSAValue, act: SSAValue, tensor: str, rows: Sequence[int], columns: Sequence[int]):
        properties = {"tensor": SymbolRefAttr(tensor), "rows": i64_array(rows), "columns": i64_array(columns)}
        super().__init__(operands=[out, act], properties=properties)

    def verify_(self) -> None:
        for what, attr in (("rows", self.rows), ("columns", self.columns)):
            numbers(attr, len(ints(attr)), 0, what)


@irdl_op_definition
class DepthToSpaceOp(TileOp):
    """Position (y*by + i, x*bx + j) of the output tile is channels (i*bx + j)*C... of position (y, x) of `tensor`.

    The output has C channels; `blocks` is [by, bx]. All channels of `tensor` are held.
    """

    name = "bfs.depth_to_space"
    out = operand_def(ACT)
    act = operand_def(ACT)
    tensor = prop_def(FlatSymbolRefAttr)
    blocks = prop_def(DenseArrayBase)
    assembly_format = "$out `,` $act `of` $tensor attr-dict"

    def __init__(self, out: SSAValue, act: SSAValue, tensor: str, blocks: Sequence[int]):
        super().__init__(operands=[out, act], properties={"tensor": SymbolRefAttr(tensor), "blocks": i64_array(blocks)})

    def verify_(self) -> None:
        numbers(self.blocks, 2, 1, "blocks")
