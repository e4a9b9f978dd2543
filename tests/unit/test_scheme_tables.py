"""docs/schemes/README.md and the script that measures its rows: a scheme or a network more is a file more."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import command

from escc.cli.compile_options import make_parser
from escc.compress.about import about_schemes
from isa.table import BY_MNEMONIC

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "docs"))

import scheme_tables
import schemes

ROOT = Path(__file__).resolve().parents[2]
FIGURES = {
    "options": "--scheme dense",
    "version": "1.2.0",
    "constant_bytes": 1234,
    "compression": 4.44,
    "top1": 91.9,
    "cycles": 56789,
    "energy_uj": 7.25,
    "compile_cpu_s": 8,
}


def test_the_page_is_current() -> None:
    text = scheme_tables.PAGE.read_text(encoding="utf-8")
    assert scheme_tables.filled(text) == text, "docs/schemes/README.md is out of date: run 'make docs'"


@pytest.mark.parametrize("name", about_schemes())
def test_what_a_scheme_says_of_itself_is_there(name: str) -> None:
    about = about_schemes()[name]
    page, _, _ = about.page.partition("#")
    assert (scheme_tables.PAGE.parent / page).is_file()
    assert set(about.read_by) <= BY_MNEMONIC.keys()
    for options in about.settings.values():
        make_parser().parse_args(["m.onnx", "-o", "m.bin", "--scheme", name, *options.split()])


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of results with two networks, of which one has rows."""
    for name in ("small", "other"):
        (tmp_path / name).mkdir()
        network = {"title": f"{name}, digits", "images": 1000, "float_top1": 90, "note": ""}
        (tmp_path / name / "network.json").write_text(json.dumps(network))
    (tmp_path / "small/dense.json").write_text(json.dumps(FIGURES))
    (tmp_path / "small/large.json").write_text(json.dumps({**FIGURES, "constant_bytes": 2345, "options": "--x"}))
    (tmp_path / "small/slow.json").write_text(
        json.dumps({"options": "--slow", "version": "1.2.0", "more_than_s": 3600})
    )
    monkeypatch.setattr(scheme_tables, "RESULTS", tmp_path)
    monkeypatch.setattr(schemes, "RESULTS", tmp_path)
    return tmp_path


def test_a_row_is_a_file(results: Path) -> None:
    lines = scheme_tables.results().splitlines()
    assert lines[:3] == ["### small, digits", "", "Top-1 of 1,000 test images; float gets 90.00 %."]
    assert lines[6:] == [
        "| `--x` | 2,345 | 4.4x | 91.90 | 56,789 | 7.2 | 8 | 1.2.0 |",
        "| `--scheme dense` | 1,234 | 4.4x | 91.90 | 56,789 | 7.2 | 8 | 1.2.0 |",
        "| `--slow` | | | | | | not measured: a command took more than 3,600 s | 1.2.0 |",
    ]


def test_a_page_without_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match="0 places for the table 'results'"):
        scheme_tables.filled("<!-- forms: here -->\n<!-- end -->\n")


def test_every_network_has_every_scheme(results: Path) -> None:
    names = {row.name for row in schemes.rows()}
    assert {f"{network}:{scheme}" for network in ("small", "other") for scheme in about_schemes()} <= names
    assert "small:smartexchange:cheaper" in names
    assert all(row.file.parent == results / row.network for row in schemes.rows())


def test_networks_and_rows_are_chosen_by_name(results: Path) -> None:
    known = schemes.rows()
    assert {row.network for row in schemes.chosen(["other"], known)} == {"other"}
    assert [row.name for row in schemes.chosen(["small:dense"], known)] == ["small:dense"]
    assert schemes.chosen([], known) == known
    with pytest.raises(ValueError, match="unknown row 'larger'"):
        schemes.chosen(["larger"], known)


def test_rows_that_are_written_are_rows_of_the_benchmark() -> None:
    options = {row.file: row.options for row in schemes.rows()}
    written = [path for path in schemes.RESULTS.glob("*/*.json") if path.name != schemes.FILE]
    assert len(written) > 10
    assert {path: json.loads(path.read_text())["options"] for path in written}.items() <= options.items()


def test_a_row_is_measured_and_a_slow_one_given_up(results: Path, tmp_path: Path) -> None:
    network = {
        "model": str(ROOT / "examples/models/resnet8_cifar10.onnx"),
        "calibration": str(ROOT / "examples/models/calibration.npz"),
        "test": "{out}/test.npz",
        "prepare": [f"cp {ROOT / 'examples/models/calibration.npz'} {{out}}/test.npz"],
    }
    (results / "small/network.json").write_text(json.dumps(network))
    row = replace(schemes.chosen(["small:dense"], schemes.rows())[0], options="--scheme dense --samples 8")
    found = schemes.measure(row, tmp_path / "out", 600)
    assert found.keys() == FIGURES.keys() and found["cycles"] > 1000 and 20 < found["top1"] <= 100
    late = schemes.measure(row, tmp_path / "out", 0.01)
    assert late == {"options": row.options, "version": found["version"], "more_than_s": 0}


def test_commands_are_printed_by_the_script() -> None:
    script = [sys.executable, str(ROOT / "benchmarks/schemes.py"), "lenet5:kmeans", "--commands"]
    printed = subprocess.run(script, check=True, capture_output=True, text=True).stdout
    assert printed.startswith("# lenet5:kmeans\n") and "examples.mnist.train out/schemes/lenet5 " in printed
    assert f"{command('esc-emu')} -q out/schemes/lenet5/kmeans.bin --eval out/schemes/lenet5/test.npz" in printed
