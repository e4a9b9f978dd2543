"""Every registered pass is explained, tested on IR text and listed; generated pages are current."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from conftest import command
from xdsl.universe import Universe

from escc.docs import option_texts, pages
from escc.universe import DIALECTS, ESCC_UNIVERSE, PASSES

ROOT = Path(__file__).resolve().parents[2]
LIT = {path: path.read_text(encoding="utf-8") for path in sorted((ROOT / "tests/lit").rglob("*.mlir"))}
RUN = re.compile(r"^// RUN:.*?(?:-p|--passes)[ =]+(.*)$", re.MULTILINE)


@pytest.mark.parametrize("name", PASSES)
def test_pass_is_documented_and_tested(name: str) -> None:
    cls = ESCC_UNIVERSE.all_passes[name]()
    assert cls.name == name
    assert cls.__doc__ and len(cls.__doc__.split()) >= 8 and not cls.__doc__.startswith(f"{cls.__name__}(")
    assert any(re.search(rf"\b{name}\b", line) for text in LIT.values() for line in RUN.findall(text)), "no lit test"
    assert f"### `{name}`" in (ROOT / "docs/passes.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", DIALECTS)
def test_every_operation_is_documented_and_in_a_lit_test(name: str) -> None:
    dialect = ESCC_UNIVERSE.all_dialects[name]()
    assert dialect.name == name
    valid = "\n".join(text for path, text in LIT.items() if not path.stem.startswith("invalid"))
    invalid = "\n".join(
        text for path, text in LIT.items() if path.parent.name == name and path.stem.startswith("invalid")
    )
    for op in dialect.operations:
        assert (op.__doc__ or "").strip(), op.name
        assert re.search(rf"\b{re.escape(op.name)}\b", valid), f"{op.name}: no lit test"
        assert re.search(rf"\b{re.escape(op.name)}\b", invalid), f"{op.name}: no lit test of its verifier"


def test_plain_xdsl_finds_us_through_the_entry_point() -> None:
    multiverse = Universe.get_multiverse()
    assert set(PASSES) <= set(multiverse.all_passes) and set(DIALECTS) <= set(multiverse.all_dialects)


def test_plain_xdsl_opt_runs_our_passes(tmp_path: Path) -> None:
    text = tmp_path / "a.mlir"
    text.write_text(
        "func.func @main(%x : tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> {\n"
        "  %0 = onnx.Identity %x : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>\n"
        "  %1 = onnx.Relu %0 : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>\n"
        "  func.return %1 : tensor<1x2x4x4xf32>\n}\n"
    )
    done = subprocess.run(
        [command("xdsl-opt"), text, "-p", "onnx-canonicalize"], capture_output=True, text=True, check=True
    )
    assert "onnx.Relu %x" in done.stdout and "onnx.Identity" not in done.stdout


@pytest.mark.parametrize("name", pages())
def test_generated_page_is_current(name: str) -> None:
    current = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert current == pages()[name], f"docs/{name} is out of date: run 'make docs'"


def test_texts_below_options_are_found() -> None:
    texts = option_texts(ESCC_UNIVERSE.all_passes["quantize"]())
    assert "npz" in texts["calibration"] and texts["seed"]
