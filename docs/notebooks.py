"""Write the notebooks of examples/notebooks as pages of docs/tutorials: `python -m docs.notebooks [NAME...]`.

A notebook runs from its first cell to its last. Its page has the text, the code, and what each cell shows: pictures as
SVG files beside the page, tables as Markdown, all else as text. The page is read without marimo, scripts or network.
A test checks that the pages are current.
"""

from __future__ import annotations

import ast
import io
import re
import runpy
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from textwrap import dedent
from typing import Any

from isa.files import write_atomic

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS, PAGES = ROOT / "examples/notebooks", ROOT / "docs/tutorials"
MOST_LINES, MOST_CHARACTERS = 40, 150
"""Of a text that a cell shows, and of a line of it; the rest is cut off."""
_HEAD = """\
<!-- Written by `python -m docs.notebooks` from {path}; do not edit. -->

{text}

*This page is a notebook with what its cells show. To change it and run it again, in the clone:
`pip install '.[notebooks]'`, then `marimo edit {path}`.*
"""
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "escc",
    "font.family": "sans-serif",
    "figure.facecolor": "white",
}
"""Of pictures: text stays text, and the same picture is the same file."""


def codes(text: str) -> list[str]:
    """The code of each cell of a notebook, in their order, as marimo shows it."""
    cells: list[str] = []
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef) and any(ast.unparse(d) == "app.cell" for d in node.decorator_list):
            body = node.body[:-1] if isinstance(node.body[-1], ast.Return) else node.body
            lines = text.split("\n")[node.body[0].lineno - 1 : body[-1].end_lineno] if body else []
            cells.append(dedent("\n".join(lines)))
    return cells


def page(path: Path) -> tuple[str, dict[str, str]]:
    """The page of a notebook in Markdown, and its pictures by their file names. Runs the notebook."""
    matplotlib: Any = import_module("matplotlib")
    matplotlib.use("agg")
    with matplotlib.rc_context(_STYLE):
        app = runpy.run_path(str(path), run_name="notebook")["app"]
        outputs, _ = app.run()
        pictures: dict[str, str] = {}
        parts: list[str] = []
        for code, output in zip(codes(path.read_text(encoding="utf-8")), outputs, strict=True):
            if not code.startswith("mo.md("):
                parts.append(f"```python\n{code}\n```")
            if output is not None:
                parts.append(_shown(output, path.stem, pictures))
            if parts[-1].startswith("![]"):
                headings = re.findall(r"^#+ (.*)$", "\n".join(parts), re.MULTILINE)
                parts[-1] = f"![{headings[-1]}]{parts[-1][3:]}"
    parts[:2] = [_HEAD.format(path=path.relative_to(ROOT).as_posix(), text=_first(parts)), parts[0]]
    text = "\n\n".join(part.strip() for part in parts) + "\n"
    return text.replace("../../docs/", "../").replace(f"{ROOT}/", ""), pictures


def _first(parts: Sequence[str]) -> str:
    """The text that begins a notebook, behind the cell that imports."""
    if len(parts) < 2 or not parts[1].startswith("# "):
        raise ValueError("the second cell of a notebook is its title and what it is about")
    return parts[1].strip()


def _shown(output: Any, name: str, pictures: dict[str, str]) -> str:
    """What a cell shows as Markdown; a picture is entered among the others."""
    if isinstance(getattr(output, "data", None), list):
        rows: list[dict[str, Any]] = output.data
        return _table([list(rows[0]), *([str(value) for value in row.values()] for row in rows)])
    if hasattr(output, "_repr_markdown_"):
        return dedent(output._repr_markdown_())
    if hasattr(output, "savefig"):
        file, drawn = f"{name}-{len(pictures) + 1}.svg", io.StringIO()
        output.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
        pictures[file] = "\n".join(line.rstrip() for line in drawn.getvalue().splitlines()) + "\n"
        return f"![]({file})"
    if hasattr(output, "_repr_html_"):
        reader = _Reader()
        reader.feed(output._repr_html_())
        return "\n\n".join(reader.blocks())
    return _text(repr(output))


def _text(text: str) -> str:
    lines = [
        line if len(line) <= MOST_CHARACTERS else f"{line[:MOST_CHARACTERS]}..."
        for line in text.strip("\n").split("\n")
    ]
    rest = len(lines) - MOST_LINES
    return "\n".join(["```text", *lines[:MOST_LINES], *([f"... {rest:,} more lines"] if rest > 0 else []), "```"])


def _table(rows: Sequence[Sequence[str]], right: Sequence[bool] = ()) -> str:
    """A table whose first row is its head; columns of numbers are set to the right unless `right` says which."""
    columns = list(zip(*rows[1:], strict=True))
    right = right or [all(_is_number(value) for value in column) for column in columns]
    rules = ["---:" if side else "---" for side in right]
    return "\n".join(f"| {' | '.join(row)} |" for row in (rows[0], rules, *rows[1:]))


def _is_number(text: str) -> bool:
    return text.replace(",", "").replace(".", "", 1).removeprefix("-").isdigit()


@dataclass
class _ShownTable:
    """A table that is being read: texts by row, and which columns are set to the right."""

    caption: str = ""
    rows: list[list[str]] = field(default_factory=list[list[str]])
    right: list[bool] = field(default_factory=list[bool])


class _Reader(HTMLParser):
    """Turns the markup of our own displays, which is tables and preformatted text, into Markdown."""

    def __init__(self) -> None:
        super().__init__()
        self._blocks: list[_ShownTable | str] = []
        self._into = ""

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        if tag == "table":
            self._blocks.append(_ShownTable())
        elif tag == "pre":
            self._blocks.append("")
        elif tag == "tr":
            self._open().rows.append([])
        elif tag in ("td", "th"):
            table = self._open()
            table.rows[-1].append("")
            if len(table.rows) == 1:
                table.right.append("text-align:right" in str(dict(attrs).get("style")))
        elif tag == "br":
            self.handle_data(" ")
        if tag in ("pre", "td", "th", "caption"):
            self._into = tag

    def handle_endtag(self, tag: str) -> None:
        if tag == self._into:
            self._into = ""

    def handle_data(self, data: str) -> None:
        last = self._blocks[-1] if self._blocks else None
        if isinstance(last, str) and self._into == "pre":
            self._blocks[-1] = last + data
        elif isinstance(last, _ShownTable) and self._into == "caption":
            last.caption += data
        elif isinstance(last, _ShownTable) and self._into:
            last.rows[-1][-1] += data.replace("|", "\\|")

    def _open(self) -> _ShownTable:
        last = self._blocks[-1]
        if isinstance(last, str):
            raise ValueError("a row stands outside of a table")
        return last

    def blocks(self) -> Iterator[str]:
        """What was read, as Markdown."""
        for block in self._blocks:
            if isinstance(block, str):
                yield _text(block)
            else:
                if block.caption:
                    yield block.caption
                yield _table(block.rows, block.right)


def pages(names: Sequence[str] = ()) -> Mapping[str, tuple[str, dict[str, str]]]:
    """Page and pictures of the notebooks of these names, of all by default."""
    paths = [NOTEBOOKS / f"{name}.py" for name in names] or sorted(NOTEBOOKS.glob("*.py"))
    return {path.stem: page(path) for path in paths}


if __name__ == "__main__":
    for name, (markdown, drawn) in pages(sys.argv[1:]).items():
        for stale in PAGES.glob(f"{name}-*.svg"):
            stale.unlink()
        for file_name, text in {f"{name}.md": markdown, **drawn}.items():
            write_atomic(PAGES / file_name, text)
