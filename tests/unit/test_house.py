"""House rules that a reader relies on: where passes lie, how long functions and files get, names for one thing."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import defaultdict
from importlib import import_module
from pathlib import Path

import pytest
from xdsl.passes import ModulePass

from escc.universe import ESCC_UNIVERSE
from isa.declaration import InstructionSpec
from isa.events import EnergyComponent, Event
from isa.table import OWN_INSTRUCTIONS
from passes.analysis.preserved import Preserved

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("escc", "dialects", "passes", "isa", "emulator")
BESIDE = ("benchmarks", "docs", "examples")


def _trees(*folders: str) -> dict[Path, ast.Module]:
    files = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return {path.relative_to(ROOT): ast.parse(path.read_text(encoding="utf-8")) for path in files}


TREES = _trees(*ROOMS)
ALL_TREES = {**TREES, **_trees(*BESIDE)}
TESTS = _trees("tests")

LONGEST_FUNCTION, LONGEST_FILE = 80, 500

MOST_FILES = 12
SCATTERED = {
    "decomposed convolution": (
        r'CoeffCombine|BasisConv|conv[._]esc|"escalate"',
        "escalate|decompos|conv_esc|ternary_basis",
    ),
    "pooling": (r"MaxPool|max_pool|post[._]pool|PoolOp", "pool"),
}
"""What a grep for a thing that lies in few files looks for, and what each of these files is called after."""


@pytest.mark.parametrize("name", sorted(ESCC_UNIVERSE.all_passes))
def test_a_pass_stands_in_a_file_of_its_own_and_says_what_it_keeps(name: str) -> None:
    step: type[ModulePass] = ESCC_UNIVERSE.all_passes[name]()
    assert step.__module__ == f"passes.{name.replace('-', '_')}"
    assert isinstance(vars(step).get("PRESERVES"), Preserved)


def test_passes_holds_passes() -> None:
    files = {path.stem for path in (ROOT / "passes").glob("*.py")}
    assert files == {name.replace("-", "_") for name in ESCC_UNIVERSE.all_passes} | {"__init__", "pipelines"}


@pytest.mark.parametrize("path", {**ALL_TREES, **TESTS}, ids=str)
def test_functions_and_files_fit_a_few_screens(path: Path) -> None:
    assert len((ROOT / path).read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE
    long = [
        node.name
        for node in ast.walk({**ALL_TREES, **TESTS}[path])
        if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno >= LONGEST_FUNCTION
    ]
    assert not long


def test_a_name_stands_for_one_class() -> None:
    """Operations of different dialects may share a name: they mean the same at different levels."""
    places: dict[str, set[Path]] = defaultdict(set)
    for path, tree in {**ALL_TREES, **TESTS}.items():
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
def test_a_thing_is_named_in_few_files_that_are_called_after_it(thing: str) -> None:
    wanted, called = SCATTERED[thing]
    named = [path for path in TREES if re.search(wanted, (ROOT / path).read_text(encoding="utf-8"))]
    assert len(named) <= MOST_FILES, named
    assert not [str(path) for path in named if not re.search(called, path.stem)]


COUNTING = (
    *("emulator/energy", "emulator/report", "emulator/statistics", "isa/", "escc/reports/", "escc/compare/"),
    *("docs/performance", "docs/machine"),
)
"""Where what a component of energy is called could be listed; elsewhere its name may be a word for other things."""


def _naming(text: str, own: tuple[Path, ...], within: tuple[str, ...] = ("",)) -> list[str]:
    """The files of the rooms, and the pages but those of single instructions, that have a name in quotes."""
    pattern = re.compile(rf"""["'`]{re.escape(text)}["'`.]""")
    files = (*TREES, *(path.relative_to(ROOT) for path in sorted((ROOT / "docs").glob("*.md"))))
    seen = [path for path in files if path not in own and str(path).startswith(within)]
    return [str(path) for path in seen if pattern.search((ROOT / path).read_text(encoding="utf-8"))]


def counting(what: Event | EnergyComponent) -> int:
    """Instructions that count an event, or events of a part of the machine."""
    return sum(what in (*spec.events, *(event.component for event in spec.events)) for spec in OWN_INSTRUCTIONS)


def alone(spec: InstructionSpec) -> list[Event]:
    """The events that no other instruction counts."""
    return [event for event in spec.events if counting(event) == 1]


@pytest.mark.parametrize("spec", list(filter(alone, OWN_INSTRUCTIONS)), ids=lambda spec: spec.mnemonic)
def test_what_one_instruction_counts_is_named_in_its_files_alone(spec: InstructionSpec) -> None:
    """So two people who add an instruction each, with events of its own, meet in no file."""
    name, events = spec.mnemonic.replace(".", "_"), alone(spec)
    own = Path(f"isa/instructions/{name}.py"), Path(f"emulator/units/{name}.py")
    tables = {event.table.name for event in events if event.table}
    components = {event.component.name for event in events if event.component and counting(event.component) == 1}
    found = {table: _naming(table, own) for table in tables} | {c: _naming(c, own, COUNTING) for c in components}
    assert found and not any(found.values()), found
    constants = {
        key for key, value in vars(import_module(f"isa.instructions.{name}")).items() if isinstance(value, Event)
    }
    assert len(constants) == len(events)
    imported = {
        str(path): sorted(both)
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == f"isa.instructions.{name}" and path not in own
        if (both := constants & {alias.name for alias in node.names})
    }
    assert not imported


@pytest.mark.parametrize("mnemonic", [spec.mnemonic for spec in OWN_INSTRUCTIONS if spec.mnemonic != "end"])
def test_general_code_of_machine_and_reports_names_no_instruction(mnemonic: str) -> None:
    """Tables and drivers find instructions; what they would list by name stands in the instruction's own files."""
    name = mnemonic.replace(".", "_")
    named = re.compile(rf"""["']{re.escape(mnemonic)}["']|\b(instructions|units)[.]{name}\b""")
    general = [path for path in TREES if path.parts[0] in ("emulator", "isa") and len(path.parts) == 2]
    assert not [str(path) for path in general if named.search((ROOT / path).read_text(encoding="utf-8"))]


def test_two_instructions_that_came_late_meet_in_no_file() -> None:
    """Whoever adds one like `load.vq` and whoever adds one like `conv.gather` edit different files of the rooms."""
    named = {
        mnemonic: {
            str(path)
            for path in TREES
            if re.search(rf"\b{mnemonic.replace('.', '[._]')}\b", (ROOT / path).read_text(encoding="utf-8"))
        }
        for mnemonic in ("load.vq", "conv.gather")
    }
    assert all(named.values()) and not named["load.vq"] & named["conv.gather"]


def test_the_changelog_begins_with_the_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    versions = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert versions[0] == project["version"]
