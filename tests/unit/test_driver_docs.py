"""Every registered pass is explained, tested on IR text and listed; generated pages are current."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
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
    everything = "\n".join(LIT.values())
    for op in dialect.operations:
        assert (op.__doc__ or "").strip(), op.name
        assert re.search(rf"\b{re.escape(op.name)}\b", everything), f"{op.name}: no lit test"


def test_plain_xdsl_finds_us_through_the_entry_point() -> None:
    multiverse = Universe.get_multiverse()
    assert set(PASSES) <= set(multiverse.all_passes) and set(DIALECTS) <= set(multiverse.all_dialects)


@pytest.mark.parametrize("name", pages())
def test_generated_page_is_current(name: str) -> None:
    current = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert current == pages()[name], f"docs/{name} is out of date: run 'make docs'"


def test_texts_below_options_are_found() -> None:
    texts = option_texts(ESCC_UNIVERSE.all_passes["quantize"]())
    assert "npz" in texts["calibration"] and texts["seed"]
