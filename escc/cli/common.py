"""What every command line shares: options, diagnostics, exit codes, reproducers.

A command line is `main(argv=None) -> int` that builds a `CommandParser` and returns `run(parser, body, argv)`, where
`body(args)` does the work, prints results on standard output and returns None (or an exit code other than 0). It raises
`UserError` for what the user can mend; any exception that is no such fault is a bug of ours and ends in `EXIT_BUG`.
"""

from __future__ import annotations

import _thread
import argparse
import contextlib
import errno
import io
import logging
import os
import platform
import re
import shlex
import sys
import tempfile
import textwrap
import threading
import traceback
import warnings
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, NoReturn, TextIO, cast

from escc.cli import tell_interrupted
from escc.console import Console
from escc.errors import one_line, user_fault
from escc.files import ClashError, Ledger, ledger, unreadable
from escc.version import version
from isa.errors import UserError
from isa.found import at_fault, extensions
from isa.text import clipped, printable

EXIT_OK = 0
EXIT_INPUT = 1
"""The input is at fault."""
EXIT_USAGE = 2
EXIT_BUG = 70
"""The fault is ours; a reproducer was saved."""
EXIT_INTERRUPT = 130
EXIT_PIPE = 141

_UNWRITABLE = (errno.EBADF, errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
"""What goes wrong with writing. Where no file is named, standard output was written: files name themselves."""

REPORT_URL_HINT = "report it together with that file; --debug shows the traceback"


class _Help(argparse.RawDescriptionHelpFormatter):
    """Wraps paragraphs to the terminal, never inside a word: names of options and passes hold hyphens. Lists of
    examples, which are indented, stay.
    """

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        blocks = (b if "\n  " in b else "\n".join(self._split_lines(b, width)) for b in text.split("\n\n"))
        return textwrap.indent("\n\n".join(blocks), indent)


class CommandParser(argparse.ArgumentParser):
    """Argument parser with our diagnostics on usage errors (exit code 2) and the options common to all commands."""

    def __init__(self, prog: str, description: str, **options: Any):
        options.setdefault("formatter_class", _Help)
        super().__init__(prog=prog, description=description, allow_abbrev=False, **options)
        self._reads: dict[str, str] = {}
        self._writes: dict[str, str] = {}
        self._streams: frozenset[str] = frozenset()

    def add_common_arguments(self) -> None:
        """Add -v, -q, --debug and --version; call it last so that they close the help."""
        group = self.add_argument_group("general")
        level = group.add_mutually_exclusive_group()
        level.add_argument(
            "-v", "--verbose", action="store_true", help="tell more on standard error (flag; default off)"
        )
        level.add_argument(
            "-q", "--quiet", action="store_true", help="only errors and warnings on standard error (flag; default off)"
        )
        group.add_argument(
            "--debug", action="store_true", help="show the Python traceback of any error (flag; default off)"
        )
        group.add_argument("--version", action=_Version, help="print the version and exit")

    def add_files(
        self, reads: Sequence[str] = (), writes: Sequence[str] = (), streams: Sequence[str] | None = None
    ) -> None:
        """Say which arguments name files, by their `dest`; call it when all arguments are there.

        An argument `target` may also be the name of an installed target. Those of `streams`, by default all, may be -
        for standard input or output.
        """
        self._streams = frozenset((*reads, *writes) if streams is None else streams)
        titles = {a.dest: "/".join(a.option_strings) or str(a.metavar) for a in self._actions}
        self._reads.update({dest: titles[dest] for dest in reads})
        self._writes.update({dest: titles[dest] for dest in writes})

    def claim_files(self, args: argparse.Namespace, files: Ledger) -> None:
        """Enter the files that the arguments name.

        It is a usage error if an output is another of them, if a name is empty, if - stands where no stream is read or
        written, and if there is no such target.
        """
        for dest, title in (*self._reads.items(), *self._writes.items()):
            for path in _paths(args, dest):
                if not path or (path == "-" and dest not in self._streams):
                    self.error(f"argument {title}: expected the name of a file, found '{path}'")
        for dest, title in self._reads.items():
            for path in _paths(args, dest):
                files.reads(title, path)
                if dest == "target":
                    self._claim_target(files, title, path)
        for dest, title in self._writes.items():
            for path in _paths(args, dest):
                self.claim_output(files, title, path)

    def check_inputs(self, args: argparse.Namespace, named: str = "") -> None:
        """Raise UserError naming every input that cannot be read: better known at once than after heavy imports.

        A command calls it once the options are judged. The argument `named` may be NAME=FILE, which only the command
        can tell from a file.
        """
        inputs = {path: dest for dest in self._reads if dest != "target" for path in _paths(args, dest) if path != "-"}
        told = [path for path, dest in inputs.items() if dest != named or "=" not in path]
        causes = [f"{path}: {why}" for path in told if (why := unreadable(path))]
        if causes:
            raise UserError(causes)

    def _claim_target(self, files: Ledger, title: str, name_or_file: str) -> None:
        from isa.target_files import TargetError, UnknownTargetError, target_files

        try:
            for path in target_files(name_or_file):
                files.reads("a file of --target", str(path))
        except UnknownTargetError as e:
            self.error(f"argument {title}: {e.causes[0]}")
        except TargetError:
            pass  # whoever loads it says what is wrong

    def claim_output(self, files: Ledger, title: str, path: str) -> None:
        """Enter an output. It is a usage error if it is another file of the command."""
        try:
            files.claims(title, path)
        except ClashError as e:
            self.error(e.causes[0])

    def files_of(self, args: argparse.Namespace) -> list[str]:
        """The files that the arguments name, inputs first; a target may be a name, and says itself which file it is."""
        return [path for dest in (*self._reads, *self._writes) if dest != "target" for path in _paths(args, dest)]

    def print_help(self, file: Any = None) -> None:
        if file is not None:
            super().print_help(file)
        else:
            self.leave(self.format_help())

    def changed(self, args: argparse.Namespace, *names: str) -> list[str]:
        """Flags of those of some options that have another value than by default."""
        found: list[str] = []
        for action in self._actions:
            if action.dest in names:
                default = action.default
                value = self._get_value(action, default) if isinstance(default, str) else default
                found += [action.option_strings[-1]] if getattr(args, action.dest) != value else []
        return found

    def leave(self, text: str) -> NoReturn:
        """Print a text on standard output and leave the process, as any other command that prints its result."""
        raise SystemExit(guard(self.prog, (), lambda: print(text, end=""), Console()))

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        """As argparse, which takes a fault of what is installed for one of the value: UserError is a ValueError."""
        try:
            return super()._get_value(action, arg_string)
        except argparse.ArgumentError as error:
            if not isinstance(error.__context__, UserError):
                raise
            print_error(error.__context__)
            raise SystemExit(EXIT_INPUT) from None

    def error(self, message: str) -> NoReturn:
        self.refuse(UserError(message))

    def refuse(self, error: UserError) -> NoReturn:
        """Leave with a usage error, whose note is by default where the options are explained."""
        print_error(UserError(error.causes, error.note or f"run '{self.prog} --help' for the options"))
        raise SystemExit(EXIT_USAGE)


def _paths(args: argparse.Namespace, dest: str) -> list[str]:
    value: object = getattr(args, dest)
    return [str(v) for v in (cast("list[object]", value) if isinstance(value, list) else [value]) if v is not None]


class _Version(argparse.Action):
    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any):
        super().__init__(
            option_strings, argparse.SUPPRESS, nargs=0, default=argparse.SUPPRESS, help=options.get("help")
        )

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        cast(CommandParser, parser).leave(f"{parser.prog} {version('escc')}\n")


def flag_of(option: str) -> str:
    """How a command line spells an option that Python calls `option`."""
    return "--" + option.replace("_", "-")


def run(
    parser: CommandParser,
    body: Callable[[argparse.Namespace], int | None],
    argv: Sequence[str] | None = None,
) -> int:
    """Parse `argv` (default: the process's), call `body(args)` with `args.console` and `args.files` set.

    The files that the arguments name are entered first, so that no output replaces an input. Exceptions become
    diagnostics. Returns the exit code. Usage errors, --help and --version leave through SystemExit as usual with
    argparse.
    """
    replace_closed_streams()
    arguments = list(sys.argv[1:] if argv is None else argv)
    args = parser.parse_args(arguments)
    debug = bool(getattr(args, "debug", False))
    console = Console(bool(getattr(args, "quiet", False)), bool(getattr(args, "verbose", False)))
    args.console = console

    def guarded() -> int | None:
        with ledger() as args.files:
            parser.claim_files(args, args.files)
            return body(args)

    return guard(parser.prog, arguments, guarded, console, debug=debug, files=parser.files_of(args))


def guard(
    prog: str,
    arguments: Sequence[str],
    body: Callable[[], int | None],
    console: Console,
    *,
    debug: bool = False,
    files: Sequence[str] = (),
) -> int:
    """Call `body` and turn whatever it raises into diagnostics and an exit code.

    A fault of the input that names no file is one of the first of `files`, the files of the command.
    """
    # One BLAS thread unless the user says otherwise, set before NumPy loads: the products are small, threads that wait
    # for each other cost many times what they gain, and float sums would depend on the number of processors.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    _tolerate_encodings()
    try:
        with _warnings_on(console), _log_on(console), _interrupts_kept():
            code = body() or EXIT_OK
            sys.stdout.flush()
            return code
    except BrokenPipeError:  # the reader went away
        _abandon_output()
        return EXIT_PIPE
    except KeyboardInterrupt:
        console.progress("")
        tell_interrupted()
        return EXIT_INTERRUPT
    except (Exception, SystemExit) as error:
        if isinstance(error, SystemExit) and not at_fault(error):
            raise
        console.progress("")
        if debug:
            traceback.print_exc()
        if isinstance(error, OSError) and not error.filename and error.errno in _UNWRITABLE:
            print_error(UserError(f"standard output: cannot write: {error.strerror or error}"))
            _abandon_output()
            return EXIT_INPUT
        fault = user_fault(error)
        if fault is not None:
            causes = fault.details if console.verbose else fault.causes
            print_error(UserError([naming(cause, files) for cause in causes], fault.note))
            return EXIT_INPUT
        reason = clipped(one_line(str(error)), 400)
        print(f"error: internal: {type(error).__name__}: {reason}", file=sys.stderr)
        saved = _save_reproducer(prog, arguments, error)
        print(f"note: this is a bug; saved '{printable(saved)}'; {REPORT_URL_HINT}", file=sys.stderr)
        if added := extensions():
            print(f"note: or a fault of what extends escc here, {', '.join(added)}; try without", file=sys.stderr)
        return EXIT_BUG


def script(main: Callable[[], int | None]) -> NoReturn:
    """Run the `main` of a script of the tree that is no command of its own, and leave with what it returns.

    A reader that goes away, such as `head`, ends it without a word.
    """
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:
        _abandon_output()
        code = EXIT_PIPE
    sys.exit(code)


def replace_closed_streams() -> None:
    """Give a process that was started without standard streams some that behave like closed ones.

    Python has None instead; `print` would take that of standard error for standard output.
    """
    if sys.stdin is None:  # pyright: ignore[reportUnnecessaryComparison]
        sys.stdin = io.TextIOWrapper(_Closed())  # pyright: ignore[reportUnreachable]
    if sys.stdout is None:  # pyright: ignore[reportUnnecessaryComparison]
        sys.stdout = io.TextIOWrapper(_Closed(), write_through=True)  # pyright: ignore[reportUnreachable]
    if sys.stderr is None:  # pyright: ignore[reportUnnecessaryComparison]
        sys.stderr = open(os.devnull, "w")  # pyright: ignore[reportUnreachable] # noqa: SIM115, PTH123


class _Closed(io.BufferedIOBase):
    """A standard stream that was closed before the process began."""

    name = "closed"

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), "standard input")

    def write(self, buffer: Any, /) -> int:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))


def _abandon_output() -> None:
    """Give the interpreter a place to flush standard output to at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _tolerate_encodings() -> None:
    """Let a terminal that knows fewer characters show escapes for the others."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def naming(cause: str, files: Sequence[str]) -> str:
    """The cause with the first of `files` before it, unless it begins with one of them or with another file.

    A file of that name, maybe with line and column (`m.mlir:3:7: ...`), or `argument ...` stands at the beginning.
    """
    names = ["stdin" if name == "-" else name for name in files]
    head = re.sub(r"(:\d+)+$", "", cause.partition(": ")[0])
    if not names or cause.startswith((*(f"{name}:" for name in names), "argument ")) or os.path.lexists(head):
        return cause
    return f"{names[0]}: {cause}"


def print_error(error: UserError, stream: TextIO | None = None) -> None:
    """Print every cause as `error: ...`, then the note."""
    out = sys.stderr if stream is None else stream
    for cause in error.causes:
        print(f"error: {clipped(cause)}", file=out)
    if error.note:
        print(f"note: {clipped(error.note)}", file=out)


@contextlib.contextmanager
def _warnings_on(console: Console) -> Generator[None]:
    """Show `UserWarning`s as diagnostics; those of libraries for developers only with -v."""

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        if issubclass(category, UserWarning):
            console.warn(str(message))
        else:
            console.detail(f"warning: {category.__name__}: {one_line(str(message))}")

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show
        yield


_MOMENT = 0.02
"""Seconds."""


@contextlib.contextmanager
def _interrupts_kept() -> Generator[None]:
    """Raise Ctrl-C again that came while a library called Python from C, where Python can only drop it.

    That happens a moment later, from another thread: raised at once, it would be dropped too.
    """
    before = sys.unraisablehook

    def again(dropped: sys.UnraisableHookArgs) -> None:
        if issubclass(dropped.exc_type, KeyboardInterrupt):
            later = threading.Timer(_MOMENT, _thread.interrupt_main)
            later.daemon = True
            later.start()
        else:
            before(dropped)

    sys.unraisablehook = again
    try:
        yield
    finally:
        sys.unraisablehook = before


@contextlib.contextmanager
def _log_on(console: Console) -> Generator[None]:
    """Show what our modules log with -v."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            console.detail(record.getMessage())

    log, handler = logging.getLogger("escc"), Handler()
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before)


def _save_reproducer(prog: str, arguments: Sequence[str], error: BaseException) -> str:
    """Write what is needed to repeat a failure; returns the file name (or why there is none)."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("escc", "xdsl", "onnx", "numpy", "numba"))
    lines = [
        f"// command: {printable(shlex.join([prog, *arguments]))}",
        f"// directory: {printable(str(Path.cwd()))}",
        f"// versions: {versions}, python {platform.python_version()}, {platform.platform()}",
        *(f"// {printable(row)}" for row in "".join(traceback.format_exception(error)).splitlines()),
    ]
    ir = getattr(error, "ir", "")
    text = "\n".join(lines) + "\n" + (f"\n{ir}\n" if ir else "")
    for folder in (None, tempfile.gettempdir()):
        try:
            handle, name = tempfile.mkstemp(prefix=f"{prog}-crash-", suffix=".mlir", dir=folder or Path.cwd())
            with os.fdopen(handle, "w", encoding="utf-8") as f:
                f.write(text)
        except OSError:
            continue
        return os.path.relpath(name) if folder is None else name
    return "nothing (no writable directory)"
