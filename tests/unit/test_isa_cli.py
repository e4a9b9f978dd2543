"""esc-as and esc-dis."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from isa_programs import small_program, with_instruction

from escc.cli import assemble, disassemble
from isa.assembly import print_assembly
from isa.container import write_elf

BINARY = write_elf(small_program())


def test_round_trip_through_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, text, again = tmp_path / "model.bin", tmp_path / "model.s", tmp_path / "again.bin"
    model.write_bytes(BINARY)
    assert disassemble.main([str(model), "-o", str(text)]) == 0
    assert assemble.main([str(text), "-o", str(again)]) == 0
    assert again.read_bytes() == BINARY
    assert capsys.readouterr() == ("", "")


def test_round_trip_through_pipes(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(BINARY)))
    assert disassemble.main(["-"]) == 0
    text = capfdbinary.readouterr().out
    assert text.decode() == print_assembly(small_program())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    assert assemble.main(["-", "-o", "-"]) == 0
    assert capfdbinary.readouterr().out == BINARY


def test_no_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model.bin").write_bytes(BINARY)
    assert disassemble.main([str(tmp_path / "model.bin"), "--no-data"]) == 0
    assert capsys.readouterr().out == print_assembly(small_program(), data=False)


def test_faults_of_the_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "in", tmp_path / "out"

    def fails(main: object, content: bytes, cause: str) -> None:
        path.write_bytes(content)
        assert callable(main)
        assert main([str(path), "-o", str(out)]) == 1
        shown = capsys.readouterr()
        assert shown.out == ""
        assert shown.err.startswith(f"error: {path}:")
        assert cause in shown.err
        assert not out.exists()

    fails(disassemble.main, BINARY[:-1], "truncated or damaged")
    fails(disassemble.main, b"hello", "no ELF file")
    fails(assemble.main, b"\xff", "not UTF-8 text")
    fails(assemble.main, b"hello\n", ":1:1: unexpected 'hello'")
    illegal = print_assembly(with_instruction(small_program(), 2, act=131040))
    fails(assemble.main, illegal.encode(), "instruction 2 'load.act")
    racy = print_assembly(with_instruction(small_program(), 5, wait_post=0))
    fails(assemble.main, racy.encode(), "may still be writing it")
    with pytest.raises(SystemExit) as caught:
        assemble.main([str(path)])
    assert caught.value.code == 2


def test_missing_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert disassemble.main([str(tmp_path / "nothing")]) == 1
    assert "No such file" in capsys.readouterr().err
    (tmp_path / "model.bin").write_bytes(BINARY)
    assert disassemble.main([str(tmp_path / "model.bin"), "-o", str(tmp_path / "no" / "where.s")]) == 1
    assert "does not exist" in capsys.readouterr().err
