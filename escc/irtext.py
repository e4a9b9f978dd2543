"""IR as text: contexts that know every installed dialect, parsing, printing with locations."""

from __future__ import annotations

import struct
from collections.abc import Generator
from contextlib import contextmanager
from io import StringIO

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, StringAttr, UnknownLoc
from xdsl.ir import Operation, Region, SSAValue
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import IsolatedFromAbove
from xdsl.utils.exceptions import DiagnosticException, ParseError, VerifyException
from xdsl.utils.mlir_lexer import MLIRTokenKind, StringLiteral

from dialects.locations import node_names
from escc.irscan import check_text
from escc.universe import multiverse
from isa.errors import UserError


class TextParser(Parser):
    """xDSL's parser for what its printer writes.

    A string with characters beyond ASCII is printed as bytes; here it reads back as a string.
    """

    def parse_optional_str_literal(self) -> str | None:
        text = super().parse_optional_str_literal()
        return self._parse_optional_printed_text() if text is None else text

    def _parse_optional_string_attr(self) -> StringAttr | None:
        text = self.parse_optional_str_literal()
        return None if text is None else StringAttr(text)

    def _parse_optional_printed_text(self) -> str | None:
        token = self._current_token
        if token.kind != MLIRTokenKind.BYTES_LIT:
            return None
        try:
            text = StringLiteral.from_span(token.span).string_contents
        except UnicodeDecodeError:
            return None
        self._consume_token(MLIRTokenKind.BYTES_LIT)
        return text


def make_context() -> Context:
    """A context in which every installed dialect is found by name."""
    context = Context()
    for name, factory in multiverse().all_dialects.items():
        context.register_dialect(name, factory)
    return context


def has_locations(module: ModuleOp) -> bool:
    """Whether any operation knows where it comes from."""
    return any(not isinstance(op.location, UnknownLoc) for op in module.walk())


def print_module(module: ModuleOp) -> str:
    """Text of a module; every operation with its location if there is any."""
    out = StringIO()
    Printer(stream=out, print_debuginfo=has_locations(module)).print_op(module)
    return out.getvalue() + "\n"


def parse_module(context: Context, text: bytes | str, name: str) -> ModuleOp:
    """Parse and verify IR text. Raises UserError if it is not UTF-8 or does not verify, ParseError on bad syntax."""
    text = checked_text(text, name)
    if not text.strip():
        raise UserError(f"{name}: empty file", "give an .onnx model or IR text")
    module: ModuleOp | None = None
    try:
        with parser_faults(name):
            module = TextParser(context, text, name).parse_module()
        check_order(module)  # first: the verifier cannot bear values that nothing defines
        module.verify()
    except VerifyException as e:
        what = " ".join(str(e).split()) if module is None else invalid(module, e)
        raise UserError(f"{name}: {what}", "the IR text is well-formed but not valid") from e
    return module


@contextmanager
def parser_faults(name: str) -> Generator[None]:
    """Turn what the parser does not call by its name into UserError: numbers out of range, too deep nesting."""
    try:
        yield
    except (UserError, ParseError, DiagnosticException):
        raise
    except (ValueError, ArithmeticError, NotImplementedError, struct.error) as e:
        what = " ".join(str(e).split())
        raise UserError(f"{name}: {what}"[:300], "the IR text does not parse") from e
    except RecursionError as e:
        raise UserError(f"{name}: nested too deeply", "the IR text does not parse") from e


def checked_text(text: bytes | str, name: str) -> str:
    """IR text that is fit for the parser. Raises UserError (`escc.irscan`)."""
    if isinstance(text, bytes):
        try:
            text = text.decode()
        except UnicodeDecodeError as e:
            raise UserError(f"{name}: not IR text: byte {e.start} is not UTF-8") from e
    check_text(text, name)
    return text


def check_order(module: ModuleOp) -> None:
    """Check that every operation uses only values that are defined above it; xDSL's verifier does not.

    Raises VerifyException. Where a region has several blocks, the values of its other blocks count as defined: none of
    our levels has such regions. Takes time linear in the size of the module.
    """
    for region in module.regions:
        _check_region(region, set())


def _check_region(region: Region, visible: set[SSAValue]) -> None:
    blocks = list(region.blocks)
    own = {block: [*block.args, *(result for op in block.ops for result in op.results)] for block in blocks}
    for values in own.values():
        visible.update(values)
    for block in blocks:
        visible.difference_update(own[block])
        visible.update(block.args)
        for op in block.ops:
            _check_operation(op, visible)
            visible.update(op.results)
    for values in own.values():
        visible.difference_update(values)


def _check_operation(op: Operation, visible: set[SSAValue]) -> None:
    for number, operand in enumerate(op.operands):
        if operand not in visible:
            hint = f" '%{operand.name_hint}'" if operand.name_hint else ""
            names = ", ".join(f"'{n}'" for n in node_names(op))
            raise OrderError(
                f"{f'node {names} ' if names else ''}({op.name}): operand {number}{hint} is not defined above its use"
            )
    for region in op.regions:
        _check_region(region, set() if op.has_trait(IsolatedFromAbove) else visible)


class OrderError(VerifyException):
    """A value is used where it is not defined; the message names the operation."""


def invalid(module: ModuleOp, error: VerifyException) -> str:
    """One line on why a module does not verify, naming the operation and the ONNX nodes that it comes from."""
    if isinstance(error, OrderError):
        return str(error)
    for op in module.walk(region_first=True):  # innermost first, as the verifier goes
        try:
            op.verify(verify_nested_ops=False)
        except VerifyException as e:
            names = ", ".join(f"'{n}'" for n in node_names(op))
            return f"{f'node {names} ' if names else ''}({op.name}): {' '.join(str(e).split())}"
    return " ".join(str(error).split())
