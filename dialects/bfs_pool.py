"""The tile operation of the `bfs` dialect that pools."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import BoolAttr, DenseArrayBase, IntegerAttr, StringAttr
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, opt_operand_def, opt_prop_def, prop_def
from xdsl.utils.exceptions import VerifyException

from dialects.attributes import integer
from dialects.bfs_compute import window_properties
from dialects.bfs_tiles import ACT, PAR, TileOp, numbers


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
