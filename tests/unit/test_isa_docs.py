"""The pages about the instruction set are what the declarations say."""

import re
from pathlib import Path

import pytest

from isa import docs
from isa.formats import Queue
from isa.table import OWN_INSTRUCTIONS

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", docs.pages())
def test_a_committed_page_is_current(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == docs.pages()[name], "run: make docs"


def test_no_page_is_left_of_an_instruction_that_is_gone() -> None:
    assert {f"isa/{path.name}" for path in (DOCS / "isa").iterdir()} | {"isa.md"} == docs.pages().keys()


def test_every_instruction_and_field_is_documented() -> None:
    pages = docs.pages()
    for spec in OWN_INSTRUCTIONS:
        text = pages[f"isa/{spec.mnemonic.replace('.', '_')}.md"]
        for f in spec.own_fields:
            assert f"| `{f.name}` |" in text
            assert f.enum is None or f"`{f.enum.__name__}`: " in text


def test_every_event_and_its_energy_are_documented() -> None:
    pages, found = docs.pages(), 0
    for spec in OWN_INSTRUCTIONS:
        text = pages[f"isa/{spec.mnemonic.replace('.', '_')}.md"]
        for event in spec.events:
            found += 1
            if event.table is not None:
                assert f"`{event.table.name}`\n" in text and f"| `{event.name}` | {event.doc} |" in text
            if event.component is not None:
                assert re.search(rf"\| {event.doc} \| [0-9.]+ pJ \| `{event.component.name}` \|", text)
    assert found >= 13


def test_every_queue_is_explained() -> None:
    assert all(f"\n| {queue.name.lower()} | " in docs.page() for queue in Queue)


def test_an_instruction_stands_on_its_own_page_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever adds an instruction changes no page that somebody else's instruction changes."""
    before = docs.pages()
    monkeypatch.setattr(docs, "OWN_INSTRUCTIONS", OWN_INSTRUCTIONS[:-2])
    last = [f"isa/{spec.mnemonic.replace('.', '_')}.md" for spec in OWN_INSTRUCTIONS[-2:]]
    assert docs.pages() == {name: text for name, text in before.items() if name not in last}
