"""The loop of the `bfs` dialect."""

from __future__ import annotations

from xdsl.dialects.builtin import IntegerAttr
from xdsl.ir import Block, Region, SSAValue
from xdsl.irdl import IRDLOperation, irdl_op_definition, operand_def, prop_def, region_def, traits_def
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import NoTerminator
from xdsl.utils.exceptions import VerifyException

from dialects.attributes import integer
from dialects.bfs_tiles import INDEX


@irdl_op_definition
class ForOp(IRDLOperation):
    """Loop over [first, first + extent) in steps: the body sees the index i and min(step, first + extent - i)."""

    name = "bfs.for"
    first = operand_def(INDEX)
    extent = operand_def(INDEX)
    step = prop_def(IntegerAttr)
    body = region_def("single_block")
    traits = traits_def(NoTerminator())

    def __init__(self, first: SSAValue, extent: SSAValue, step: int, body: Block):
        super().__init__(operands=[first, extent], properties={"step": integer(step)}, regions=[Region(body)])

    def print(self, printer: Printer) -> None:
        index, size = self.body.block.args
        printer.print_string(" ")
        with printer.in_parens():
            printer.print_ssa_value(index)
            printer.print_string(", ")
            printer.print_ssa_value(size)
        printer.print_string(" = ")
        printer.print_ssa_value(self.first)
        printer.print_string(" size ")
        printer.print_ssa_value(self.extent)
        printer.print_string(f" step {self.step.value.data} ")
        printer.print_region(self.body, print_entry_block_args=False, print_empty_block=False)

    @classmethod
    def parse(cls, parser: Parser) -> ForOp:
        names = parser.parse_comma_separated_list(
            parser.Delimiter.PAREN, lambda: parser.parse_argument(expect_type=False)
        )
        parser.parse_punctuation("=")
        first = parser.parse_operand(INDEX)
        parser.parse_keyword("size")
        extent = parser.parse_operand(INDEX)
        parser.parse_keyword("step")
        step = parser.parse_integer()
        region = parser.parse_region([name.resolve(INDEX) for name in names])
        return cls(first, extent, step, region.detach_block(0))

    def verify_(self) -> None:
        if self.step.value.data < 1:
            raise VerifyException(f"step must be positive, found {self.step.value.data}")
        if [a.type for a in self.body.block.args] != [INDEX, INDEX]:
            raise VerifyException("body must take two indices: first and extent of the step")
