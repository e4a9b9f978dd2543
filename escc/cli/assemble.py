"""`esc-as`: assembly text to a binary."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from escc.cli.common import CommandParser, run
from escc.files import write_output
from isa.errors import UserError
from isa.files import read_file

DESCRIPTION = """\
Assemble a program for ESC-1 into a binary. The language is that of esc-dis and of escc --emit asm;
docs/isa.md describes it.

example: esc-dis model.bin | esc-as - -o again.bin"""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `esc-as`."""
    parser = make_parser()
    return run(parser, lambda args: _body(parser, args), argv)


def make_parser() -> CommandParser:
    """The command line of `esc-as`."""
    parser = CommandParser("esc-as", DESCRIPTION)
    parser.add_argument("input", metavar="IN.s", help="assembly text; - reads standard input")
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT.bin",
        required=True,
        help="the binary; - writes standard output (required; example: -o again.bin)",
    )
    parser.add_common_arguments()
    parser.add_files(reads=["input"], writes=["output"])
    return parser


def _body(parser: CommandParser, args: argparse.Namespace) -> None:
    parser.check_inputs(args)
    from isa.assembly import parse_assembly
    from isa.container import write_elf

    where = "stdin" if args.input == "-" else args.input
    try:
        text = read_file(args.input).decode()
    except UnicodeDecodeError as e:
        raise UserError(f"{where}: not UTF-8 text: {e.reason} at byte {e.start}") from e
    program = parse_assembly(text, where)
    try:
        binary = write_elf(program)
    except UserError as e:
        raise UserError([f"{where}: {cause}" for cause in e.causes], e.note) from e
    write_output(args.output, binary)
    args.console.detail(f"{args.output}: {len(program.instructions)} instructions, {len(binary)} bytes")


if __name__ == "__main__":
    raise SystemExit(main())
