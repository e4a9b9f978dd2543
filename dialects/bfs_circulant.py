"""The tile operations of the `bfs` dialect of convolutions with circulant blocks."""

from __future__ import annotations

from typing import ClassVar

from xdsl.dialects.builtin import IntegerAttr, i8
from xdsl.ir import SSAValue
from xdsl.irdl import irdl_op_definition, prop_def

from dialects.attributes import integer
from dialects.bfs_compute import ChannelsTile, ChannelsTileOp, verify_window
from dialects.bfs_tiles import ConstantForm, LoadChannelsOp, Range, positive


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
        super().__init__(buffer, constant, k, c, {"taps": integer(taps), "block": integer(block)})

    def verify_(self) -> None:
        positive(taps=self.taps, block=self.block)


@irdl_op_definition
class LoadBlocksOp(LoadChannelsOp):
    """Fill a COEF buffer with the values of the circulant blocks of `block` channels that output channels `k` touch:
    [k/b][R][S][C/b][b]. All input channels `c` come at once.
    """

    name = "bfs.load_blocks"
    CONSTANT: ClassVar[ConstantForm | None] = ConstantForm(i8, 5, "int8 [K/b][R][S][C/b][b]")
    block = prop_def(IntegerAttr)

    def __init__(self, buffer: SSAValue, constant: str, k: Range, c: Range, block: int):
        super().__init__(buffer, constant, k, c, {"block": integer(block)})

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

    def __init__(self, tile: ChannelsTile, block: int, row_groups: int):
        super().__init__(tile, {"block": integer(block), "row_groups": integer(row_groups)})

    def verify_(self) -> None:
        verify_window(self.kernel, self.strides, self.pads)
        positive(block=self.block, row_groups=self.row_groups)
