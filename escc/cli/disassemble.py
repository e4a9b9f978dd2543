"""`esc-dis`: a binary to assembly text."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from escc.cli.common import CommandParser, run
from escc.files import write_output

DESCRIPTION = """\
Print a binary as assembly text, from which esc-as makes the same binary again, byte for byte.

example: esc-dis model.bin --no-data | less"""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `esc-dis`."""
    parser = make_parser()
    return run(parser, lambda args: _body(parser, args), argv)


def make_parser() -> CommandParser:
    """The command line of `esc-dis`."""
    parser = CommandParser("esc-dis", DESCRIPTION)
    parser.add_argument("input", metavar="IN.bin", help="a binary of escc or esc-as; - reads standard input")
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT.s",
        default="-",
        help="the text (default: -, which is standard output; example: -o model.s)",
    )
    parser.add_argument(
        "--no-data",
        action="store_true",
        help="leave out constants and sample; the text then only serves reading (flag; default off)",
    )
    parser.add_common_arguments()
    parser.add_files(reads=["input"], writes=["output"])
    return parser


def _body(parser: CommandParser, args: argparse.Namespace) -> None:
    parser.check_inputs(args)
    from isa.assembly import print_assembly
    from isa.container import read_elf
    from isa.files import read_file

    program = read_elf(read_file(args.input), "stdin" if args.input == "-" else args.input)
    write_output(args.output, print_assembly(program, data=not args.no_data))


if __name__ == "__main__":
    raise SystemExit(main())
