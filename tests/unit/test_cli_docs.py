"""The page of all options: it says of each its type, default and example, and the examples are accepted."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from isa.target import load_target
from passes.pipelines import STAGES

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "docs"))

import pipeline
import site_hooks
from reference import PARSERS, cli_page, option, pages, target_page

_OWN_ACTIONS = ("-h", "--version")


def options(command: str) -> list[argparse.Action]:
    actions = PARSERS[command]()._actions  # pyright: ignore[reportPrivateUsage] argparse has no other way
    return [a for a in actions if a.option_strings and not set(a.option_strings) & set(_OWN_ACTIONS)]


@pytest.mark.parametrize("command", PARSERS)
def test_every_option_with_a_value_has_an_example_that_is_accepted(command: str) -> None:
    for action in options(command):
        written, kind, default, text, example = option(action)
        assert text and "example" not in text and "default:" not in text, written
        assert all(name in written for name in action.option_strings)
        if action.nargs == 0:
            continue
        assert kind and (default or action.required or "required" in kind or example), written
        assert example, f"{command} {written} has no example"
        flag, *values = shlex.split(example.replace("=", " ", 1) if example.startswith("--print-ir") else example)
        assert flag in action.option_strings
        assert values
        if action.choices:
            assert values[0] in action.choices
        elif callable(action.type):
            action.type(values[0])  # pyright: ignore[reportUnknownMemberType]


@pytest.mark.parametrize("name", pages())
def test_a_page_is_current(name: str) -> None:
    current = (Path(__file__).resolve().parents[2] / "docs" / name).read_text(encoding="utf-8")
    assert current == pages()[name], f"docs/{name} is out of date: run 'make docs'"


def test_the_page_has_a_row_for_each_option() -> None:
    page = cli_page()
    for command in PARSERS:
        assert f"\n## `{command}`\n" in page
        for action in options(command):
            assert f"\n| `{option(action)[0].replace('|', ' or ')}` | " in page


def test_every_parameter_of_a_target_has_a_row() -> None:
    page = target_page()
    names = [line.partition(" = ")[0] for line in load_target("esc1").annotated.split("\n") if "  # " in line]
    assert len(names) > 60
    for name in names:
        assert name == "isa_version" or f"\n| `{name}` | " in page


def test_links_that_leave_the_site_become_text() -> None:
    uris = ("index.md", "isa.md", "isa/end.md", "a.jsonl", "examples/README.md", "examples/a.md")
    files = [
        SimpleNamespace(src_uri=uri, inclusion=SimpleNamespace(is_excluded=lambda uri=uri: uri.endswith("l")))
        for uri in uris
    ]

    def shown(text: str, at: str = "isa/end.md") -> str:
        return site_hooks.on_page_markdown(text, page=SimpleNamespace(file=SimpleNamespace(src_uri=at)), files=files)

    assert shown("see [isa.md](../isa.md#x) and [`code`](../../isa/x.py)") == "see [isa.md](../isa.md#x) and `code`"
    assert shown("[the README](../README.md#a)", "isa.md") == "[the README](index.md)"
    assert shown("[a](../../examples/a/README.md#b), [c](../../examples/a/c.py)") == "[a](../examples/a.md#b), c"
    example = "examples/a.md"
    assert shown("[isa](../../docs/isa.md), [b](../b/README.md)", example) == "[isa](../isa.md), b"
    assert shown("[the README](../../README.md)", example) == "[the README](../index.md)"
    assert shown("[a](a/README.md), [isa](../docs/isa.md)", "examples/README.md") == "[a](a.md), [isa](../isa.md)"
    assert shown("[data](../a.jsonl), [web](https://a.b), [here](#x)") == "data, [web](https://a.b), [here](#x)"
    assert shown("weights [k][c], `a[k][c]`\n\n```\nx[i](y) a[b][c]\n```\n") == (
        "weights [k]\\[c], `a[k][c]`\n\n```\nx[i](y) a[b][c]\n```\n"
    )
    assert shown("w:\n\n    w[k][c] = a[i][j]\n\nb[k][c]\n") == "w:\n\n    w[k][c] = a[i][j]\n\nb[k]\\[c]\n"
    assert shown("```console ~5%\n$ a ~5%\n```\n") == "```console\n$ a ~5%\n```\n"


def test_a_block_that_would_be_shown_as_text_stops_the_site() -> None:
    page = SimpleNamespace(file=SimpleNamespace(src_uri="a.md"))
    good = "<p>text</p><pre><code>```</code></pre>"
    assert site_hooks.on_page_content(good, page=page) == good
    with pytest.raises(ValueError, match=r"^a\.md: a block of code is shown as text"):
        site_hooks.on_page_content("<p>```console ~5%</p>", page=page)


def test_every_instruction_is_in_the_navigation() -> None:
    folder = Path(__file__).resolve().parents[2] / "docs"
    config = {"docs_dir": str(folder), "nav": [{"Reference": [{"Instruction set": ["isa.md"]}]}]}
    pages = site_hooks.on_config(config)["nav"][0]["Reference"][0]["Instruction set"]
    assert pages[0] == "isa.md" and len(pages) == 1 + len(list((folder / "isa").glob("*.md"))) > 10


def test_the_picture_of_the_pipeline_is_current() -> None:
    drawn = pipeline.svg()
    assert pipeline.PATH.read_text(encoding="utf-8") == drawn, "run make docs"
    ElementTree.fromstring(drawn)
    assert all(f">{name}</text>" in drawn for stage in STAGES.values() for name in (*stage, *STAGES))


def test_no_product_is_read_as_emphasis() -> None:
    """`R*S*C` outside of code shows an S in italics and no asterisk."""
    root = Path(__file__).resolve().parents[2]
    pages = [*root.glob("*.md"), *(root / "docs").rglob("*.md"), *(root / "examples").rglob("*.md")]
    assert len(pages) > 30
    for page in pages:
        text = re.sub(r"^ *```.*?^ *```$|`[^`\n]+`|^    .*?$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
        assert not (found := re.search(r"\w\*\w.*", text)), f"{page.name}: {found and found[0]}"
