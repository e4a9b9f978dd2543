"""Exit codes and diagnostics shared by the command lines."""

from __future__ import annotations

import argparse
import ctypes
import io
import logging
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import command as tool_path

from escc.cli.common import (
    EXIT_BUG,
    EXIT_INPUT,
    EXIT_INTERRUPT,
    EXIT_OK,
    EXIT_PIPE,
    EXIT_USAGE,
    CommandParser,
    run,
    script,
)
from escc.cli.compress import main as compress
from escc.errors import InternalError
from escc.files import write_output
from isa.errors import UserError
from isa.files import read_file


def call(body: Callable[[argparse.Namespace], int | None], *argv: str) -> int:
    parser = CommandParser("esc-test", "A command for tests.")
    parser.add_common_arguments()
    return run(parser, body, argv)


def raising(error: BaseException) -> Callable[[argparse.Namespace], None]:
    def body(args: argparse.Namespace) -> None:
        raise error

    return body


@pytest.mark.parametrize("name", ["escc", "esc-emu", "esc-compress", "esc-compare", "esc-as", "esc-dis"])
def test_help_fits_a_terminal_of_80_columns(name: str) -> None:
    environment = {**os.environ, "COLUMNS": "80"}
    text = subprocess.run([tool_path(name), "--help"], env=environment, capture_output=True, text=True, check=True)
    _, _, behind_usage = text.stdout.partition("\n\n")  # what belongs together in the usage is never broken
    assert behind_usage and not [line for line in behind_usage.splitlines() if len(line) > 80]


def test_success_and_chosen_exit_codes() -> None:
    assert call(lambda args: None) == EXIT_OK
    assert call(lambda args: 1) == EXIT_INPUT


def test_user_error_prints_every_cause_and_one_note(capsys: pytest.CaptureFixture[str]) -> None:
    code = call(
        raising(UserError(["m.onnx: node 'a' (Foo): unsupported", "m.onnx: node 'b' (Bar): unsupported"], "fix it"))
    )
    captured = capsys.readouterr()
    assert code == EXIT_INPUT and captured.out == ""
    assert captured.err.splitlines() == [
        "error: m.onnx: node 'a' (Foo): unsupported",
        "error: m.onnx: node 'b' (Bar): unsupported",
        "note: fix it",
    ]


@pytest.mark.parametrize("error", [FileNotFoundError(2, "No such file or directory", "x.npz"), MemoryError()])
def test_faults_of_the_system_are_no_bugs(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(raising(error)) == EXIT_INPUT
    assert "Traceback" not in capsys.readouterr().err


def test_no_memory_is_no_bug_wherever_it_runs_out(capsys: pytest.CaptureFixture[str]) -> None:
    def wrapped(args: argparse.Namespace) -> None:
        try:
            np.empty(1 << 60, np.uint8)
        except MemoryError as e:
            raise InternalError("pass 'quantize': MemoryError: x") from e

    assert call(wrapped) == EXIT_INPUT
    line, note = capsys.readouterr().err.splitlines()
    assert line.startswith("error: out of memory in pass 'quantize': Unable to allocate 1.00 EiB for an array")
    assert note.startswith("note: the model or its data are too large")
    assert call(raising(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"))) == EXIT_INPUT


def test_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as e:
        call(lambda args: None, "--unknown")
    assert e.value.code == EXIT_USAGE
    assert capsys.readouterr().err.startswith("error: unrecognized arguments: --unknown\nnote: ")


def test_bug_saves_a_reproducer(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(raising(InternalError("pass 'x': ZeroDivisionError", "builtin.module {\n}")), "-v") == EXIT_BUG
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and lines[0].startswith("error: internal: InternalError: pass 'x'")
    (saved,) = tmp_path.iterdir()
    assert saved.name in lines[1]
    text = saved.read_text()
    assert "// command: esc-test -v" in text and "xdsl 0." in text and "// Traceback" in text
    assert text.endswith("builtin.module {\n}\n")
    code = "\n".join(line for line in text.splitlines() if not line.startswith("//"))
    assert code.strip() == "builtin.module {\n}"


def test_traceback_only_with_debug(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(raising(ValueError("x")), "--debug") == EXIT_BUG
    assert "Traceback" in capsys.readouterr().err
    assert call(raising(UserError("x")), "--debug") == EXIT_INPUT
    assert "Traceback" in capsys.readouterr().err


INTERRUPTED = "interrupted; no file was left half-written\n"


def test_interrupt_is_told_in_one_line_and_leaves_no_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def body(args: argparse.Namespace) -> None:
        raise KeyboardInterrupt

    assert call(body) == EXIT_INTERRUPT
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err == INTERRUPTED and not list(tmp_path.iterdir())


def test_an_interrupt_that_a_callback_from_c_drops_is_kept() -> None:
    """Python cannot raise in a function that C calls; a compilation of numba is full of these."""

    def interrupted() -> None:
        raise KeyboardInterrupt

    def body(args: argparse.Namespace) -> None:
        ctypes.CFUNCTYPE(None)(interrupted)()
        for _ in range(1000):
            time.sleep(0.001)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # workers of pytest-xdist may ignore it
    try:
        assert call(body) == EXIT_INTERRUPT
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_interrupt_before_the_command_runs_shows_no_traceback() -> None:
    program = "import escc.cli; raise KeyboardInterrupt"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == -signal.SIGINT and done.stderr.decode() == INTERRUPTED
    done = subprocess.run([sys.executable, "-c", "import escc.cli; raise ValueError"], capture_output=True, check=False)
    assert done.returncode == 1 and b"ValueError" in done.stderr


def test_broken_pipe_is_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    # The guard redirects standard output; give it a copy so that the test's own survives.
    saved = os.dup(1)
    try:
        assert call(raising(BrokenPipeError(32, "Broken pipe"))) == EXIT_PIPE
    finally:
        os.dup2(saved, 1)
        os.close(saved)
    assert capfd.readouterr().err == ""


def test_a_script_whose_reader_goes_away_is_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    saved = os.dup(1)
    try:
        with pytest.raises(SystemExit) as e:
            script(lambda: raising(BrokenPipeError(32, "Broken pipe"))(argparse.Namespace()))
    finally:
        os.dup2(saved, 1)
        os.close(saved)
    assert e.value.code == EXIT_PIPE and capfd.readouterr().err == ""
    with pytest.raises(SystemExit) as e:
        script(lambda: 3)
    assert e.value.code == 3


def test_every_script_of_the_benchmarks_is_run_so() -> None:
    files = [path.read_text() for path in (Path(__file__).parents[2] / "benchmarks").rglob("*.py")]
    scripts = [text for text in files if "__main__" in text]
    assert len(scripts) > 10 and all(
        text.endswith('if __name__ == "__main__":\n    script(main)\n') for text in scripts
    )


def test_warnings_once_each_and_none_of_libraries(capsys: pytest.CaptureFixture[str]) -> None:
    def body(args: argparse.Namespace) -> None:
        for _ in range(2):
            warnings.warn("no calibration", UserWarning, stacklevel=1)
        warnings.warn("old", DeprecationWarning, stacklevel=1)

    assert call(body) == EXIT_OK
    assert capsys.readouterr().err == "warning: no calibration\n"


@pytest.mark.parametrize("option, shown", [("-v", "what a module says\n"), ("-q", "")])
def test_the_log_is_shown_with_v(capsys: pytest.CaptureFixture[str], option: str, shown: str) -> None:
    def body(args: argparse.Namespace) -> None:
        logging.getLogger("escc.compress").info("what a module says")
        logging.getLogger("another.package").info("what a library says")

    for _ in range(2):  # no handler stays behind
        assert call(body, option) == EXIT_OK
        assert capsys.readouterr().err == shown


def test_hints_name_an_extra_that_a_clone_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setattr("escc.cli.compress.find_spec", lambda name: None)
    files = [str(tmp_path / name) for name in ("m.onnx", "x.npz")]
    for path in map(Path, files):
        path.touch()
    assert compress([files[0], "--data", files[1], "-o", str(tmp_path / "n.onnx")]) == EXIT_INPUT
    error, note = capsys.readouterr().err.splitlines()
    assert error.endswith("esc-compress needs torch") and note.endswith("pip install '.[train]'")
    extras = tomllib.loads((request.config.rootpath / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    sources = [p for room in ("escc", "emulator") for p in (request.config.rootpath / room).rglob("*.py")]
    hints = [hint for p in sources for hint in re.findall(r"pip install '\.\[(\w+)\]", p.read_text().replace("\\", ""))]
    assert {"train", "images"} <= set(hints) <= set(extras)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as e:
        call(lambda args: None, "--version")
    assert e.value.code == 0 and capsys.readouterr().out.startswith("esc-test 0.")


def test_files(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    path = tmp_path / "x.bin"
    write_output(str(path), b"abc")
    assert read_file(str(path)) == b"abc" and [p.name for p in tmp_path.iterdir()] == ["x.bin"]
    write_output(str(path), "übung")
    assert path.read_text(encoding="utf-8") == "übung"
    write_output("-", b"\x00\xff")
    assert capfdbinary.readouterr().out == b"\x00\xff"
    write_output(os.devnull, b"x")
    with pytest.raises(UserError, match="no/such"):
        write_output(str(tmp_path / "no/such/x.bin"), b"")
    with pytest.raises(UserError, match="directory"):
        write_output(str(tmp_path), b"")
    with pytest.raises(UserError, match=r"absent\.bin: No such file"):
        read_file(str(tmp_path / "absent.bin"))


def test_every_error_names_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first input stands before a cause that names neither one of the command's files nor another that exists."""
    monkeypatch.chdir(tmp_path)
    Path("base.toml").write_text("")
    causes = ["layer 'a': too large", "m.bin: 3 bytes", "t.toml:3:4: odd", "base.toml: odd", "argument -o: odd"]

    def body(args: argparse.Namespace) -> None:
        raise UserError(causes)

    def parser() -> CommandParser:
        made = CommandParser("esc-test", "A command for tests.")
        for name in ("model", "--table"):
            made.add_argument(name)
        made.add_common_arguments()
        made.add_files(reads=["model", "table"])
        return made

    for model, named in (("m.bin", "m.bin"), ("-", "stdin")):
        assert run(parser(), body, [model, "--table", "t.toml"]) == EXIT_INPUT
        lines = capsys.readouterr().err.splitlines()
        others = causes[1:] if model == named else ["stdin: m.bin: 3 bytes", *causes[2:]]
        assert lines == [f"error: {cause}" for cause in (f"{named}: {causes[0]}", *others)]


STREAMS = [("escc", "--version"), ("escc", "--help"), ("esc-as", "--help"), ("escc", "--list-targets")]


@pytest.mark.parametrize("command", STREAMS, ids=" ".join)
def test_an_output_that_cannot_be_written_is_one_line(command: tuple[str, ...]) -> None:
    """A full disk, a stream that was closed before the command began, and a reader that went away."""
    line = f"{tool_path(command[0])} {command[1]}"
    for where, why in ((">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")):
        done = subprocess.run(["bash", "-c", f"{line} {where}"], capture_output=True, text=True, check=False)
        assert done.returncode == EXIT_INPUT
        assert done.stderr == f"error: standard output: cannot write: {why}\n"
    done = subprocess.run(["bash", "-c", f"{line} 2>&-"], capture_output=True, text=True, check=False)
    assert done.returncode == EXIT_OK and done.stdout


def test_a_closed_standard_input_is_told(tmp_path: Path) -> None:
    line = f"{tool_path('esc-dis')} - -o m.s <&-"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == EXIT_INPUT and done.stderr == "error: stdin: standard input: Bad file descriptor\n"


def test_warnings_never_go_to_standard_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`print(file=None)` writes to standard output, and None is what Python has for a closed standard error."""
    monkeypatch.setattr("sys.stderr", None)
    shown = io.StringIO()
    monkeypatch.setattr("sys.stdout", shown)
    assert call(lambda args: args.console.warn("odd")) == EXIT_OK
    assert shown.getvalue() == ""
