"""Tensors of the `eisa` dialect: where the activations of a program lie."""

from __future__ import annotations

from dataclasses import replace

from xdsl.dialects.builtin import IntegerAttr, StringAttr, UnitAttr
from xdsl.ir import Attribute
from xdsl.irdl import irdl_op_definition, opt_prop_def, prop_def
from xdsl.parser import Parser
from xdsl.printer import Printer

from dialects.attributes import i64_array, integer
from dialects.esc import QType
from dialects.machine import FORMATS, TensorDecl
from isa.program import TensorRef

_FORMAT_NAMES = {value: name for name, value in FORMATS.items()}


@irdl_op_definition
class TensorOp(TensorDecl):
    """An activation tensor at an absolute address of DRAM or, if it is `resident`, of ACT; or the channels from
    `first_c` on of one of `whole_c` channels there.
    """

    name = "eisa.tensor"
    tensor_name = prop_def(StringAttr)
    address = prop_def(IntegerAttr)
    resident = opt_prop_def(UnitAttr)
    first_c = opt_prop_def(IntegerAttr)
    whole_c = opt_prop_def(IntegerAttr)

    @classmethod
    def of(cls, symbol: str, ref: TensorRef) -> TensorOp:
        """The declaration of a tensor of a program."""
        properties: dict[str, Attribute] = {
            "sym_name": StringAttr(symbol),
            "tensor_name": StringAttr(ref.name),
            "shape": i64_array((ref.h, ref.w, ref.c)),
            "element": QType.of(ref.signed, ref.scale),
            "format": StringAttr(_FORMAT_NAMES[ref.format]),
            "segment": integer(ref.segment),
            "address": integer(ref.address),
        }
        if ref.resident:
            properties["resident"] = UnitAttr()
        if ref.whole_c:
            properties |= {"first_c": integer(ref.first_c), "whole_c": integer(ref.whole_c)}
        return cls.create(properties=properties)

    @property
    def ref(self) -> TensorRef:
        """The tensor as programs name it."""
        h, w, c = self.extents
        q = self.element
        segment = self.segment.value.data
        address = self.address.value.data
        on_chip = self.resident is not None
        ref = TensorRef(
            self.tensor_name.data, address, h, w, c, self.tensor_format, segment, q.signed, q.scale, on_chip
        )
        if self.first_c is None or self.whole_c is None:
            return ref
        return replace(ref, first_c=self.first_c.value.data, whole_c=self.whole_c.value.data)

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_symbol_name(self.sym_name.data)
        printer.print_string(" ")
        printer.print_string_literal(self.tensor_name.data)
        printer.print_string(f" : {'x'.join(map(str, self.extents))} ")
        printer.print_attribute(self.element)
        printer.print_string(f" {self.format.data} segment {self.segment.value.data}")
        printer.print_string(" resident" if self.resident is not None else "")
        if self.first_c is not None and self.whole_c is not None:
            printer.print_string(f" from {self.first_c.value.data} of {self.whole_c.value.data}")
        printer.print_string(f" at {self.address.value.data}")

    @classmethod
    def parse(cls, parser: Parser) -> TensorOp:
        symbol = parser.parse_symbol_name().data
        name = parser.parse_str_literal()
        parser.parse_punctuation(":")
        h, w, c = (*parser.parse_dimension_list(), 1, 1, 1)[:3]
        element = parser.parse_attribute()
        if not isinstance(element, QType):
            parser.raise_error("expected !esc.q<...>")
        form = parser.parse_identifier()
        if form not in FORMATS:
            parser.raise_error(f"expected raw or bitmap, found {form}")
        parser.parse_keyword("segment")
        segment = parser.parse_integer()
        resident = parser.parse_optional_keyword("resident") is not None
        first_c = whole_c = 0
        if parser.parse_optional_keyword("from"):
            first_c = parser.parse_integer()
            parser.parse_keyword("of")
            whole_c = parser.parse_integer()
        parser.parse_keyword("at")
        address = parser.parse_integer()
        ref = TensorRef(name, address, h, w, c, FORMATS[form], segment, element.signed, element.scale, resident)
        return cls.of(symbol, replace(ref, first_c=first_c, whole_c=whole_c))
