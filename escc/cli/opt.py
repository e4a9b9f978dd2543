"""`esc-opt`: IR text through a pass pipeline to IR text; xDSL's driver with our dialects, passes and diagnostics."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterable, Sequence
from io import BytesIO, StringIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, ClassVar, TextIO

from escc.cli.common import CommandParser, guard, replace_closed_streams
from escc.console import Console
from escc.files import ClashError, Ledger, ledger, write_output
from isa.errors import UserError
from isa.files import read_file
from isa.text import printable

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp

    from passes.pipelines import Registry

DESCRIPTION = "Read IR text of any level, run passes over it, print the result. Everything of xdsl-opt works here too."


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `esc-opt`."""
    replace_closed_streams()
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    files: list[str] = []
    return guard("esc-opt", arguments, lambda: _run(arguments, files), Console(), debug=debug, files=files)


def _check_suffix(name: str | None) -> None:
    """Raise `UserError` on a file whose name does not say that it holds IR text; None is standard input."""
    if name is not None and Path(name).suffix != ".mlir":
        raise UserError(
            f"{name}: IR text must be in a file whose name ends in .mlir, or come from standard input",
            "rename the file, or give its language with --frontend mlir; escc --emit onnx imports a model",
        )


def _run(arguments: Sequence[str], names: list[str]) -> None:
    """Run the driver; the files of its arguments are added to `names`."""
    from xdsl.utils.exceptions import PassFailedException
    from xdsl.xdsl_opt_main import xDSLOptMain

    from escc.driver import provenance, record
    from escc.irtext import TextParser, check_order, checked_text, has_locations, parser_faults
    from escc.universe import multiverse

    class EscOpt(xDSLOptMain):
        collected = _Collected()
        version_format: ClassVar[str] = "esc-opt of escc, built on xdsl {xdsl_version}"

        def register_all_dialects(self) -> None:
            multiverse()  # reports an extension that does not load as a fault of the installation
            super().register_all_dialects()

        def register_all_frontends(self) -> None:
            def parse_mlir(stream: IO[bytes]) -> ModuleOp:
                text, name = stream.read().decode(), self.get_input_name()
                return TextParser(self.ctx, text, name).parse_module(not self.args.no_implicit_module)

            super().register_all_frontends()
            self.available_frontends["mlir"] = parse_mlir

        def register_all_arguments(self, arg_parser: argparse.ArgumentParser) -> None:
            super().register_all_arguments(arg_parser)
            arg_parser.prog = "esc-opt"
            arg_parser.add_argument("--debug", action="store_true", help="Show the Python traceback of any error")
            ours = CommandParser("esc-opt", DESCRIPTION)
            arg_parser.error, arg_parser.formatter_class = ours.error, ours.formatter_class
            passes = next(a for a in arg_parser._actions if a.dest == "passes")  # pyright: ignore[reportPrivateUsage]
            passes.help = _passes_help(self.available_passes)

        def setup_pipeline(self) -> None:
            _check_names(self.args.input_file, self.args.output_file)
            if self.args.input_file == "-":
                self.args.input_file = None
            names.extend(filter(None, (self.args.input_file or "-", self.args.output_file)))
            _check_passes(self.available_passes, self.args.passes)
            super().setup_pipeline()
            _note_files(files, self.args.input_file, self.args.output_file)

        def get_input_stream(self) -> tuple[IO[bytes], str]:
            if self.args.frontend is None:
                _check_suffix(self.args.input_file)
            path = self.args.input_file
            return BytesIO(read_file(path or "-")), "mlir" if path is None else Path(path).suffix.removeprefix(".")

        def prepare_output(self) -> IO[str]:
            return sys.stdout if self.args.output_file is None else self.collected

        def parse_chunk(self, chunk: IO[bytes], file_extension: str, start_offset: int = 0) -> ModuleOp | None:
            data, name = chunk.read(), self.args.input_file or "stdin"
            checked_text(data, name)
            with parser_faults(name):
                module = super().parse_chunk(BytesIO(data), file_extension, start_offset)
            if module is not None and not self.args.disable_verify:
                check_order(module)
            return module

        def apply_passes(self, prog: ModuleOp) -> None:
            self.args.print_debuginfo = self.args.print_debuginfo or has_locations(prog)
            try:
                super().apply_passes(prog)
                if provenance(prog):
                    record(prog, [step.name for step in self.pipeline.passes])
            except UserError as e:
                if not self.args.verify_diagnostics:
                    raise
                raise PassFailedException(_diagnostics(e)) from e

    with ledger() as files:
        tool = EscOpt(DESCRIPTION, arguments)
        plain = contextlib.redirect_stdout(_Printable(sys.stdout))
        with contextlib.nullcontext() if tool.args.syntax_highlight else plain:
            tool.run()
        if tool.args.output_file is not None:
            write_output(tool.args.output_file, tool.collected.getvalue())


def _check_passes(available: Registry, text: str) -> None:
    """End with a usage error if a pipeline names no pass, or options that it does not have."""
    from passes.pipelines import parse

    try:
        parse(available, text)
    except UserError as e:
        CommandParser("esc-opt", DESCRIPTION).error("; ".join(e.causes))


def _check_names(source: str | None, target: str | None) -> None:
    """End with a usage error if the name of a file is empty; None is a stream."""
    for title, path in (("input_file", source), ("-o", target)):
        if path == "":
            CommandParser("esc-opt", DESCRIPTION).error(f"argument {title}: expected the name of a file")


def _passes_help(available: Iterable[str]) -> str:
    """The passes of escc in the order of the pipeline, extensions, and then those of xDSL."""
    from xdsl.universe import XDSL_UNIVERSE

    ours = [name for name in available if name not in XDSL_UNIVERSE.all_passes]
    others = [name for name in available if name in XDSL_UNIVERSE.all_passes]
    return (
        "passes with options, in order, separated by commas (example: -p "
        f"'quantize{{calibration=\"c.npz\"}},fuse-epilogues'). Passes of escc, docs/passes.md: {', '.join(ours)}. "
        f"Passes of xDSL: {', '.join(others)}"
    )


def _diagnostics(error: UserError) -> str:
    """The lines of an error as `--verify-diagnostics` prints them."""
    return "\n".join([f"error: {cause}" for cause in error.causes] + ([f"note: {error.note}"] if error.note else []))


def _note_files(files: Ledger, source: str | None, output: str | None) -> None:
    """Tell the ledger what is read and written; one file for both is an error of usage."""
    try:
        if source is not None:
            files.reads("input_file", source)
        if output is not None:
            files.claims("-o/--output-file", output)
    except ClashError as e:
        CommandParser("esc-opt", DESCRIPTION).error(e.causes[0])


class _Printable(StringIO):
    """Standard output where the text of diagnostics may hold names of strangers."""

    def __init__(self, stream: TextIO):
        super().__init__()
        self._stream = stream

    def write(self, s: str, /) -> int:
        return self._stream.write("\n".join(map(printable, s.split("\n"))))

    def flush(self) -> None:
        self._stream.flush()


class _Collected(StringIO):
    """Text for a file that is written in one step once all of it is there; closing it loses nothing."""

    def close(self) -> None:
        pass


if __name__ == "__main__":
    raise SystemExit(main())
