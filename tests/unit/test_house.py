"""House rules that a reader relies on: where passes lie, how long functions and files get, names for one thing."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest
from xdsl.passes import ModulePass

from escc.universe import ESCC_UNIVERSE
from passes.analysis.preserved import Preserved

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("escc", "dialects", "passes", "isa", "emulator")
BESIDE = ("benchmarks", "docs", "examples")


def _trees(*folders: str) -> dict[Path, ast.Module]:
    files = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return {path.relative_to(ROOT): ast.parse(path.read_text(encoding="utf-8")) for path in files}


TREES = _trees(*ROOMS)
ALL_TREES = {**TREES, **_trees(*BESIDE)}

LONGEST_FUNCTION, LONGEST_FILE = 80, 500

MOST_FILES = 12
SCATTERED = {
    "decomposed convolution": r'CoeffCombine|BasisConv|conv[._]esc|"escalate"',
    "pooling": r"MaxPool|max_pool|post[._]pool|PoolOp",
}
"""What a grep for a thing that lies in few files looks for."""


@pytest.mark.parametrize("name", sorted(ESCC_UNIVERSE.all_passes))
def test_a_pass_stands_in_a_file_of_its_own_and_says_what_it_keeps(name: str) -> None:
    step: type[ModulePass] = ESCC_UNIVERSE.all_passes[name]()
    assert step.__module__ == f"passes.{name.replace('-', '_')}"
    assert isinstance(vars(step).get("PRESERVES"), Preserved)


def test_passes_holds_passes() -> None:
    files = {path.stem for path in (ROOT / "passes").glob("*.py")}
    assert files == {name.replace("-", "_") for name in ESCC_UNIVERSE.all_passes} | {"__init__", "pipelines"}


@pytest.mark.parametrize("path", ALL_TREES, ids=str)
def test_functions_and_files_fit_a_few_screens(path: Path) -> None:
    assert len((ROOT / path).read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE
    long = [
        node.name
        for node in ast.walk(ALL_TREES[path])
        if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno >= LONGEST_FUNCTION
    ]
    assert not long


def test_files_of_tests_fit_them_too() -> None:
    files = (ROOT / "tests").rglob("*.py")
    lines = {path.relative_to(ROOT): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert not {path: count for path, count in lines.items() if count > LONGEST_FILE}


def test_a_name_stands_for_one_class() -> None:
    """Operations of different dialects may share a name: they mean the same at different levels."""
    places: dict[str, set[Path]] = defaultdict(set)
    for path, tree in ALL_TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                places[node.name].add(path)
    shared = {
        name: sorted(map(str, paths))
        for name, paths in places.items()
        if len(paths) > 1 and not (name.endswith("Op") and all(re.match("dialects/", str(p)) for p in paths))
    }
    assert not shared


@pytest.mark.parametrize("thing", SCATTERED)
def test_a_thing_is_named_in_few_files(thing: str) -> None:
    named = [str(path) for path in TREES if re.search(SCATTERED[thing], (ROOT / path).read_text(encoding="utf-8"))]
    assert len(named) <= MOST_FILES, named


def test_the_changelog_begins_with_the_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    versions = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert versions[0] == project["version"]
