"""`esc-opt`: xDSL's driver with our dialects and diagnostics."""

from __future__ import annotations

from pathlib import Path

import pytest

from escc.cli.opt import main

TEXT = """
builtin.module {
  func.func @main(%x : tensor<1x2x2x1x!esc.q<u8, 0.5>>) -> tensor<1x2x2x1xi32> {
    %y = esc.conv2d %x {weight = #blob.dense<1x1x1x1xi8, [3]>, strides = array<i64: 1, 1>,
      pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64} : tensor<1x2x2x1x!esc.q<u8, 0.5>> -> tensor<1x2x2x1xi32>
    func.return %y : tensor<1x2x2x1xi32>
  }
}
"""


def opt(tmp_path: Path, text: str, *options: str) -> int:
    path = tmp_path / "a.mlir"
    path.write_text(text)
    return main([str(path), *options])


def test_prints_what_it_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert opt(tmp_path, TEXT) == 0
    once = capsys.readouterr().out
    assert "loc(" not in once and "esc.conv2d" in once
    assert opt(tmp_path, once) == 0 and capsys.readouterr().out == once


def test_bytes_that_are_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.mlir"
    path.write_bytes(b"// \xff")
    assert main([str(path)]) == 1
    assert capsys.readouterr().err == f"error: {path}: not IR text: byte 3 is not UTF-8\n"


@pytest.mark.parametrize("option", ["--verify-diagnostics", "--parsing-diagnostics"])
def test_diagnostics_on_standard_output_are_printable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    text = 'builtin.module {\n  "test.\x1b[31m"() : () -> ()\n  // \x1b]0;owned\x07\n}'
    assert opt(tmp_path, text, option) in (0, 1)
    captured = capsys.readouterr()
    assert "\x1b" not in captured.out + captured.err and captured.out + captured.err


def test_locations_are_printed_where_there_are_any(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert opt(tmp_path, TEXT.replace("xi32>\n    func", 'xi32> loc("/conv")\n    func')) == 0
    assert 'loc("/conv")' in capsys.readouterr().out


def test_passes_run_are_recorded_where_escc_asked_for_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert opt(tmp_path, TEXT, "-p", "canonicalize") == 0
    assert "escc.passes" not in capsys.readouterr().out
    marked = TEXT.replace("builtin.module", 'builtin.module attributes {escc.passes = ["quantize"]}')
    assert opt(tmp_path, marked, "-p", "dce,canonicalize") == 0
    assert 'escc.passes = ["quantize", "dce", "canonicalize"]' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (TEXT.replace("esc.conv2d", "esc.conv9"), "a.mlir:4:20: Operation esc.conv9 is not registered"),
        (TEXT.replace("1x2x2x1xi32", "1x2x2x2xi32"), "esc.conv2d': output must be [1, 2, 2, 1], found [1, 2, 2, 2]"),
    ],
)
def test_bad_text_is_one_line_and_exit_1(
    text: str, line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert opt(tmp_path, text) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and line in captured.err.splitlines()[0] and "Traceback" not in captured.err


@pytest.mark.parametrize("pipeline", ["no-such-pass", "canonicalize{", "canonicalize{wrong=1}"])
def test_bad_pipeline_is_a_usage_error(pipeline: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as e:
        opt(tmp_path, TEXT, "-p", pipeline)
    assert e.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_faults_of_the_input_can_be_expected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("-p", "quantize{method=nothing}", "--verify-diagnostics")
    assert opt(tmp_path, TEXT, *options) == 0
    assert "error: quantize: method 'nothing' is unknown" in capsys.readouterr().out
    assert opt(tmp_path, TEXT, *options[:2]) == 1


def test_missing_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["absent.mlir"]) == 1
    assert capsys.readouterr().err == "error: absent.mlir: No such file or directory\n"


@pytest.mark.parametrize("arguments", [("--bogus",), ("a.mlir", "b.mlir"), ("",), ("a.mlir", "-o", "")])
def test_usage_errors_are_told_as_by_the_other_commands(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    line, note = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and note == "note: run 'esc-opt --help' for the options"
