"""No output of a command is one of its inputs or another of its outputs, whatever the two are called."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import sys
from importlib.metadata import entry_points
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from sample_models import residual_model

from escc.cli.common import CommandParser
from escc.files import ClashError, Ledger, ledger, reading, write_output
from isa.errors import UserError

COMMANDS = [
    point
    for point in entry_points(group="console_scripts")
    if point.value.startswith("escc.cli.") and point.name != "esc-opt"  # its parser is xDSL's
]


def parser_of(point: Any, monkeypatch: pytest.MonkeyPatch) -> CommandParser:
    """The parser that a command makes."""
    made: list[CommandParser] = []

    def parse(self: CommandParser, args: Any = None) -> argparse.Namespace:
        made.append(self)
        raise SystemExit(0)

    monkeypatch.setattr(CommandParser, "parse_args", parse)
    with pytest.raises(SystemExit):
        point.load()([])
    return made[0]


def metavar_of(action: argparse.Action) -> str:
    """What the help calls the values of an argument."""
    return action.metavar if isinstance(action.metavar, str) else " ".join(action.metavar or ())


@pytest.mark.parametrize("point", COMMANDS, ids=lambda p: p.name)
def test_every_argument_that_names_a_file_is_entered(point: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    parser = parser_of(point, monkeypatch)
    named = {
        a.dest
        for a in parser._actions
        if re.search(r"FILE|MODEL|IN\.|OUT\.|\.(npz|npy|bin|onnx|json|s)\b", metavar_of(a))
    }
    assert named == parser._reads.keys() | parser._writes.keys() and parser._writes


@pytest.mark.parametrize("point", COMMANDS, ids=lambda p: p.name)
def test_every_pair_of_files_is_kept_apart(
    point: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = parser_of(point, monkeypatch)
    path = tmp_path / "x.toml"
    path.write_text('base = "esc1"\n')
    (tmp_path / "link").symlink_to(path)
    os.link(path, tmp_path / "hard")
    pairs = [(r, w) for r in parser._reads for w in parser._writes] + list(combinations(parser._writes, 2))
    for one, other in pairs:
        for name in ("x.toml", "link", "hard", "../" + tmp_path.name + "/x.toml"):
            args = argparse.Namespace(**dict.fromkeys((*parser._reads, *parser._writes)))
            setattr(args, one, str(path))
            setattr(args, other, [str(tmp_path / name)] if other == "report" else str(tmp_path / name))
            with pytest.raises(SystemExit) as stop, ledger() as files:
                parser.claim_files(args, files)
            assert stop.value.code == 2
            line, note = capsys.readouterr().err.splitlines()
            titles = {**parser._reads, **parser._writes}
            assert line.startswith(f"error: argument {titles[other]}: ") and titles[one] in line
            assert "is the same file as" in line and note.startswith("note: ")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("m.onnx").write_bytes(residual_model())
    Path("m.bin").write_bytes(residual_model())  # an ONNX model under the name that a binary would get
    np.savez("x.npz", x=np.ones((2, 3, 8, 8)))
    Path("t.toml").write_text('base = "base.toml"\nname = "t"\n')
    Path("base.toml").write_text('base = "esc1"\n')
    return tmp_path


@pytest.mark.parametrize(
    ("command", "arguments", "same"),
    [
        ("compile", ["m.onnx", "-o", "m.onnx"], "MODEL"),
        ("compile", ["m.onnx", "--calibration", "x.npz", "-o", "./x.npz"], "--calibration"),
        ("compile", ["m.onnx", "--target", "t.toml", "-o", "t.toml"], "--target"),
        ("compile", ["m.onnx", "--target", "t.toml", "-o", "base.toml"], "a file of --target"),
        ("compile", ["m.onnx", "--report", "r.json", "--report", "./r.json"], "--report"),
        ("compile", ["m.onnx", "-o", "r.json", "--report", "r.json"], "-o/--output"),
        ("compress", ["m.onnx", "--data", "x.npz", "-o", "m.onnx"], "MODEL.onnx"),
        ("compress", ["m.onnx", "--data", "x.npz", "-o", "n", "--checkpoint", "x.npz"], "--data"),
        ("emulate", ["m.bin", "--output", "m.bin"], "MODEL.bin"),
        ("emulate", ["m.bin", "--trace", "m.bin"], "MODEL.bin"),
        ("emulate", ["m.bin", "--eval", "x.npz", "--stats-json", "x.npz"], "--eval"),
        ("emulate", ["m.bin", "--stats-json", "-", "--trace", "-"], "--stats-json"),
        ("assemble", ["m.bin", "-o", "m.bin"], "IN.s"),
        ("disassemble", ["m.bin", "-o", "m.bin"], "IN.bin"),
        ("opt", ["a.mlir", "-o", "a.mlir"], "input_file"),
    ],
)
def test_inputs_survive(
    folder: Path, command: str, arguments: list[str], same: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("a.mlir").write_text("builtin.module {}")
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    with pytest.raises(SystemExit) as stop:
        importlib.import_module(f"escc.cli.{command}").main(arguments)
    assert stop.value.code == 2
    captured = capsys.readouterr()
    line, _ = captured.err.splitlines()
    assert line.startswith("error: argument ") and line.endswith(f"is the same file as {same}; requires another one")
    assert captured.out == "" and {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_ir_after_passes_does_not_replace_what_is_compiled(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main = importlib.import_module("escc.cli.compile").main
    assert main(["m.onnx", "--emit", "onnx", "-o", "01-quantize.mlir"]) == 0
    before = Path("01-quantize.mlir").read_bytes()
    options = ["01-quantize.mlir", "-p", "quantize", "--emit", "esc", "--print-ir-tree-dir", ".", "-o", "x.mlir"]
    assert main(options) == 1
    assert "01-quantize.mlir: cannot write: is the same file as MODEL" in capsys.readouterr().err
    assert Path("01-quantize.mlir").read_bytes() == before and not Path("x.mlir").exists()


def test_nothing_is_written_where_a_report_cannot_be(folder: Path) -> None:
    main = importlib.import_module("escc.cli.compile").main
    assert main(["m.onnx", "--emit", "esc", "-o", "a.mlir", "--report", "r.json"]) == 1
    assert not Path("a.mlir").exists() and not Path("r.json").exists()


def test_a_chunk_that_does_not_parse_leaves_the_output_as_it_was(folder: Path) -> None:
    main = importlib.import_module("escc.cli.opt").main
    Path("a.mlir").write_text("builtin.module {}\n// -----\nbuiltin.module {")
    Path("b.mlir").write_text("before")
    assert main(["a.mlir", "--split-input-file", "-o", "b.mlir"]) == 1
    assert Path("b.mlir").read_text() == "before"
    Path("a.mlir").write_text("builtin.module {}\n// -----\nbuiltin.module {}")
    assert main(["a.mlir", "--split-input-file", "-o", "b.mlir"]) == 0
    assert Path("b.mlir").read_text().count("builtin.module") == 2


def test_files_that_turn_up_on_the_way(tmp_path: Path) -> None:
    weights, link = tmp_path / "m.onnx.data", tmp_path / "link"
    weights.write_bytes(b"weights")
    link.symlink_to(weights)
    with ledger():
        reading(weights, "data of the model")
        with pytest.raises(ClashError, match="link: cannot write: is the same file as data of the model"):
            write_output(str(link), b"")
    with ledger() as files:
        files.claims("-o", str(link))
        with pytest.raises(ClashError, match=r"argument -o: .* is the same file as data of the model"):
            reading(weights, "data of the model")
        write_output(str(tmp_path / "new"), b"1")
        with pytest.raises(ClashError, match="is the same file as another output"):
            write_output(str(tmp_path / "new"), b"2")
    assert weights.read_bytes() == b"weights" and (tmp_path / "new").read_bytes() == b"1"
    write_output(str(weights), b"free again")


def test_devices_and_streams_are_no_files_to_lose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = Ledger()
    files.reads("IN", os.devnull)
    files.claims("--a", os.devnull)
    files.claims("--b", os.devnull)
    with pytest.raises(UserError, match="does not exist"):
        files.claims("--c", str(tmp_path / "none" / "x"))
    path = tmp_path / "x"
    path.write_bytes(b"")
    with path.open("rb") as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        files.reads("IN", "-")
    with pytest.raises(ClashError, match="is the same file as IN"):
        files.claims("-o", str(path))


def test_weights_beside_a_model_are_its_input(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(
        onnx.load_model_from_string(residual_model()),
        "e.onnx",
        save_as_external_data=True,
        location="e.data",
        size_threshold=0,
    )
    before = Path("e.data").read_bytes()
    for command in ("compile", "compress"):
        main = importlib.import_module(f"escc.cli.{command}").main
        options = ["--data", "x.npz"] if command == "compress" else []
        assert main(["e.onnx", "-o", "e.data", *options]) == 1
        line, *_ = capsys.readouterr().err.splitlines()
        assert line == "error: argument -o/--output: 'e.data' is the same file as a file of weights of the model; " + (
            "requires another one"
        )
        assert Path("e.data").read_bytes() == before


@pytest.mark.parametrize("point", COMMANDS, ids=lambda p: p.name)
def test_a_name_that_no_file_has_is_a_usage_error(
    point: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An empty name would be the working directory; - is a stream for the arguments that say so alone."""
    parser = parser_of(point, monkeypatch)
    titles = {**parser._reads, **parser._writes}
    assert parser._streams <= titles.keys()
    for dest, title in titles.items():
        for name in ("", *(("-",) if dest not in parser._streams else ())):
            args = argparse.Namespace(**dict.fromkeys(titles) | {dest: name})
            with pytest.raises(SystemExit, match="2"), ledger() as files:
                parser.claim_files(args, files)
            line, _ = capsys.readouterr().err.splitlines()
            assert line == f"error: argument {title}: expected the name of a file, found '{name}'"


def test_a_target_that_is_not_installed_is_a_usage_error(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command, others in (("compile", []), ("compress", ["--data", "x.npz"]), ("compare", ["--data", "x.npz"])):
        with pytest.raises(SystemExit, match="2"):
            output = ["--json" if command == "compare" else "-o", "out"]
            importlib.import_module(f"escc.cli.{command}").main(["m.onnx", *others, *output, "--target", "esc9"])
        line, _ = capsys.readouterr().err.splitlines()
        assert line.startswith("error: argument --target: unknown target 'esc9'; installed: esc1")
