"""The tile operation of the `bfs` dialect that makes weights of vectors times small coefficients."""

from __future__ import annotations

from typing import ClassVar

from xdsl.dialects.builtin import DenseArrayBase, FlatSymbolRefAttr, IntegerAttr, SymbolRefAttr, UnitAttr, i8, i64
from xdsl.ir import SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, opt_prop_def, prop_def

from dialects.attributes import i64_array
from dialects.bfs_tiles import COEF, INDEX, PAR, ConstantForm, Range, TileOp, flat, numbers, positive


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
