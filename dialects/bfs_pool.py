"""The tile operations of the `bfs` dialect that pool."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import BoolAttr, DenseArrayBase, IntegerAttr, StringAttr
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, opt_operand_def, opt_prop_def, prop_def
from xdsl.utils.exceptions import VerifyException

from dialects.attributes import i64_array, integer
from dialects.bfs_compute import window_properties
from dialects.bfs_tiles import ACT, PAR, PSUM, TileOp, numbers


@irdl_op_definition
class PoolOp(TileOp):
    """Pooling of all windows of the output tile. `kind` max or average; average divides by a multiplier of
    `parameters`, indexed by the counted positions from `count0` up, and counts `pads` [top, left, bottom, right] if
    `count_include_pad`.
    """

    name = "bfs.pool"
    out = operand_def(ACT)
    act = operand_def(ACT)
    parameters = opt_operand_def(PAR)
    kind = prop_def(StringAttr)
    kernel = prop_def(DenseArrayBase)
    strides = prop_def(DenseArrayBase)
    pads = prop_def(DenseArrayBase)
    count_include_pad = prop_def(BoolAttr)
    count0 = opt_prop_def(IntegerAttr)
    shift = opt_prop_def(IntegerAttr)
    lo = opt_prop_def(IntegerAttr)
    hi = opt_prop_def(IntegerAttr)
    assembly_format = "$out `,` $act (`parameters` $parameters^)? attr-dict"

    def __init__(
        self,
        out: SSAValue,
        act: SSAValue,
        kind: str,
        kernel: Sequence[int],
        strides: Sequence[int],
        pads: Sequence[int],
        count_include_pad: bool = False,
        parameters: SSAValue | None = None,
        average: tuple[int, int, int, int] | None = None,
    ):
        """`average`: count0, shift, lo, hi."""
        properties: dict[str, Attribute] = {
            **window_properties(kernel, strides, pads),
            "kind": StringAttr(kind),
            "count_include_pad": BoolAttr.from_bool(count_include_pad),
        }
        if average is not None:
            properties |= dict(zip(("count0", "shift", "lo", "hi"), map(integer, average), strict=True))
        super().__init__(operands=[out, act, parameters], properties=properties)

    def verify_(self) -> None:
        numbers(self.kernel, 2, 1, "kernel")
        numbers(self.strides, 2, 1, "strides")
        numbers(self.pads, 4, 0, "pads")
        if self.kind.data not in ("max", "average"):
            raise VerifyException(f"kind must be max or average, found '{self.kind.data}'")
        average = (self.parameters, self.count0, self.shift, self.lo, self.hi)
        if any((a is None) != (self.kind.data == "max") for a in average):
            raise VerifyException("an average, and only it, has parameters, count0, shift, lo and hi")


@irdl_op_definition
class MaximaOp(TileOp):
    """Requantise what the PSUM buffer holds, as esc.requantize without a residual, and write the maximum of each of the
    windows of `pool` rows and columns, which lie side by side, into the output tile. `q_signed`: type of the maximum.
    """

    name = "bfs.maxima"
    out = operand_def(ACT)
    psum = operand_def(PSUM)
    parameters = operand_def(PAR)
    table = opt_operand_def(PAR)
    pool = prop_def(DenseArrayBase)
    lo = prop_def(IntegerAttr)
    hi = prop_def(IntegerAttr)
    q_signed = prop_def(BoolAttr)
    assembly_format = "$out `,` $psum `,` $parameters (`table` $table^)? attr-dict"

    def __init__(
        self,
        out: SSAValue,
        psum: SSAValue,
        parameters: SSAValue,
        table: SSAValue | None,
        pool: Sequence[int],
        clamp: tuple[int, int],
        q_signed: bool,
    ):
        """`clamp`: lo, hi."""
        lo, hi = clamp
        super().__init__(
            operands=[out, psum, parameters, table],
            properties={
                "pool": i64_array(pool),
                "lo": integer(lo),
                "hi": integer(hi),
                "q_signed": BoolAttr.from_bool(q_signed),
            },
        )

    def verify_(self) -> None:
        numbers(self.pool, 2, 1, "pool")
