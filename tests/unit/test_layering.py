"""Packages import in one direction only: escc -> passes -> dialects -> isa <- emulator; command lines start quickly."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ALLOWED = {
    "isa": {"isa"},
    "emulator": {"emulator", "isa"},
    "dialects": {"dialects", "isa"},
    "passes": {"passes", "dialects", "isa"},
    "escc": {"escc", "passes", "dialects", "isa", "emulator"},
}
FOREIGN = {"isa": {"xdsl", "onnx"}, "emulator": {"xdsl", "onnx"}, "passes": {"onnx"}, "dialects": {"onnx"}}
COMMANDS = ("compile", "compare", "compress", "opt", "emulate", "assemble", "disassemble")


def imports(path: Path) -> Iterator[str]:
    """Dotted names of all imports of a file, those inside functions too."""
    for statement in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            assert statement.level == 0 and statement.module, f"{path}: relative import"
            yield from (f"{statement.module}.{alias.name}" for alias in statement.names)


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_point_one_way(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    forbidden = ALLOWED.keys() - ALLOWED[package] | FOREIGN.get(package, set())
    found = [f"{file.relative_to(ROOT)}: {name}" for file in files for name in imports(file)]
    assert [line for line in found if line.split(": ")[1].split(".")[0] in forbidden] == []


def test_only_command_lines_import_what_serves_them() -> None:
    folder = ROOT / "escc/cli"
    files = [file for package in ALLOWED for file in sorted((ROOT / package).rglob("*.py")) if file.parent != folder]
    found = [f"{file.relative_to(ROOT)}: {name}" for file in files for name in imports(file)]
    assert [line for line in found if ": escc.cli" in line] == []
    commands = tuple(f"escc.cli.{name}." for name in COMMANDS)
    entries = [name for file in folder.glob("*.py") for name in imports(file) if name.startswith(commands)]
    assert entries == [] and all((folder / f"{name}.py").is_file() for name in COMMANDS)


KITS = {
    "isa": "isa.instructions",
    "emulator": "emulator.units",
    "passes": "passes.layers",
    "passes/tiling": "passes.layers",
    "passes/quantization": "passes.quantization.forms",
    "escc/compress": "escc.schemes",
    "escc/onnx_export": "escc.onnx_export.forms",
}
"""Folders whose own files find what is in a package, and so name none of its files."""


@pytest.mark.parametrize("folder", KITS)
def test_a_kit_names_nothing_that_grows(folder: str) -> None:
    package, tables = KITS[folder], {"table"}
    found = [f"{file.name}: {name}" for file in sorted((ROOT / folder).glob("*.py")) for name in imports(file)]
    within = [line for line in found if line.split(": ")[1].startswith(f"{package}.")]
    assert [line for line in within if line.split(f"{package}.")[1].split(".")[0] not in tables] == []


STOREYS = {
    "isa/instructions": {"isa"},
    "emulator/units": {"emulator", "isa"},
    "passes/layers": {"passes.layers", "passes.decomposition", "passes.tiling", "passes.math", "dialects", "isa"},
    "passes/decomposition": {"passes.decomposition", "passes.tiling", "passes.math", "dialects", "isa"},
    "escc/schemes": {"escc.schemes", "escc.compress", "passes.decomposition", "passes.math", "isa"},
}
"""What the files of a storey of the walk of a weight may import of this project: each hands over to what lies below."""


@pytest.mark.parametrize("folder", STOREYS)
def test_the_walk_of_a_weight_climbs_nowhere(folder: str) -> None:
    files = sorted((ROOT / folder).glob("*.py"))
    found = [(file.name, name) for file in files for name in imports(file) if name.split(".")[0] in ALLOWED]
    below = tuple(f"{package}." for package in STOREYS[folder])
    assert files and [line for line in found if not f"{line[1]}.".startswith(below)] == []


def loaded(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after `code`."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nprint(*sorted({{m.split('.')[0] for m in sys.modules}}), file=sys.stderr)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stderr.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_light(command: str) -> None:
    code = f"import sys\nfrom escc.cli.{command} import main\ntry: main(['--help'])\nexcept SystemExit: pass"
    heavy = {"numpy", "onnx", "numba", "torch", "lark", "elftools", "xdsl", "altair", "vl_convert"}
    if command == "opt":  # an xDSL driver: its options are xDSL's
        heavy -= {"xdsl"}
    assert loaded(code) & heavy == set()


def test_the_machine_needs_no_compiler() -> None:
    code = "import sys, emulator.machine, emulator.statistics, isa.assembly, isa.container"
    assert loaded(code) & {"xdsl", "onnx", "torch", "escc", "passes", "dialects"} == set()
