"""Pages about a compilation or a run: what they hold, names of strangers as text, and that a browser draws them."""

from __future__ import annotations

import html
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_emulator_timing import measure, tiled_program
from test_isa_text import EVIL, is_safe
from test_residency import branches, chain
from tile_models import MAIN, lower

from dialects.eisa import to_program
from emulator.statistics import Statistics
from escc.cli.compile import main as escc
from escc.cli.emulate import main as emulate
from escc.compare.figures import Compared, Comparison, FigurePart, Figures, System
from escc.report import Report
from escc.reports import compared, compiled, emulated, vega
from escc.reports.accuracy import Measured, accuracy
from escc.reports.bars import bars
from escc.reports.graph import edges_of
from escc.reports.page import Page, Section
from escc.reports.roofline import Point, roofline
from escc.reports.table import Column, Table
from escc.reports.vega import names
from isa.container import write_elf
from isa.program import Program

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "docs"))

import screenshot

MARKUP = "</script><script>alert(1)</script><b onmouseover='x' a=\"y\">&"


@pytest.fixture(scope="module")
def measured() -> tuple[Program, Statistics]:
    program, x = tiled_program(0)
    statistics = measure(program, x)
    assert statistics is not None
    return program, statistics


def specs(page: str) -> list[dict[str, Any]]:
    found = re.search(r'<script type="application/json" id="charts">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def without_library(page: str) -> str:
    return re.sub(r'<script id="library">.*?</script>', "", page, flags=re.DOTALL)


def values(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return spec["data"]["values"]


def test_charts_hold_the_statistics(measured: tuple[Program, Statistics]) -> None:
    program, statistics = measured
    data = statistics.data
    page = emulated.page(program, data, "m.bin", 0.875).html()
    cycles, energy, traffic, roof = specs(page)
    totals = data["totals"]
    assert sum(v["value"] for v in values(cycles)) == totals["cycles"]
    assert sum(v["value"] for v in values(energy)) == pytest.approx(totals["energy_uj"]["total"])
    assert sum(v["value"] for v in values(traffic)) == totals["dram_bytes"]["total"]
    line, _, dots = roof["layer"]
    assert [v["layer"] for v in values(dots)] == ["first", "second"]
    for v, d in zip(values(dots), data["layers"], strict=True):
        assert v["rate"] <= v["limit"] and v["share"] == d["lower_bound"]["efficiency"]
    assert max(v["rate"] for v in values(line)) == data["machine"]["multipliers"]
    assert "87.50%" in page and f"{totals['cycles']:,}" in page
    assert len(page) < 1_500_000 and not re.search(r"(src|href)=", without_library(page))


@pytest.mark.parametrize("name", [EVIL, MARKUP])
def test_names_of_strangers_are_text(measured: tuple[Program, Statistics], name: str) -> None:
    program, statistics = measured
    layers = tuple(replace(layer, name=name, kind=name, nodes=(name,)) for layer in program.layers)
    program = replace(program, layers=layers, producer=name)
    rows = [d | {"name": name, "kind": name, "nodes": [name]} for d in statistics.data["layers"]]
    pages = [
        emulated.page(program, statistics.data | {"layers": rows}, name).html(),
        Report().text(program, ".html", name),
    ]
    for page in map(without_library, pages):
        assert all(map(is_safe, page.split("\n"))) and "<b onmouseover" not in page
        assert page.count("</script>") == page.count("<script") == 2
        assert values(specs(page)[0])


def comparison(name: str = "auto") -> Comparison:
    """One network on one of our schemes and one baseline."""
    figures = [
        Figures(
            c,
            c / 2,
            (FigurePart("compute", c / 2), FigurePart("dram", c / 2)),
            (FigurePart("dram", 2.0),),
            (FigurePart("weights", 64.0),),
        )
        for c in (100.0, 300.0)
    ]
    systems = [
        System(n, kind, n, n, 960, 4096, 2048.0, None, top1, f, f, None, ())
        for n, kind, top1, f in zip((name, "eyeriss"), ("scheme", "machine"), (90.0, 91.0), figures, strict=True)
    ]
    return Comparison(1, "esc1", 800.0, 16.0, (Compared(name, 4, 100, tuple(systems), ()),))


def test_figures_of_large_networks_are_written_out(measured: tuple[Program, Statistics]) -> None:
    """No card has an exponent: 1,101.3 kB, and not 1.1e+03 kB."""
    program, statistics = measured
    totals = statistics.data["totals"]
    large = totals | {"energy_uj": {"total": 22593.1}}
    shown = [card.value for card in emulated._cards(program, large, None)]
    sizes = {"constant_bytes": 10588284, "macs": 2253600000, "instructions": 12265, "arena_bytes": 1101300}
    shown += [card.value for card in compiled._cards(sizes | {"compression": 4.4, "bits_per_weight": 7.25})]
    assert "22,593.10 µJ" in shown and "1,101.3 kB" in shown
    assert not [value for value in shown if re.search(r"e[+-]\d", value)]


def test_a_comparison_as_a_page() -> None:
    page = compared.page(comparison()).html()
    cycles, energy, traffic, against = specs(page)
    assert [sum(v["value"] for v in values(spec)) for spec in (cycles, energy, traffic)] == [400, 4, 128]
    assert [v["top1"] for v in values(against["layer"][0])] == [90, 91]
    assert "3.00x" in page and "never mixed" in page
    page = without_library(compared.page(comparison(MARKUP)).html())
    assert "<b onmouseover" not in page and page.count("<script") == 2


def test_systems_that_measure_the_same_share_a_dot() -> None:
    points = [
        Measured(n, g, b, 90.0) for n, g, b in [("a", "x", 1e3), ("b", "x", 1e3), ("c", "x", 9e3), ("d", "y", 1e3)]
    ]
    chart = accuracy("t", "", points)
    assert chart
    rows = values(chart.spec["layer"][0])
    assert [(row["name"], row["label"], row["high"]) for row in rows] == [
        ("a, b", "a and 1 more", False),
        ("c", "c", True),
        ("d", "d", False),
    ]
    assert [row["line"] for row in rows] == [0, 1, -1]  # at one height, whichever way they point


def test_labels_of_dots_of_almost_one_height_are_apart() -> None:
    points = [Measured(n, "x", b, top1) for n, b, top1 in [("a", 18e3, 83.7), ("b", 19e3, 83.4), ("c", 14e3, 78.3)]]
    chart = accuracy("t", "", [*points, Measured("d", "x", 74e3, 85.4)])
    assert chart
    rows = values(chart.spec["layer"][0])
    heights = [12 * row["line"] - row["top1"] / 7.1 * 265 for row in rows]
    assert abs(heights[0] - heights[1]) >= 11 and [row["line"] for row in rows[2:]] == [0, 0]


def test_no_two_parts_of_a_bar_have_one_colour() -> None:
    parts = {f"part {i}": [1.0, 2.0] for i in range(len(vega.PALETTE) + 5)}
    chart = bars("t", "", ["a", "b"], parts, "u")
    colours = chart.spec["encoding"]["color"]["scale"]["range"]
    assert len(set(colours)) == len(colours) == len(chart.legend) == len(vega.PALETTE)
    assert chart.legend[-1] == "6 others" and sum(v["value"] for v in values(chart.spec)) == 3 * len(parts)


def test_long_names_of_layers_stay_apart() -> None:
    layers = ["block." * 20 + "conv1", "block." * 20 + "conv2", "block." * 9 + "y" + "block." * 9 + "conv1"]
    rows = values(bars("t", "", layers, {"part": [1.0, 2.0, 3.0]}, "u").spec)
    assert [row["layer"] for row in rows] == layers
    assert len({row["bar"] for row in rows}) == 3 and max(len(row["bar"]) for row in rows) <= 32


def test_no_section_stands_beside_an_empty_place() -> None:
    def classes(*wide: bool) -> list[bool]:
        sections: list[Section] = [Table("t", "", [Column("c")], [], wide=w) for w in wide]
        return [kind != "" for kind in re.findall(r"<section([^>]*)>", Page("p", "", [], sections).html())]

    assert classes(False, False, True, False) == [False, False, True, True]
    assert classes(False, False, False, True) == [False, False, True, True]
    assert classes(False, True, False, False) == [True, True, False, False]


def test_components_with_the_same_end_are_one_part() -> None:
    own, theirs = (
        Figures(1.0, 1.0, (), tuple(FigurePart(n, 1.0) for n in names), ())
        for names in (("dram", "act", "inputs", "mac_rows", "new_unit"), ("dram", "activations", "arithmetic"))
    )
    systems = [System(n, "scheme", n, n, 1, 1, 1.0, None, None, f, f, None, ()) for n, f in (("a", own), ("b", theirs))]
    page = compared.page(Comparison(1, "esc1", 800.0, 16.0, (Compared("n", 1, 0, tuple(systems), ()),))).html()
    found = {(v["layer"], v["part"]): v["value"] for v in values(specs(page)[1])}
    assert found == {
        ("a", "DRAM"): 1,
        ("a", "memory of activations"): 2,
        ("a", "arithmetic"): 1,
        ("a", "new unit"): 1,
        ("b", "DRAM"): 1,
        ("b", "memory of activations"): 1,
        ("b", "arithmetic"): 1,
    }


def test_layers_of_one_name_stay_apart() -> None:
    assert names(["a", "b", "a", "a"]) == ["a", "b", "a (2)", "a (3)"]


def test_the_graph_follows_the_tensors(measured: tuple[Program, Statistics]) -> None:
    assert edges_of(measured[0]) == [(0, 1), (1, 2)]


def test_the_graph_follows_tensors_that_stay_on_the_chip() -> None:
    program = to_program(lower(branches(), "esc1", MAIN))
    names = [port.name for port in program.inputs] + [layer.name for layer in program.layers]
    assert all(any(target == n for _, target in edges_of(program)) for n in range(1, len(names)))
    program = to_program(lower(chain(), "esc1", MAIN))
    assert sorted(edges_of(program)) == [(0, 1), (1, 2), (1, 3), (2, 3)]


def test_layers_that_do_not_multiply_have_no_roof() -> None:
    assert roofline([Point("pool", 0, 100, 10, 5, "DRAM")], 960, 16.0, ["DRAM"]) is None


def test_a_table_sorts_by_numbers_and_shows_a_dash_for_nothing() -> None:
    table = Table("t", "", [Column("layer"), Column("n", ",.1f")], [["a", 1234.56], ["b", None]], ["total", 3.0])
    text = table.markup()
    assert '<td data-key="1234.56">1,234.6</td>' in text and '<td data-key="">–</td>' in text
    assert text.index("<tfoot>") > text.index("</tbody>")


def test_a_missing_library_is_told_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(vega, "find_spec", lambda name: None if name == "vl_convert" else object())
    binary, page = tmp_path / "m.bin", tmp_path / "r.html"
    binary.write_bytes(write_elf(tiled_program(0)[0]))
    model = Path(__file__).resolve().parents[2] / "examples/models/tiny_conv.onnx"
    assert escc([str(model), "-o", str(tmp_path / "o.bin"), "--report", str(page)]) == 1
    assert emulate([str(binary), "--report", str(page)]) == 1
    told = capsys.readouterr()
    assert told.err.count("run: pip install '.[report]'") == told.err.count("needs the library vl_convert") == 2
    assert not page.exists() and told.out == ""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """A page of either kind, of a program with names that are markup."""
    folder = tmp_path_factory.mktemp("pages")
    program, x = tiled_program(0)
    statistics = measure(program, x)
    program = replace(program, layers=tuple(replace(layer, name=MARKUP) for layer in program.layers))
    rows = [d | {"name": MARKUP} for d in statistics.data["layers"]]
    texts = {
        "emulated": emulated.page(program, statistics.data | {"layers": rows}, "m.bin").html(),
        "compared": compared.page(comparison(MARKUP)).html(),
        "compiled": Report().text(program, ".html", "m.onnx"),
    }
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    yield {name: folder / f"{name}.html" for name in texts}


@pytest.mark.skipif(screenshot.browser() is None, reason="no Chromium is installed: nothing shows that pages are drawn")
@pytest.mark.parametrize(("kind", "charts"), [("emulated", 4), ("compiled", 1), ("compared", 4)])
def test_a_browser_draws_the_page(pages: dict[str, Path], kind: str, charts: int) -> None:
    page = screenshot.opened(pages[kind], ["--dump-dom"])
    drawn = re.findall(r'<svg[^>]*class="marks".*?</svg>', page, re.DOTALL)
    assert len(drawn) == charts
    for svg in drawn:
        assert svg.count("<path") > 2
    assert html.escape(MARKUP[:12], quote=False) in "".join(drawn)
    assert "cannot be drawn" not in page.split("<script")[0]


@pytest.mark.skipif(screenshot.browser() is None, reason="no Chromium is installed: nothing shows that errors are told")
def test_what_a_page_writes_to_its_console_is_an_error(tmp_path: Path) -> None:
    page = tmp_path / "p.html"
    page.write_text("<script>console.error('broken')</script>", encoding="utf-8")
    with pytest.raises(ValueError, match="broken"):
        screenshot.opened(page, ["--dump-dom"])
