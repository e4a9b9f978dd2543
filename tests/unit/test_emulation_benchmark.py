"""The script that compares emulation with onnxruntime: its rows, its clock and its table."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from escc.cli.compile_options import make_parser

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import emulation


def test_a_line_has_a_cell_for_each_head() -> None:
    cells = emulation.line("resnet20", (0.0123, 0.00041), 30).split()
    assert cells == ["resnet20", "12.3", "0.410", "30.0", "30"]
    assert len(cells) == len(emulation.HEAD)


@pytest.mark.parametrize("name", emulation.ROWS)
def test_options_are_those_of_the_compiler(name: str) -> None:
    make_parser().parse_args(["m.onnx", "-o", "m.bin", *emulation.ROWS[name].options])


def test_both_run_in_turn_and_once_more() -> None:
    ran: list[str] = []
    emulation.in_turn(lambda: ran.append("a"), lambda: ran.append("b"), 2)
    assert ran == ["a", *"b" * 10] * 3


def test_unknown_rows_are_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["emulation.py", "nonsense"])
    with pytest.raises(SystemExit):
        emulation.main()
    assert "unknown row 'nonsense'" in capsys.readouterr().err
