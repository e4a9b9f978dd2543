"""The script that measures the machine: its commands, its table, and the copy of the table in the docs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from escc.cli.compile_options import make_parser

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import machine

ROOT = Path(__file__).resolve().parents[2]


def totals(cycles: int) -> dict[str, Any]:
    bound = {"efficiency": 0.5, "cycles": cycles / 2, "binding": "mac_rows"}
    return {"cycles": cycles, "energy_uj": {"total": 1.25}, "lower_bound": bound}


def test_a_line_has_a_cell_for_each_head() -> None:
    line = machine.line(machine.ROWS["resnet20-dense"], totals(50_400), "90.00 % (9 of 10)")
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert len(cells) == len(machine.HEAD)
    assert cells[2:8] == ["50.4", "50", "1.2", "0.50", "25.2", "mac rows"]
    assert cells[8] == "90.00 % (9 of 10)"


@pytest.mark.parametrize("name", machine.ROWS)
def test_commands_follow_one_another(name: str) -> None:
    row = machine.ROWS[name]
    lines = machine.commands(name, row, Path("out"))
    compile_ = next(line for line in lines if Path(line[0]).name == "escc")
    args = make_parser().parse_args(compile_[1:])
    assert str(args.output) == f"out/{name}.bin"
    emulate = lines[lines.index(compile_) + 1]
    assert emulate[1:] == [f"out/{name}.bin", "--stats-json", f"out/{name}.json"]
    assert (lines[-1][1:3] == [f"out/{name}.bin", "--eval"]) == row.accuracy


def test_the_page_has_every_row() -> None:
    page = (ROOT / "docs/performance.md").read_text(encoding="utf-8")
    assert f"| {' | '.join(machine.HEAD)} |" in page
    for row in machine.ROWS.values():
        assert f"\n| {row.title} | {row.earlier} | " in page


def test_unknown_rows_are_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["machine.py", "vgg-05", "nonsense"])
    with pytest.raises(SystemExit):
        machine.main()
    assert "unknown row 'nonsense'" in capsys.readouterr().err
