"""Tables for a terminal: how wide they are, what they leave out, where they are styled; numbers with prefixes."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from emulator.confusion import confused
from emulator.evaluate import Accuracy
from emulator.tables import TextColumn, TextTable, on_terminal, paragraph
from isa.text import quantity, shortened

NAME = "/a/very/long/path/of/a/layer/in/a/deep/network/of/many/blocks/conv17/Conv"
TABLE = TextTable(
    [
        TextColumn("layer", text=True),
        TextColumn("cycles", "K"),
        TextColumn("busy", "%", only="wide"),
        TextColumn("waits for", only="brief"),
    ],
    [[NAME, "1.5", "99.0", "[red]load"], ["b", "22.5", "1.0", "-"]],
    ["total", "24.0", "50.0", "-"],
)


def test_a_table_fits_80_columns_and_keeps_the_end_of_names() -> None:
    lines = TABLE.lines()
    assert max(map(len, lines)) <= 80 and len(lines) == 7
    assert lines[0].split() == ["layer", "cycles", "waits", "for"] and lines[1].strip() == "K"
    assert lines[3].startswith("...") and NAME[-30:] in lines[3] and lines[3].endswith("[red]load")
    assert set(lines[2]) == set(lines[5]) == {"-"} and lines[6].startswith("total")


def test_all_columns_and_whole_names_on_request() -> None:
    lines = TABLE.lines(wide=True)
    assert lines[0].split() == ["layer", "cycles", "busy"]
    assert lines[3].split() == [NAME, "1.5", "99.0"]


def test_columns_without_units_have_one_line_of_heads() -> None:
    lines = TextTable([TextColumn("a", text=True), TextColumn("b")], [["x", "1"]]).lines()
    assert [line.split() for line in lines if set(line) != {"-"}] == [["a", "b"], ["x", "1"]]


def test_styles_only_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not on_terminal() and TABLE.shown() == TABLE.lines()
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert any("\x1b[1m" in line for line in TABLE.shown()) and not any("\x1b" in line for line in TABLE.lines())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not on_terminal()


def test_names_of_strangers_do_not_reach_the_terminal() -> None:
    table = TextTable([TextColumn("layer", text=True), TextColumn("n")], [["a\x1b[2J\nb", "1"]])
    text = "".join(table.lines())
    assert "\x1b" not in text and "\\u001b" in text


def test_lines_break_between_words_but_not_before_a_unit() -> None:
    lines = paragraph("energy", "parts: " + ", ".join(f"part {1000 + i} nJ" for i in range(20)), 11)
    assert lines[0].startswith("energy     parts: ") and max(map(len, lines)) <= 80
    assert all(line.startswith(" " * 11) for line in lines[1:])
    assert not any(line.strip().startswith("nJ") for line in lines)
    assert len(paragraph("energy", "word " * 50, 11, wide=True)) == 1


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0, "B", "0 B"),
        (448, "B", "448 B"),
        (51392, "B", "51.39 kB"),
        (999_999, "B", "1.000 MB"),
        (2.0116e6, "B", "2.012 MB"),
        (1.466e-5, "s", "14.66 us"),
        (90e-9, "J", "90.00 nJ"),
        (1e-13, "J", "0.100 pJ"),
        (0.4639, "W", "463.9 mW"),
        (1.705e12, "OPS", "1.705 TOPS"),
        (-1500.0, "B", "-1.500 kB"),
    ],
)
def test_quantities_have_the_prefix_that_suits_them(value: float, unit: str, text: str) -> None:
    assert quantity(value, unit) == text


def test_a_name_is_shortened_at_its_beginning() -> None:
    assert shortened("/a/b/conv", 9) == "/a/b/conv" and shortened("/a/b/conv", 8) == ".../conv"


def accuracy(classes: int) -> Accuracy:
    labels = np.repeat(np.arange(classes), 2)
    answers = labels.copy()
    answers[[0, 1, 2]] = [1, 1, 0]
    return Accuracy(labels, answers, classes, len(labels))


def test_the_confusion_of_few_classes_is_a_matrix() -> None:
    rows = [line.split() for line in confused(accuracy(3)).lines()[2:]]
    assert rows == [["0", "0", "2", "0"], ["1", "1", "1", "0"], ["2", "0", "0", "2"]]


def test_the_confusion_of_many_classes_is_its_worst_pairs() -> None:
    rows = [line.split() for line in confused(accuracy(40)).lines()[2:]]
    assert rows == [["0", "1", "2", "2"], ["1", "0", "1", "2"]]
