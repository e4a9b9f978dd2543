"""The tile operations of the `bfs` dialect of convolutions with sparse weights."""

from __future__ import annotations

from typing import ClassVar

from xdsl.dialects.builtin import IntegerAttr, UnitAttr, i8
from xdsl.ir import SSAValue
from xdsl.irdl import irdl_op_definition, opt_prop_def, prop_def

from dialects.attributes import integer
from dialects.bfs_compute import ChannelsTile, ChannelsTileOp, verify_window
from dialects.bfs_tiles import ConstantForm, LoadChannelsOp, Range, positive
from isa.gather import Banking


@irdl_op_definition
class LoadSparseOp(LoadChannelsOp):
    """Fill a COEF buffer with the stream of the weights of output channels `k` and input channels `c` that are not
    zero. `banks`, `bundle` and `spread` are as in esc.gather_conv2d.
    """

    name = "bfs.load_sparse"
    CONSTANT: ClassVar[ConstantForm | None] = ConstantForm(i8, 4, "int8 [K][R][S][C]")
    banks = prop_def(IntegerAttr)
    bundle = prop_def(IntegerAttr)
    spread = opt_prop_def(UnitAttr)

    def __init__(self, buffer: SSAValue, constant: str, k: Range, c: Range, banking: Banking):
        super().__init__(
            buffer,
            constant,
            k,
            c,
            {
                "banks": integer(banking.banks),
                "bundle": integer(banking.bundle),
                "spread": UnitAttr() if banking.spread else None,
            },
        )

    @property
    def banking(self) -> Banking:
        """How the machine gathers."""
        return Banking(self.banks.value.data, self.bundle.value.data, int(self.spread is not None))

    def verify_(self) -> None:
        positive(banks=self.banks, bundle=self.bundle)


@irdl_op_definition
class ConvGatherOp(ChannelsTileOp):
    """Convolution with sparse weights over input channels `c` of `of`: starts new partial sums when the range begins at
    0, else adds. `banks` and `bundle` are as in esc.gather_conv2d.
    """

    name = "bfs.conv_gather"
    of = prop_def(IntegerAttr)
    banks = prop_def(IntegerAttr)
    bundle = prop_def(IntegerAttr)

    def __init__(self, tile: ChannelsTile, of: int, banking: Banking):
        super().__init__(tile, {"of": integer(of), "banks": integer(banking.banks), "bundle": integer(banking.bundle)})

    def verify_(self) -> None:
        verify_window(self.kernel, self.strides, self.pads)
        positive(of=self.of, banks=self.banks, bundle=self.bundle)
