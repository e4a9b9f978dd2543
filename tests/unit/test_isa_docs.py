"""docs/isa.md is what the declarations say."""

from pathlib import Path

from isa import docs
from isa.table import INSTRUCTIONS


def test_the_committed_page_is_current() -> None:
    committed = Path(__file__).parents[2] / "docs" / "isa.md"
    assert committed.read_text(encoding="utf-8") == docs.page(), "run: python -m isa.docs > docs/isa.md"


def test_every_instruction_and_field_is_documented() -> None:
    page = docs.page()
    for spec in INSTRUCTIONS:
        section = page.split(f"### `{spec.mnemonic}`")[1].split("### `")[0]
        for f in spec.own_fields:
            assert f"| `{f.name}` |" in section
