"""IR as text: contexts that know every installed dialect, parsing, printing with locations."""

from __future__ import annotations

from io import StringIO

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, UnknownLoc
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from dialects.locations import node_names
from escc.universe import multiverse
from isa.errors import UserError


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
    if isinstance(text, bytes):
        try:
            text = text.decode()
        except UnicodeDecodeError as e:
            raise UserError(f"{name}: not IR text: byte {e.start} is not UTF-8") from e
    if not text.strip():
        raise UserError(f"{name}: empty file", "give an .onnx model or IR text")
    module = Parser(context, text, name).parse_module()
    try:
        module.verify()
    except VerifyException as e:
        raise UserError(f"{name}: {invalid(module, e)}", "the IR text is well-formed but not valid") from e
    return module


def invalid(module: ModuleOp, error: VerifyException) -> str:
    """One line on why a module does not verify, naming the operation and the ONNX nodes that it comes from."""
    for op in module.walk(reverse=True):  # innermost first
        try:
            op.verify(verify_nested_ops=False)
        except VerifyException as e:
            names = ", ".join(f"'{n}'" for n in node_names(op))
            return f"{f'node {names} ' if names else ''}({op.name}): {' '.join(str(e).split())}"
    return " ".join(str(error).split())
