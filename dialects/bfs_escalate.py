"""The tile operation of the `bfs` dialect that computes a decomposed convolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from xdsl.dialects.builtin import DenseArrayBase, IntegerAttr
from xdsl.ir import SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, prop_def

from dialects.attributes import integer
from dialects.bfs_compute import ConvTileOp, verify_window, window_properties
from dialects.bfs_tiles import ACT, COEF, INDEX, PAR, PSUM, Range, flat, positive


@irdl_op_definition
class ConvEscOp(ConvTileOp):
    """Decomposed convolution: combinations of all input channels, then `v` bases; `row_groups` as in
    bfs.conv.
    """

    name = "bfs.conv_esc"
    FILLS: ClassVar[bool] = True
    psum = operand_def(PSUM)
    act = operand_def(ACT)
    coef = operand_def(COEF)
    basis = operand_def(PAR)
    y = operand_def(INDEX)
    rows = operand_def(INDEX)
    x = operand_def(INDEX)
    columns = operand_def(INDEX)
    k = operand_def(INDEX)
    channels = operand_def(INDEX)
    kernel = prop_def(DenseArrayBase)
    strides = prop_def(DenseArrayBase)
    pads = prop_def(DenseArrayBase)
    v = prop_def(IntegerAttr)
    ic_shift = prop_def(IntegerAttr)
    row_groups = prop_def(IntegerAttr)
    assembly_format = (
        "$psum `,` $act `,` $coef `,` $basis `[` $y `:` $rows `,` $x `:` $columns `,` $k `:` $channels `]` attr-dict"
    )

    def __init__(
        self,
        psum: SSAValue,
        act: SSAValue,
        coef: SSAValue,
        basis: SSAValue,
        y: Range,
        x: Range,
        k: Range,
        kernel: Sequence[int],
        strides: Sequence[int],
        pads: Sequence[int],
        v: int,
        ic_shift: int,
        row_groups: int,
    ):
        super().__init__(
            operands=[psum, act, coef, basis, *flat(y, x, k)],
            properties={
                **window_properties(kernel, strides, pads),
                "v": integer(v),
                "ic_shift": integer(ic_shift),
                "row_groups": integer(row_groups),
            },
        )

    def verify_(self) -> None:
        verify_window(self.kernel, self.strides, self.pads)
        positive(v=self.v, row_groups=self.row_groups)
