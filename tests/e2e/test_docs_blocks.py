"""Every command block of the README, of docs/ and of the examples runs and prints what the text says."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "docs"))

import blocks  # noqa: E402

DOCUMENTS = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md")), *sorted(ROOT.glob("examples/**/README.md"))]
SLOW = {"docs/comparison.md", "docs/extending.md", "docs/schemes/README.md", "examples/digits/README.md"}
"""Those whose blocks take more than about 20 seconds, but for the README, which is what a reader tries first."""


def document(path: Path) -> Any:
    """A document as a case of a test."""
    name = str(path.relative_to(ROOT))
    return pytest.param(path, marks=[pytest.mark.slow] if name in SLOW else [], id=name)


@pytest.mark.parametrize("path", [document(p) for p in DOCUMENTS if blocks.parse(p)])
def test_command_blocks(path: Path, tmp_path: Path) -> None:
    failures, skipped = blocks.check(path, tmp_path)
    assert not failures, "\n\n".join(failures)
    missing = [reason for reason in skipped if "needs" in reason]
    if missing:
        pytest.skip("the other blocks passed; not run: " + "; ".join(missing))


def test_wildcards() -> None:
    assert blocks.matches(["a ... b", "...", "z"], ["a 1 2 b", "x", "y", "z"])
    assert blocks.matches(["...", "z"], ["z"])
    assert not blocks.matches(["a", "z"], ["a", "y", "z"])
    assert not blocks.matches(["a ... b"], ["a 1 c"])


def test_tolerance_is_for_numbers_and_spacing_only() -> None:
    assert blocks.matches(["a  1,000 b 0.50 %", "-----"], ["a 1,015   b 0.52 %", "----------"], 0.02)
    assert blocks.matches(["n -3.0 ...", "5"], ["n  -2.9 and 7 more", "5"], 0.02)
    assert not blocks.matches(["a 1,000 b"], ["a 1,030 b"], 0.02)
    assert not blocks.matches(["a 1 b"], ["a 1 c"], 0.02)
    assert not blocks.matches(["a 1"], ["a"], 0.02)


def test_ranges_are_for_numbers_in_them() -> None:
    assert blocks.matches(["top-1 98..100 % (441..450 of 450)"], ["top-1 99.56 % (448 of 450)"])
    assert blocks.matches(["1,200..1,428 bytes, 2  x"], ["1,419 bytes, 2  x"])
    assert blocks.matches(["a -1.5..-1 b 10"], ["a -1.25  b 11"], 0.1)
    assert not blocks.matches(["top-1 98..100 %"], ["top-1 97.99 %"])
    assert not blocks.matches(["top-1 98..100 %"], ["top-1 100.1 %"])
    assert not blocks.matches(["1..3 of 4"], ["2 of 5"])
    assert blocks.matches(["a../b 1"], ["a../b 1"])


def test_an_update_keeps_lines_that_fit() -> None:
    assert blocks.updated(["a 1..3", "b 1"], ["a 2", "b 2"]) == ["a 1..3", "b 2"]
    assert blocks.updated(["a 1..3", "b 1"], ["a 4", "b 1"]) == ["a 4", "b 1"]
    assert blocks.updated(["a 1..3"], ["a 2", "b 2"]) == ["a 2", "b 2"]
    assert blocks.updated(["a 1", "..."], ["a 2", "b 2"]) == ["a 2", "b 2"]


def test_console_block_is_parsed_into_commands_and_outputs(tmp_path: Path) -> None:
    text = "text\n```console\n$ echo a \\\n  b\na b\n$ true\n```\n```sh\ntrue\nfalse\n```\n```text\nno\n```\n"
    (tmp_path / "x.md").write_text(text)
    console, script = blocks.parse(tmp_path / "x.md")
    assert [(c.text, c.expected) for c in console.commands] == [("echo a \\\n  b", ["a b"]), ("true", [])]
    assert [(c.text, c.expected) for c in script.commands] == [("true\nfalse", None)]


def test_wrong_output_and_failing_commands_are_reported_and_update_mends_outputs(tmp_path: Path) -> None:
    page = tmp_path / "x.md"
    page.write_text("```console\n$ echo a\nb\n$ echo c\n...\n```\n```sh\nfalse\n```\n```sh\nmake test\n```\n")
    (tmp_path / "one").mkdir()
    failures, skipped = blocks.check(page, tmp_path / "one")
    assert [f.splitlines()[0].split(" ")[0] for f in failures] == ["x.md:1:", "x.md:7:"]
    assert skipped == ["x.md:10: builds or tests the checkout itself"]
    (tmp_path / "two").mkdir()
    failures, _ = blocks.check(page, tmp_path / "two", update=True)
    assert len(failures) == 1
    assert page.read_text().startswith("```console\n$ echo a\na\n$ echo c\n...\n```\n")


def test_commands_of_a_document_share_one_shell(tmp_path: Path) -> None:
    page = tmp_path / "x.md"
    script = "export A=1\nf() { echo f; }\nmkdir -p out/b\ncd out/b"
    page.write_text(f"```sh\n{script}\n```\n```console\n$ echo $A $(f) ${{PWD##*/}}\n1 f b\n```\n")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    assert blocks.check(page, scratch) == ([], [])


def test_blocks_that_set_up_the_checkout_are_not_run(tmp_path: Path) -> None:
    texts = {"make demo": True, "git clone x": True, "pip install -e .": True, "python -m venv v": True}
    texts |= {"pip install --no-index x": False, "escc m.onnx": False, "echo make": False}
    for text, skipped in texts.items():
        block = blocks.CommandBlock(tmp_path, 1, 3, [blocks.ShellCommand(text)])
        assert (blocks.skip_reason(block) is not None) == skipped, text
