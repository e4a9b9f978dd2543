"""Declarations of activation tensors at level `bfs`."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import FlatSymbolRefAttr, IntegerAttr, StringAttr, SymbolRefAttr, UnitAttr
from xdsl.irdl import irdl_op_definition, opt_prop_def
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from dialects.attributes import i64_array, integer
from dialects.esc import QType
from dialects.machine import TensorDecl


@irdl_op_definition
class TensorOp(TensorDecl):
    """An activation tensor in DRAM, or in ACT from its first to its last layer if it is `resident`. Of a resident
    tensor with `rows`, ACT holds the rows computed last: row y lies at place y % rows of a ring of so many rows.
    plan-memory adds the `offset` from the base of the arena, or of ACT.

    A tensor may be channels of another one, the `whole`, from channel `first` on: it then has no place of its own. A
    resident tensor may be computed `over` another one, where that lies: an operand of the addition that it comes from,
    or the input of the depthwise convolution.
    """

    name = "bfs.tensor"
    resident = opt_prop_def(UnitAttr)
    rows = opt_prop_def(IntegerAttr)
    offset = opt_prop_def(IntegerAttr)
    whole = opt_prop_def(FlatSymbolRefAttr)
    first = opt_prop_def(IntegerAttr)
    over = opt_prop_def(FlatSymbolRefAttr)

    def __init__(
        self,
        name: str,
        shape: Sequence[int],
        element: QType,
        format: str,
        segment: int,
        resident: bool = False,
        part: tuple[str, int] | None = None,
        rows: int | None = None,
        over: str | None = None,
    ):
        super().__init__(
            properties={
                "sym_name": StringAttr(name),
                "shape": i64_array(shape),
                "element": element,
                "format": StringAttr(format),
                "segment": integer(segment),
                "resident": UnitAttr() if resident else None,
                "whole": None if part is None else SymbolRefAttr(part[0]),
                "first": None if part is None else integer(part[1]),
                "rows": None if rows is None else integer(rows),
                "over": None if over is None else SymbolRefAttr(over),
            }
        )

    @property
    def storage(self) -> str:
        """Name of the tensor that has the bytes: the whole of a part, else the tensor itself."""
        return self.sym_name.data if self.whole is None else self.whole.string_value()

    @property
    def channels(self) -> range:
        """The channels of `storage` that the tensor is."""
        first = 0 if self.first is None else self.first.value.data
        return range(first, first + self.extents[2])

    @property
    def ring(self) -> int | None:
        """Rows of the ring that holds a part of the tensor; None where the whole of it has a place."""
        return None if self.rows is None else self.rows.value.data

    @property
    def operand(self) -> str | None:
        """Name of the tensor in whose place this one is computed; None if it has a place of its own."""
        return None if self.over is None else self.over.string_value()

    @property
    def resident_bytes(self) -> int:
        """Bytes of ACT that the tensor takes."""
        h, w, c = self.extents
        return (self.ring or h) * w * c if self.resident is not None else 0

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_symbol_name(self.sym_name.data)
        printer.print_string(f" : {'x'.join(map(str, self.extents))} ")
        printer.print_attribute(self.element)
        printer.print_string(f" {self.format.data}")
        if self.format.data == "bitmap":
            printer.print_string(f" segment {self.segment.value.data}")
        if self.resident is not None:
            printer.print_string(" resident")
        if self.ring is not None:
            printer.print_string(f" rows {self.ring}")
        if self.whole is not None:
            printer.print_string(" in ")
            printer.print_symbol_name(self.storage)
            printer.print_string(f" from {self.channels.start}")
        if self.over is not None:
            printer.print_string(" over ")
            printer.print_symbol_name(self.over.string_value())
        if self.offset is not None:
            printer.print_string(f" at {self.offset.value.data}")

    @classmethod
    def parse(cls, parser: Parser) -> TensorOp:
        name = parser.parse_symbol_name().data
        parser.parse_punctuation(":")
        shape = parser.parse_dimension_list()
        element = parser.parse_attribute()
        if not isinstance(element, QType):
            parser.raise_error("expected !esc.q<...>")
        form = parser.parse_identifier()
        segment = parser.parse_integer() if parser.parse_optional_keyword("segment") else [1, 1, *shape][-2]
        resident = parser.parse_optional_keyword("resident") is not None
        rows = parser.parse_integer() if parser.parse_optional_keyword("rows") else None
        part: tuple[str, int] | None = None
        if parser.parse_optional_keyword("in"):
            whole = parser.parse_symbol_name().data
            parser.parse_keyword("from")
            part = whole, parser.parse_integer()
        over = parser.parse_symbol_name().data if parser.parse_optional_keyword("over") else None
        op = cls(name, shape, element, form, segment, resident, part, rows, over)
        if parser.parse_optional_keyword("at"):
            op.offset = integer(parser.parse_integer())
        return op

    def verify_(self) -> None:
        super().verify_()
        if self.offset is not None and self.offset.value.data < 0:
            raise VerifyException("offset must not be negative")
        if self.resident is not None and self.format.data != "raw":
            raise VerifyException("a resident tensor is raw")
        if (self.whole is None) != (self.first is None):
            raise VerifyException("a part needs its whole and its first channel")
        if self.whole is not None and self.offset is not None:
            raise VerifyException(f"a part of @{self.storage} has no offset of its own")
        if self.ring is not None and (self.resident is None or not 1 <= self.ring < self.extents[0]):
            raise VerifyException(f"rows {self.ring} requires a resident tensor of more rows, and at least 1")
        if self.ring is not None and self.whole is not None:
            raise VerifyException(f"a part of @{self.storage} has no ring of its own")
        if self.over is not None and (self.resident is None or self.ring is not None or self.whole is not None):
            raise VerifyException(f"over {self.over} requires a resident tensor that is no ring of rows and no part")
