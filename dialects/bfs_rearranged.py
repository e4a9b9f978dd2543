"""Tile operations of the `bfs` dialect that put the values of one tensor into another order."""

from __future__ import annotations

from xdsl.dialects.builtin import FlatSymbolRefAttr, IntegerAttr, SymbolRefAttr
from xdsl.ir import SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, prop_def

from dialects.attributes import integer
from dialects.bfs_tiles import ACT, TileOp, positive


@irdl_op_definition
class ShuffleOp(TileOp):
    """Channel j*groups + i of the output tile is channel i*(C/groups) + j of `tensor`; all of its channels are held."""

    name = "bfs.shuffle"
    out = operand_def(ACT)
    act = operand_def(ACT)
    tensor = prop_def(FlatSymbolRefAttr)
    groups = prop_def(IntegerAttr)
    assembly_format = "$out `,` $act `of` $tensor attr-dict"

    def __init__(self, out: SSAValue, act: SSAValue, tensor: str, groups: int):
        super().__init__(operands=[out, act], properties={"tensor": SymbolRefAttr(tensor), "groups": integer(groups)})

    def verify_(self) -> None:
        positive(groups=self.groups)
