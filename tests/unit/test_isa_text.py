"""Names of strangers on terminals, in tables and in files: nothing that a terminal obeys, nothing that hides."""

from __future__ import annotations

import io
import json
import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection
from emulator_programs import Geometry, conv_program, requant_block
from hypothesis import given
from hypothesis import strategies as st

from emulator.report import summary, table
from escc.cli.common import CommandParser, run
from escc.cli.emulate import main as emulate
from escc.console import Console
from escc.report import Report
from isa.container import read_elf, write_elf
from isa.errors import UserError
from isa.jsonform import published
from isa.program import Program
from isa.text import MOST_CHARACTERS, clipped, printable

EVIL = "a\x1b]0;owned\x07\x9b31m\u202eb\nerror: c\ud800\x00\r<script>"
"""Escape sequences of both kinds, the order of text turned around, a second line, half a character, an end of text."""
CATEGORIES = {"Cc", "Cs", "Zl", "Zp"}


def is_safe(text: str) -> bool:
    text.encode()
    return not any(unicodedata.category(c) in CATEGORIES or c in "\u202e\u200b\ufeff" for c in text)


@given(st.text(st.characters(codec=None)))
def test_what_is_printed_is_one_safe_line_and_stays_as_it_is(text: str) -> None:
    shown = printable(text)
    assert is_safe(shown) and len(shown.splitlines()) <= 1
    assert printable(shown) == shown


def test_every_control_and_every_separator_of_lines_is_escaped() -> None:
    unsafe = [chr(c) for c in range(0x110000) if unicodedata.category(chr(c)) in CATEGORIES]
    assert all(printable(c).startswith("\\") for c in unsafe)
    for c in "\u200b\u200e\u202a\u202e\u2066\u2069\ufeff\xad\u061c\U000e0041":
        assert printable(c) != c
    names = "/stage1/conv1/Conv Größe 层 слой \\ 'x' \U0001f600"
    assert printable(names) == names
    assert printable("\x1b\u202e\U000e0041") == "\\u001b\\u202e\\U000e0041"


def test_long_text_keeps_its_beginning_and_its_end() -> None:
    shown = clipped(f"m.onnx: node '{'n' * 100_000}' (Conv): requires [1,1]")
    assert len(shown) == MOST_CHARACTERS
    assert shown.startswith("m.onnx: node 'nnn") and shown.endswith("nnn' (Conv): requires [1,1]") and "n...n" in shown
    assert clipped("short") == "short"


def test_diagnostics_and_console(capsys: pytest.CaptureFixture[str]) -> None:
    def body(args: object) -> None:
        console = Console(verbose=True)
        for show in (console.info, console.detail, console.warn):
            show(f"{EVIL} told")
        raise UserError(f"{EVIL}: wrong", f"mend {EVIL}")

    parser = CommandParser("esc-test", "")
    assert run(parser, body, []) == 1
    lines = capsys.readouterr().err.split("\n")
    assert len(lines) == 6 and all(map(is_safe, lines))
    with pytest.raises(SystemExit):
        parser.error(EVIL)
    lines = capsys.readouterr().err.split("\n")
    assert len(lines) == 3 and all(map(is_safe, lines))


def test_reproducers_hold_a_comment_a_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def body(args: object) -> None:
        raise RuntimeError(EVIL)

    parser = CommandParser("esc-test", "")
    parser.add_argument("name")
    assert run(parser, body, ["x\ny\x1b"]) == 70
    assert all(map(is_safe, capsys.readouterr().err.split("\n")))
    (saved,) = tmp_path.iterdir()
    lines = saved.read_text().splitlines()
    assert all(line.startswith("//") and is_safe(line) for line in lines)


def test_json_is_ascii_and_knows_no_infinity() -> None:
    text = published({"a": [1.5, float("inf"), (float("nan"), EVIL)], EVIL: -float("inf")})
    assert text.isascii() and text.endswith("\n")
    data = json.loads(text, parse_constant=pytest.fail)
    shown = printable(EVIL)
    assert data == {"a": [1.5, None, [None, shown]], shown: None}


@pytest.fixture(scope="module")
def program() -> Program:
    """A program whose every name is hostile."""
    g = Geometry(6, 6, 3, 6, 6, 1, 1, (0, 0, 0, 0), 4)
    w = np.ones((4, 6, 6, 3), np.int8)
    q = requant_block(np.zeros(4), np.full(4, 1 << 20), np.full(4, 28))
    p = conv_program(g, "dense", {"w": w}, cpg=3, kpg=4, requant=q, lo=-128, hi=127, macs=432)
    (layer,) = p.layers
    return replace(
        p,
        layers=(replace(layer, name=EVIL, nodes=(EVIL,), kind=f"k{EVIL}"),),
        inputs=(replace(p.inputs[0], name=EVIL),),
        outputs=(replace(p.outputs[0], name=f"y{EVIL}"),),
        sample=bytes(108),
        producer=EVIL,
        target=replace(p.target, name=EVIL.replace("\ud800", ""), description=EVIL.replace("\ud800", "")),
    )


def test_symbols_and_target_of_a_binary(program: Program) -> None:
    binary = write_elf(program)
    again = read_elf(binary)
    assert write_elf(again) == binary
    assert again.layers == program.layers and again.target == program.target
    elf = ELFFile(io.BytesIO(binary))
    symbols = elf.get_section_by_name(".symtab")
    assert isinstance(symbols, SymbolTableSection)
    names = [symbol.name for symbol in symbols.iter_symbols()]
    assert printable(EVIL) in names and all(map(is_safe, names))
    assert is_safe(again.target.text.replace("\n", ""))


def test_outputs_of_the_emulator(program: Program, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, stats, trace = tmp_path / "evil.bin", tmp_path / "s.json", tmp_path / "t.json"
    path.write_bytes(write_elf(program))
    assert emulate([str(path), "--stats", "--stats-json", str(stats), "--trace", str(trace)]) == 0
    printed = capsys.readouterr()
    assert all(map(is_safe, (printed.out + printed.err).split("\n")))
    assert printable(EVIL)[-20:] in printed.out
    data = json.loads(stats.read_text())
    assert data["layers"][0]["name"] == printable(EVIL)
    assert all(map(is_safe, [*table(data).lines(wide=True), *summary(data)]))
    names = [event["name"] for event in json.loads(trace.read_text())["traceEvents"]]
    assert all(map(is_safe, names))


def test_reports_of_the_compiler(program: Program) -> None:
    assert printable(EVIL) in json.loads(Report().text(program, ".json", EVIL))["model"]
