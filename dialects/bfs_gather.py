"""The tile operations of the `bfs` dialect of convolutions with sparse weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from xdsl.dialects.builtin import (
    DenseArrayBase,
    FlatSymbolRefAttr,
    IntegerAttr,
    SymbolRefAttr,
    UnitAttr,
    i8,
)
from xdsl.ir import SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, opt_prop_def, prop_def

from dialects.attributes import integer
from dialects.bfs_compute import ConvTileOp, verify_window, window_properties
from dialects.bfs_tiles import ACT, COEF, INDEX, PSUM, ConstantForm, Range, TileOp, flat, positive
from isa.gather import Banking


@irdl_op_definition
class LoadSparseOp(TileOp):
    """Fill a COEF buffer with the stream of the weights of output channels `k` and input channels `c` that are not
    zero. `banks`, `bundle` and `spread` are as in esc.gather_conv2d.
    """

    name = "bfs.load_sparse"
    FILLS: ClassVar[bool] = True
    CONSTANT: ClassVar[ConstantForm | None] = ConstantForm(i8, 4, "int8 [K][R][S][C]")
    buffer = operand_def(COEF)
    k = operand_def(INDEX)
    channels = operand_def(INDEX)
    c = operand_def(INDEX)
    depth = operand_def(INDEX)
    constant = prop_def(FlatSymbolRefAttr)
    banks = prop_def(IntegerAttr)
    bundle = prop_def(IntegerAttr)
    spread = opt_prop_def(UnitAttr)
    assembly_format = "$buffer `,` $constant `[` $k `:` $channels `,` $c `:` $depth `]` attr-dict"

    def __init__(self, buffer: SSAValue, constant: str, k: Range, c: Range, banking: Banking):
        super().__init__(
            operands=[buffer, *flat(k, c)],
            properties={
                "constant": SymbolRefAttr(constant),
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
class ConvGatherOp(ConvTileOp):
    """Convolution with sparse weights over input channels `c` of `of`: starts new partial sums when the range begins at
    0, else adds. `banks` and `bundle` are as in esc.gather_conv2d.
    """

    name = "bfs.conv_gather"
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
    of = prop_def(IntegerAttr)
    banks = prop_def(IntegerAttr)
    bundle = prop_def(IntegerAttr)
    assembly_format = (
        "$psum `,` $act `,` $coef `[` $y `:` $rows `,` $x `:` $columns `,` $k `:` $channels `,` $c `:` $depth `]` "
        "attr-dict"
    )

    def __init__(
        self,
        psum: SSAValue,
        act: SSAValue,
        coef: SSAValue,
        ranges: tuple[Range, Range, Range, Range],
        window: tuple[Sequence[int], Sequence[int], Sequence[int]],
        of: int,
        banking: Banking,
    ):
        super().__init__(
            operands=[psum, act, coef, *flat(*ranges)],
            properties={
                **window_properties(*window),
                "of": integer(of),
                "banks": integer(banking.banks),
                "bundle": integer(banking.bundle),
            },
        )

    def verify_(self) -> None:
        verify_window(self.kernel, self.strides, self.pads)
        positive(of=self.of, banks=self.banks, bundle=self.bundle)
