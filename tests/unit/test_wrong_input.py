"""Whatever is wrong with a command line: one line of error for each cause, one note at most, and nothing written.

Every argument of every command that names a file is given what is no such file, every number what is no number, every
choice an unknown name, every pair that excludes each other both. Names of files are hostile throughout.
"""

from __future__ import annotations

import argparse
import errno
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sample_models import residual_model

from escc.cli import assemble, compare, compile, compile_options, compress, compress_options, disassemble, emulate, opt
from escc.cli.common import EXIT_INPUT, EXIT_OK, EXIT_PIPE, EXIT_USAGE, CommandParser

Main = Callable[[Sequence[str]], int]

COMMANDS: Mapping[str, tuple[Main, Callable[[], CommandParser], tuple[str, ...]]] = {
    "escc": (compile.main, compile_options.make_parser, ("m.onnx", "--scheme=dense", "-o", "out")),
    "esc-emu": (emulate.main, emulate.make_parser, ("m.bin",)),
    "esc-compress": (compress.main, compress_options.make_parser, ("m.onnx", "--data", "x.npz", "-o", "out")),
    "esc-compare": (compare.main, compare.make_parser, ("m.onnx", "--data", "x.npz")),
    "esc-as": (assemble.main, assemble.make_parser, ("m.s", "-o", "out")),
    "esc-dis": (disassemble.main, disassemble.make_parser, ("m.bin", "-o", "out")),
}
"""Each command with its parser and a command line that is right."""
FAULTS: Mapping[str, bytes | None] = {
    "absent": None,
    "folder": None,
    "empty": b"",
    "noise": bytes(range(256)) * 5,
    "text": b"This is no such file.\n",
    "archive": b"PK\x03\x04" + bytes(60),
    "elf": b"\x7fELF" + bytes(60),
}
"""What may lie where a file is expected."""
NAME = "bad 'name'=\n\x1b[31m\u202eerror: ü%s{}"
"""Of such a file: spaces, a line break, colours, text from right to left, and what formats take for their own."""


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file of each kind."""
    folder = tmp_path_factory.mktemp("good")
    (folder / "m.onnx").write_bytes(residual_model())
    np.savez(folder / "x.npz", x=np.ones((4, 3, 8, 8), np.float32), y=np.zeros(4, np.int64))
    options = ["--calibration", str(folder / "x.npz"), "--scheme", "dense", "-q"]
    assert compile.main([str(folder / "m.onnx"), "-o", str(folder / "m.bin"), *options]) == 0
    assert disassemble.main([str(folder / "m.bin"), "-o", str(folder / "m.s")]) == 0
    (folder / "m.mlir").write_text("builtin.module {}")
    return folder


@pytest.fixture
def folder(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for file in good.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every file below a folder with its bytes, and every folder."""
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


def refused(main: Main, arguments: Sequence[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The causes that a command gives, which must leave everything as it was."""
    before = contents(folder)
    capsys.readouterr()
    try:
        code: object = main(arguments)
    except SystemExit as stop:
        code = stop.code
    out, err = capsys.readouterr()
    assert code in (EXIT_INPUT, EXIT_USAGE), (code, out, err)
    assert out == "" and contents(folder) == before
    lines = err.split("\n")[:-1]
    assert all(line.isprintable() and "\u202e" not in line for line in lines), lines
    causes = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    notes = [line for line in lines if line.startswith("note: ")]
    assert (
        causes
        and len(notes) <= 1
        and lines[len(lines) - len(causes) - len(notes) :]
        == [
            *(f"error: {cause}" for cause in causes),
            *notes,
        ]
    )
    assert len(set(causes)) == len(causes) and all(len(line) < 600 for line in lines)
    return causes


def arguments_of(name: str, chosen: Callable[[argparse.Action], bool]) -> Iterator[Any]:
    """The arguments of a command that are chosen, as parameters of a test."""
    for action in COMMANDS[name][1]()._actions:
        if chosen(action):
            yield pytest.param(name, action, id=f"{name}-{action.dest}")


def given(name: str, action: argparse.Action, *values: str) -> list[str]:
    """The right command line of a command with other values for an argument."""
    line = list(COMMANDS[name][2])
    if not action.option_strings:
        return [*values, *line[1:]]
    for option in action.option_strings:
        if option in line:
            at = line.index(option)
            del line[at : at + 2]
    if action.dest == "diff":
        return ["--diff", *values]
    return [*line, *(f"{action.option_strings[-1]}={value}" for value in values)]


def put(kind: str, name: str) -> None:
    """Make what is no such file."""
    data = FAULTS[kind]
    if kind == "folder":
        Path(name).mkdir()
    elif data is not None:
        Path(name).write_bytes(data)


def _reads(name: str) -> Iterator[Any]:
    reads = COMMANDS[name][1]()._reads
    return arguments_of(name, lambda action: action.dest in reads)


def _writes(name: str) -> Iterator[Any]:
    writes = COMMANDS[name][1]()._writes
    return arguments_of(name, lambda action: action.dest in writes)


READS = [param for name in COMMANDS for param in _reads(name)]
WRITES = [param for name in COMMANDS for param in _writes(name)]
SUFFIXES = {"report": ".html", "target": ".toml", "calibration": ".npz"}
"""Ends that names of files must have, or else they are taken for something else."""


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize(("name", "action"), READS)
def test_a_file_that_is_none(
    name: str, action: argparse.Action, kind: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = NAME + SUFFIXES.get(action.dest, "")
    put(kind, file)
    values = (file, "x.npz") if action.dest == "diff" else (file,)
    causes = refused(COMMANDS[name][0], given(name, action, *values), folder, capsys)
    assert any("bad 'name'" in cause for cause in causes), causes


@pytest.mark.parametrize(("name", "action"), WRITES)
def test_an_output_that_cannot_be_written(
    name: str, action: argparse.Action, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suffix = SUFFIXES.get(action.dest, "")
    Path(f"taken{suffix}").mkdir()
    first = COMMANDS[name][2][0]
    for file, why in ((f"no/such/folder/o{suffix}", "does not exist"), (f"taken{suffix}", "is a directory")):
        (cause,) = refused(COMMANDS[name][0], given(name, action, file), folder, capsys)
        assert cause == f"{file}: cannot write: " + (f"directory 'no/such/folder' {why}" if "no" in file else why)
    (cause,) = refused(COMMANDS[name][0], given(name, action, f"{first}/o{suffix}"), folder, capsys)
    assert cause.startswith(f"{first}/o{suffix}: cannot write: ")


@pytest.mark.parametrize("kind", FAULTS)
def test_ir_text_that_is_none(kind: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(kind, f"{NAME}.mlir")
    (cause,) = refused(opt.main, [f"{NAME}.mlir", "-o", "out"], folder, capsys)
    assert cause.startswith("bad 'name'")
    refused(opt.main, [NAME, "-o", "out"], folder, capsys)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["-o", "no/such/out"], "no/such/out: cannot write: directory 'no/such' does not exist"),
        (["-o", "m.mlir"], "argument -o/--output-file: 'm.mlir' is the same file as input_file"),
        (["-p", "no-such-pass"], "pass pipeline: no pass 'no-such-pass'"),
        (["-p", "quantize{seed=x}"], "pass pipeline: 'quantize'"),
        (["-p", "quantize{"], "pass pipeline: column"),
        (["--frontend", "c"], "argument -f/--frontend: invalid choice: 'c'"),
        (["-t", "abacus"], "argument -t/--target: invalid choice: 'abacus'"),
        (["--no-such-option"], "unrecognized arguments: --no-such-option"),
    ],
)
def test_what_is_wrong_with_the_options_of_esc_opt(
    arguments: list[str], why: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (cause,) = refused(opt.main, ["m.mlir", *arguments], folder, capsys)
    assert cause.startswith(why)


def test_nothing_heavy_is_loaded_for_a_file_that_is_missing(folder: Path) -> None:
    """What torch and ONNX take to load is more than the answer is worth."""
    for command, line in (
        ("emulate", ["none.bin"]),
        ("compress", ["none.onnx", "--data", "none.npz", "-o", "out"]),
        ("compare", ["none.onnx", "--data", "none.npz"]),
        ("compile", ["none.onnx"]),
        ("assemble", ["none.s", "-o", "out"]),
        ("disassemble", ["none.bin"]),
    ):
        code = f"import sys; from escc.cli.{command} import main; code = main({line!r}); print(code, *sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        status, *loaded = done.stdout.split()
        assert status == "1" and not {"torch", "onnx", "numba"} & set(loaded), command
        missing = [word for word in line if word.startswith("none")]
        assert done.stderr == "".join(f"error: {file}: No such file or directory\n" for file in missing)


def test_a_training_is_judged_before_torch_is_loaded(folder: Path) -> None:
    for line in (
        ["x.npz", "--data", "x.npz"],
        ["m.onnx", "--data", "m.onnx"],
        ["m.onnx", "--data", "x.npz", "--image-mean", "1,2"],
        ["m.onnx", "--data", "x.npz", "--resume", "--checkpoint", "none.pt"],
    ):
        code = f"import sys; from escc.cli.compress import main; code = main({[*line, '-o', 'out']!r}); "
        code += "print(code, 'torch' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout == "1 False\n" and done.stderr.startswith("error: "), done.stderr


NUMBERS = ("", "abc", "nan", "-1", "1e999", "99999999999999999999", "3 4", "0x10", "\u0663")


def _takes_numbers(action: argparse.Action) -> bool:
    return action.type is not None and action.choices is None and bool(action.option_strings)


@pytest.mark.parametrize(
    ("name", "action"), [param for name in COMMANDS for param in arguments_of(name, _takes_numbers)]
)
def test_a_value_of_the_wrong_kind(
    name: str, action: argparse.Action, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of every option whose value is judged, some such texts are refused, and each in one line that names it."""
    refusals = 0
    for text in NUMBERS:
        try:
            COMMANDS[name][1]().parse_args(given(name, action, text))
        except SystemExit:
            (cause,) = refused(COMMANDS[name][0], given(name, action, text), folder, capsys)
            assert cause.startswith(f"argument {'/'.join(action.option_strings)}: "), cause
            refusals += 1
    assert refusals or action.dest in ("scheme_option", "print_ir_tree_dir"), action.dest


@pytest.mark.parametrize(
    ("name", "action"), [param for name in COMMANDS for param in arguments_of(name, lambda a: a.choices is not None)]
)
def test_a_name_that_is_no_choice(
    name: str, action: argparse.Action, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for text in ("", "no\nsuch"):
        (cause,) = refused(COMMANDS[name][0], given(name, action, text), folder, capsys)
        assert all(str(choice) in cause for choice in action.choices or ())


def _value(action: argparse.Action) -> list[str]:
    """A right way to give an argument."""
    option = action.option_strings[-1]
    return [option] if action.nargs == 0 else [f"{option}={'x.npz' if 'npz' in str(action.metavar) else '1'}"]


EXCLUDING = [
    pytest.param(name, pair, id=f"{name}-{pair[0].dest}-{pair[1].dest}")
    for name in COMMANDS
    for group in COMMANDS[name][1]()._mutually_exclusive_groups
    for pair in combinations(group._group_actions, 2)
]


@pytest.mark.parametrize(("name", "pair"), EXCLUDING)
def test_options_that_exclude_each_other(
    name: str, pair: tuple[argparse.Action, argparse.Action], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = [*COMMANDS[name][2], *_value(pair[0]), *_value(pair[1])]
    (cause,) = refused(COMMANDS[name][0], line, folder, capsys)
    assert all("/".join(action.option_strings) in cause for action in pair) and "not allowed with" in cause


CONFLICTS = [
    ("escc", ["--max-bytes=1K", "--scheme=dense"]),
    ("escc", ["--max-drop=1", "--rate=1", "--scheme=auto"]),
    ("escc", ["--scheme=gs", "--scheme-option", "sparsity=2"]),
    ("escc", ["--scheme=auto", "--forms", "nonsense"]),
    ("escc", ["--report", "r.txt"]),
    ("escc", ["--target", "esc9"]),
    ("escc", ["--print-ir-after", "nonsense"]),
    ("escc", ["--print-ir-tree-dir", ""]),
    ("escc", ["-p", "quantize{"]),
    ("escc", ["--input-shape", "x=1,3,0,8"]),
    ("escc", ["--image-mean", "1,2"]),
    ("escc", ["another.onnx"]),
    ("escc", ["--no-such-option"]),
    ("esc-emu", ["--eval", "x.npz", "--output", "y.npy"]),
    ("esc-emu", ["--input", "x=x.npz", "--input", "x=x.npz"]),
    ("esc-emu", ["--input", "none=x.npz"]),
    ("esc-compress", ["--resume"]),
    ("esc-compress", ["--scheme", "dense"]),
    ("esc-compress", ["--augment", "turn"]),
    ("esc-compress", ["--target", "esc9"]),
    ("esc-compare", ["--diff", "x.npz", "x.npz"]),
    ("esc-compare", ["--schemes", "dense,dense"]),
    ("esc-compare", ["--schemes", "kmeans:basis=3"]),
    ("esc-compare", ["--machines", "abacus"]),
    ("esc-compare", ["--data", "x.npz", "--data", "x.npz"]),
    ("esc-as", ["more.s"]),
    ("esc-dis", ["more.bin"]),
]


@pytest.mark.parametrize(
    ("name", "more"), CONFLICTS, ids=lambda value: " ".join(value) if type(value) is list else value
)
def test_options_that_do_not_go_together(
    name: str, more: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(refused(COMMANDS[name][0], [*COMMANDS[name][2], *more], folder, capsys)) == 1


@pytest.mark.parametrize("name", COMMANDS)
def test_no_argument_at_all(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (cause,) = refused(COMMANDS[name][0], [], folder, capsys)
    assert "required" in cause


@pytest.mark.parametrize("name", ["escc", "esc-emu", "esc-as", "esc-dis"])
@pytest.mark.parametrize("data", FAULTS.values(), ids=FAULTS)
def test_standard_input_that_is_no_such_thing(
    name: str,
    data: bytes | None,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data or b"")))
    causes = refused(COMMANDS[name][0], ["-", *COMMANDS[name][2][1:]], folder, capsys)
    assert all(cause.startswith("stdin") for cause in causes), causes


class _Broken(io.RawIOBase):
    """A stream whose reader went away, or whose disk is full."""

    def __init__(self, code: int):
        self._code = code

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        raise OSError(self._code, os.strerror(self._code))


PRINTING = {
    "escc": ["m.onnx", "--scheme=dense", "--emit", "onnx"],
    "esc-emu": ["m.bin", "--stats-json", "-"],
    "esc-compare": ["--list-machines"],
    "esc-as": ["m.s", "-o", "-"],
    "esc-dis": ["m.bin"],
    "esc-opt": ["m.mlir"],
}


@pytest.mark.parametrize("code", [errno.EPIPE, errno.ENOSPC], ids=["pipe", "full"])
@pytest.mark.parametrize("name", PRINTING)
def test_a_standard_output_that_takes_nothing(
    name: str, code: int, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main = opt.main if name == "esc-opt" else COMMANDS[name][0]
    before = contents(folder)
    raw = _Broken(code)
    with monkeypatch.context() as patch:
        patch.setattr("sys.stdout", io.TextIOWrapper(io.BufferedWriter(raw)))
        found = main(PRINTING[name])
        patch.setattr(raw, "write", len)  # what is left in the buffer when the stream is closed
    err = capsys.readouterr().err
    assert contents(folder) == before
    if code == errno.EPIPE:
        assert found == EXIT_PIPE and "error" not in err
    else:
        assert found == EXIT_INPUT
        assert err.splitlines()[-1] == "error: standard output: cannot write: No space left on device"


@pytest.mark.parametrize("name", ["spaces in it", "line\nbreak", "übung \u202e", "--dashes", "100%{}", "'quotes\""])
def test_files_of_any_name_are_read_and_written(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And no line that is printed is broken, or coloured, by the name."""
    for old, new in (("m.onnx", ".onnx"), ("x.npz", ".npz")):
        Path(old).rename(folder / f"{name}{new}")
    model, data, binary, text = (f"./{name}{suffix}" for suffix in (".onnx", ".npz", ".bin", ".s"))
    report = f"--report=./{name}.json"
    lines = [
        (compile.main, [model, f"--calibration={data}", "--scheme=dense", "-o", binary, report]),
        (emulate.main, [binary, f"--input={data}", f"--output=./{name}.npy", f"--stats-json=./{name}.stats.json"]),
        (emulate.main, [binary, f"--eval={data}", "--jobs=1"]),
        (disassemble.main, [binary, "-o", text]),
        (assemble.main, [text, "-o", f"./{name}.again"]),
    ]
    for main, arguments in lines:
        assert main(arguments) == EXIT_OK
        out, err = capsys.readouterr()
        assert all(line.isprintable() for line in (out + err).split("\n"))
    assert Path(binary).read_bytes() == Path(f"./{name}.again").read_bytes()
    assert json.loads(Path(f"./{name}.json").read_text()) and json.loads(Path(f"./{name}.stats.json").read_text())
