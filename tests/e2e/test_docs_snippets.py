"""Code shown in docs/ is code of the repository: a path on the line before a block names the file that holds it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
QUOTED = re.compile(r"^`([\w./-]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SNIPPETS = [
    pytest.param(match[1], match[2], id=f"{page.name}:{match[1]}")
    for page in sorted(ROOT.glob("docs/**/*.md"))
    for match in QUOTED.finditer(page.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize(("source", "text"), SNIPPETS)
def test_snippet_is_in_the_file_it_names(source: str, text: str) -> None:
    assert text in (ROOT / source).read_text(encoding="utf-8")


def test_there_are_snippets() -> None:
    assert len(SNIPPETS) >= 5
