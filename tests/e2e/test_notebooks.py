"""The notebooks of examples/notebooks run from the first cell to the last, with networks that come with the tree; the
pages of docs/tutorials show what they show."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytest.importorskip("marimo")
pytest.importorskip("matplotlib")

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "docs"))

import notebooks  # noqa: E402

NAMES = sorted(path.stem for path in notebooks.NOTEBOOKS.glob("*.py"))


def texts(picture: str) -> list[str]:
    """What is written in an SVG file."""
    return [text for text in ElementTree.fromstring(picture).itertext() if text.strip()]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_notebook_runs_and_its_page_is_current(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page, pictures = notebooks.page(notebooks.NOTEBOOKS / f"{name}.py")
    assert list(tmp_path.iterdir()) == []
    mend = f"run: python -m docs.notebooks {name}"
    assert (notebooks.PAGES / f"{name}.md").read_text(encoding="utf-8") == page, mend
    assert {path.name for path in notebooks.PAGES.glob(f"{name}-*.svg")} == pictures.keys(), mend
    for file, picture in pictures.items():
        assert texts((notebooks.PAGES / file).read_text(encoding="utf-8")) == texts(picture), mend


def test_every_notebook_is_listed() -> None:
    text = (notebooks.NOTEBOOKS / "README.md").read_text(encoding="utf-8")
    site = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for name in NAMES:
        assert f"({name}.py)" in text and f"(../../docs/tutorials/{name}.md)" in text
        assert f": tutorials/{name}.md\n" in site


NOTEBOOK = '''
import marimo

app = marimo.App()


@app.cell
def _():
    import marimo as mo

    return (mo,)


@app.cell
def _(mo):
    mo.md("""
    # Title

    Text with [a link](../../docs/isa.md).
    """)
    return


@app.cell
def _():
    class Shown:
        def _repr_html_(self):
            return (
                '<table><caption>of a|b</caption><tr><th style="text-align:left">a</th>'
                '<th style="text-align:right">b<br><small>kB</small></th></tr>'
                "<tr><td>x|y</td><td>&lt;1</td></tr></table><pre>one\\n\\ntwo</pre>"
            )

    Shown()
    return


@app.cell
def _(mo):
    mo.ui.table([{"n": 1, "name": "b"}, {"n": 1.5, "name": "c"}], selection=None)
    return


@app.cell
def _():
    for n in range(2):
        pass
    return


@app.cell
def _():
    list(range(3))
    return
'''


def test_what_cells_show_is_markdown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notebooks, "ROOT", tmp_path)
    (tmp_path / "n.py").write_text(NOTEBOOK)
    page, pictures = notebooks.page(tmp_path / "n.py")
    assert page.startswith("<!-- Written by `python -m docs.notebooks` from n.py; do not edit. -->\n\n# Title\n\nText")
    assert "[a link](../isa.md)" in page and not pictures
    assert page.index("# Title") < page.index("```python\nimport marimo as mo\n```")
    assert "\nof a|b\n\n| a | b kB |\n| --- | ---: |\n| x\\|y | <1 |\n\n```text\none\n\ntwo\n```\n" in page
    assert "\n| n | name |\n| ---: | --- |\n| 1 | b |\n| 1.5 | c |\n" in page
    assert (
        "```python\nfor n in range(2):\n    pass\n```\n\n```python\nlist(range(3))\n```\n\n```text\n[0, 1, 2]\n```"
        in page
    )
    assert "mo.md(" not in page


def test_a_long_text_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notebooks, "ROOT", tmp_path)
    monkeypatch.setattr(notebooks, "MOST_LINES", 1)
    (tmp_path / "n.py").write_text(NOTEBOOK)
    assert "```text\none\n... 2 more lines\n```" in notebooks.page(tmp_path / "n.py")[0]
