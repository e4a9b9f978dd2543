"""Packages import in one direction only: escc -> passes -> dialects -> isa <- emulator; command lines start quickly."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from passes.pipelines import STAGES

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


WALK = (
    "escc.onnx_import",
    "passes.onnx_patterns",
    "passes.quantization",
    "escc.schemes",
    "escc.compress",
    "passes.layers",
    "passes.decomposition",
    "passes.tiling",
    "passes.math",
    "dialects",
    "isa",
)
"""The storeys that the weight of a convolution goes through, from the model to the instructions that load it."""
PROTOCOLS = {"passes.decomposition.weight_form"}
"""What all storeys of the compiler may know: how any form is asked."""
SEEN = {
    "escc.onnx_import": {
        *(
            "escc.files",
            "escc.recorded_forms",
            "passes.onnx_patterns",
            "passes.analysis",
            "passes.math",
            "dialects",
            "isa",
        ),
        *(f"passes.{name.replace('-', '_')}" for name in STAGES["onnx"]),
    },
    "passes.quantization": {
        "passes.onnx_patterns",
        "passes.decomposition",
        "passes.analysis",
        "passes.math",
        "dialects",
        "isa",
    },
    "escc.schemes": {"escc.compress", "passes.decomposition", "passes.math", "isa"},
    "passes.layers": {"passes.decomposition", "passes.tiling", "passes.math", "dialects", "isa"},
    "passes.decomposition": {"passes.tiling", "passes.math", "dialects", "isa"},
    "passes.math": {"dialects", "isa"},
    "isa.instructions": {"isa"},
    "emulator.units": {"emulator", "isa"},
}
"""What the files of a storey may import of this project beside their own."""


def within(name: str, package: str) -> bool:
    """Whether a dotted name is a package or something in it."""
    return f"{name}.".startswith(f"{package}.")


def climbs(storey: str, name: str) -> bool:
    """Whether a file of a storey must not import a name: it lies above, or is nothing that is seen there."""
    if name.split(".")[0] not in ALLOWED or within(name, storey) or any(within(name, p) for p in PROTOCOLS):
        return False
    above = WALK[: WALK.index(storey)] if storey in WALK else ()
    seen = SEEN.get(storey)
    return any(within(name, s) for s in above) or (seen is not None and not any(within(name, s) for s in seen))


@pytest.mark.parametrize("storey", [*WALK, "isa.instructions", "emulator.units"])
def test_the_walk_of_a_weight_climbs_nowhere(storey: str) -> None:
    files = sorted((ROOT / storey.replace(".", "/")).rglob("*.py"))
    assert files and [f"{file.name}: {name}" for file in files for name in imports(file) if climbs(storey, name)] == []


@pytest.mark.parametrize(
    ("storey", "name"),
    [
        ("escc.onnx_import", "passes.quantization.plan.Plan"),
        ("escc.onnx_import", "escc.schemes"),
        ("passes.quantization", "passes.layers.table"),
        ("passes.layers", "escc.compress.price.price"),
        ("passes.decomposition", "passes.layers.dense.KIND"),
        ("passes.tiling", "passes.decomposition.codebook.Codebook"),
        ("passes.math", "passes.decomposition.scheme.ConvLayer"),
        ("isa", "dialects.esc"),
        ("emulator.units", "passes.math.linear"),
    ],
)
def test_a_climb_is_seen(storey: str, name: str) -> None:
    assert climbs(storey, name)


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
