"""An instruction of another package, with its unit: found through entry points by every command, with no edit here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

INSTRUCTION = '''
"""`post.fill`: a tile of ACT filled with one value."""

from isa.costs import output_values, post_cycles
from isa.counts import Count
from isa.declaration import Field, InstructionSpec, Rule, extent
from isa.field_groups import OUT_TILE, apart, tile
from isa.formats import Queue


def rules(v, target):
    return apart(v, "out"), Rule(v["value"] == 7, "value={value} brings bad luck")


def counts(v, target):
    return {Count.ACT_WRITE: output_values(v)}


SPEC = InstructionSpec(
    "post.fill",
    0x90,
    Queue.POST,
    "Fill the output tile with a value.",
    (extent("oh", "rows"), extent("ow", "columns"), extent("kn", "channels"), *OUT_TILE, Field("value", 8, "value")),
    rules=rules,
    extents=lambda v, target: [tile(v, "out", True)],
    cycles=lambda v, target: post_cycles(output_values(v), target),
    counts=counts,
)
'''

UNIT = '''
"""`post.fill`: a tile of ACT filled with one value."""

from emulator.unit import Unit
from isa.counts import Count
from post_fill import SPEC


def execute(m, v):
    for y in range(v["oh"]):
        for x in range(v["ow"]):
            at = v["out"] + (y * v["out_w"] + x) * v["out_c"]
            m.act[:, at : at + v["kn"]] = v["value"]
    return v["value"]


def record(entry, v, value):
    entry.add(Count.POST_ADD_INT8, value)


UNIT = Unit(SPEC, execute, record)
'''

TENSOR = '"tensor": {{"name": "{0}", "address": {1}, "h": 2, "w": 3, "c": 4, "format": "raw", "segment": 3, '
TENSOR += '"signed": false, "scale": 1.0}}'
PROGRAM = f"""\
.producer "test"
.target "esc1"
.arena 0x80
.input {{"name": "x", "shape": [1, 4, 2, 3], {TENSOR.format("x", 0)}}}
.output {{"name": "y", "shape": [1, 4, 2, 3], {TENSOR.format("y", 64)}}}
.rodata
.text
post.fill out=0x10, oh=2, ow=3, kn=4, out_w=3, out_c=4, value=5 ; signal
store.act dram=0x40, format=raw, tensor_w=3, tensor_c=4, h=2, w=3, cn=4, act=0x10, act_w=3, act_c=4 ; wait post>=1
end
.sample
{"00" * 24}
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which the package is installed: its modules and its metadata lie on the path."""
    site = tmp_path_factory.mktemp("site")
    (site / "post_fill.py").write_text(INSTRUCTION)
    (site / "post_fill_unit.py").write_text(UNIT)
    metadata = site / "post_fill-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: post-fill\nVersion: 1.0\n")
    entries = "[isa.instructions]\npost-fill = post_fill:SPEC\n[emulator.units]\npost-fill = post_fill_unit:UNIT\n"
    (metadata / "entry_points.txt").write_text(entries)
    return {**os.environ, "PYTHONPATH": str(site)}


def call(name: str, *arguments: str, env: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / name), *arguments]
    return subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, check=False, timeout=300)


def test_it_assembles_runs_and_is_counted(installed: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "p.s").write_text(PROGRAM)
    done = call("esc-as", "p.s", "-o", "p.bin", env=installed, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    text = call("esc-dis", "p.bin", env=installed, cwd=tmp_path).stdout
    assert "post.fill    oh=2, ow=3, kn=4, out=0x10, out_w=3, out_c=4, value=5 ; signal\n" in text
    (tmp_path / "again.s").write_text(text)
    done = call("esc-as", "again.s", "-o", "again.bin", env=installed, cwd=tmp_path)
    assert (tmp_path / "again.bin").read_bytes() == (tmp_path / "p.bin").read_bytes(), done.stderr
    done = call("esc-emu", "p.bin", "--output", "y.npy", "--stats-json", "s.json", env=installed, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), np.full((1, 4, 2, 3), 5, np.float32))
    totals = json.loads((tmp_path / "s.json").read_text())["totals"]
    assert totals["scratchpad_bytes"]["act"] == {"read": 24, "write": 24}
    assert totals["busy_cycles"]["post"] > 0 and totals["energy_uj"]["post"] > 0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("value=5", "value=7", "value=7 brings bad luck"),
        ("kn=4, out_w=3", "kn=5, out_w=3", "rows or positions of the tile at out overlap"),
        ("out=0x10, oh=2", "out=0x1ffff, oh=2", "ACT is touched up to byte"),
        ("kn=4, out_w=3", "kn=0, out_w=3", "kn must be positive"),
        (" ; wait post>=1", "", "race: instruction 1 'store.act"),
        ("ow=3, kn=4", "ow=3, kn=3", "reads act[0x13], which nothing has written"),
        ("value=5", "value=256", "value=256 does not fit [0, 255]"),
    ],
)
def test_its_rules_and_hazards_hold(
    installed: dict[str, str], tmp_path: Path, old: str, new: str, message: str
) -> None:
    (tmp_path / "p.s").write_text(PROGRAM.replace(old, new, 1))
    done = call("esc-as", "p.s", "-o", "p.bin", env=installed, cwd=tmp_path)
    assert done.returncode == 1 and message in done.stderr, done.stderr
    assert not (tmp_path / "p.bin").exists()


def test_without_the_package_it_is_unknown(installed: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "p.s").write_text(PROGRAM)
    assert call("esc-as", "p.s", "-o", "p.bin", env=installed, cwd=tmp_path).returncode == 0
    bare = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = call("esc-emu", "p.bin", env=bare, cwd=tmp_path)
    assert done.returncode == 1 and "instruction 0: unknown opcode 0x90" in done.stderr, done.stderr
    done = call("esc-as", "p.s", "-o", "q.bin", env=bare, cwd=tmp_path)
    assert done.returncode == 1 and "unknown instruction 'post.fill'" in done.stderr, done.stderr


def test_a_package_that_does_not_load_is_one_line(installed: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "p.s").write_text(PROGRAM)
    metadata = tmp_path / "broken-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[isa.instructions]\nbroken = no_such_module:SPEC\n")
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = call("esc-as", "p.s", "-o", "p.bin", env=env, cwd=tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "the instruction 'broken' (entry point group 'isa.instructions') does not load" in done.stderr, done.stderr
