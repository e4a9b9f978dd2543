"""Machine descriptions."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from isa.storage import operand_bytes, operand_memories
from isa.target import installed_target, list_targets, load_target, parse_target
from isa.target_files import TargetError, installed_places

ESC1 = load_target("esc1")


def test_canonical_text_round_trip() -> None:
    assert parse_target(ESC1.text) == ESC1
    odd = replace(
        ESC1, name='a "b" \\ \n\t\x7f', description="é # |", clock=replace(ESC1.clock, frequency_mhz=12345.678)
    )
    assert parse_target(odd.text) == odd
    assert parse_target(odd.text).text == odd.text


def test_a_file_is_read_as_it_is_now(tmp_path: Path) -> None:
    """Neither a target nor the file that it builds upon is remembered by its name."""
    base, path = tmp_path / "base.toml", tmp_path / "mine.toml"
    base.write_text('base = "esc1"\n[array]\nblocks = 8\n')
    path.write_text('base = "base.toml"\n')
    assert load_target(str(path)).array.blocks == 8
    base.write_text('base = "esc1"\n[array]\nblocks = 4\n')
    assert load_target(str(path)).array.blocks == 4
    path.write_text('base = "base.toml"\n[array]\nslices = 3\n')
    assert load_target(str(path)).array.slices == 3


def test_installed_targets() -> None:
    assert list_targets()["esc1"] == ESC1.description


def test_overrides_of_a_base(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('base = "esc1"\nname = "mine"\n[array]\nslices = 8\n')
    mine = load_target(str(path))
    assert mine == replace(ESC1, name="mine", array=replace(ESC1.array, slices=8))
    (tmp_path / "other.toml").write_text('base = "mine.toml"\nname = "other"\n')
    assert load_target(str(tmp_path / "other.toml")) == replace(mine, name="other")


def test_a_target_without_a_name_is_called_like_its_file(tmp_path: Path) -> None:
    path = tmp_path / "small.toml"
    path.write_text('base = "esc1"\n[array]\nblocks = 8\n')
    (tmp_path / "smaller.toml").write_text('base = "small.toml"\n')
    assert load_target(str(path)).name == "small"
    assert load_target(str(tmp_path / "smaller.toml")).name == "smaller"


@pytest.mark.parametrize("text", ['extends = "esc1"\n', "[array]\nblocks = 8\n"])
def test_whoever_knows_no_parameters_is_told_where_they_are(text: str, tmp_path: Path) -> None:
    path = tmp_path / "small.toml"
    path.write_text(text)
    with pytest.raises(TargetError) as caught:
        load_target(str(path))
    assert all(word in caught.value.note for word in ("escc --print-target", "docs/target.md", 'base = "esc1"'))


@pytest.fixture
def with_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed package `other-targets` with a target that is right and others that are not there or wrong."""
    (tmp_path / "other_targets.py").write_text(
        "from pathlib import Path\nHERE = Path(__file__).parent\nRIGHT = HERE / 'right.toml'\n"
        "GONE = HERE / 'gone.toml'\nWRONG = HERE / 'wrong.toml'\n"
    )
    (tmp_path / "right.toml").write_text('base = "esc1"\ndescription = "as it should be"\n')
    (tmp_path / "wrong.toml").write_text('base = "esc1"\nextends = "esc1"\n')
    metadata = tmp_path / "other_targets-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: other-targets\nVersion: 1.0\n")
    names = "".join(f"{name} = other_targets:{name.upper()}\n" for name in ("right", "gone", "wrong", "absent"))
    (metadata / "entry_points.txt").write_text(f"[isa.targets]\n{names}")
    monkeypatch.syspath_prepend(str(tmp_path))
    installed_places.cache_clear()
    yield tmp_path
    installed_places.cache_clear()


def test_broken_targets_of_other_packages_leave_the_others_alone(with_package: Path) -> None:
    with pytest.warns(UserWarning, match="entry point group 'isa.targets'") as warned:
        found = list_targets()
    assert found == {"esc1": ESC1.description, "right": "as it should be"}
    told = [str(warning.message) for warning in warned]
    assert [re.findall("the target '(.*?)'", text) for text in told] == [["absent"], ["gone"], ["wrong"]]
    assert all(text.endswith("it comes from the package 'other-targets'") for text in told)
    assert "gone.toml: no such file" in told[1] and "unknown parameter 'extends'" in told[2]
    assert load_target("right").name == "right"
    with pytest.raises(
        TargetError, match=r"the target 'gone' .entry point group 'isa.targets'. does not load"
    ) as caught:
        load_target("gone")
    assert caught.value.note == "reinstall or uninstall the package 'other-targets'"


def test_zero_is_allowed_where_it_means_something() -> None:
    text = ESC1.text.replace("dram_byte = 32.0", "dram_byte = 0.0").replace("issue_cycles = 8", "issue_cycles = 0")
    text = text.replace("act = 0.36543", "act = 0.0")
    parsed = parse_target(text)
    assert parsed.energy.dram_byte == parsed.energy.sram_read_byte.act == parsed.array.issue_cycles == 0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("act = 131072", "act = 0", "'scratchpad.act' must be in 1..16777216, found 0"),
        ("psum = 32768", "psum = 0", "'scratchpad.psum' must be in 1.."),
        ("blocks = 32", "blocks = -1", "'array.blocks' must be in 1..1024, found -1"),
        ("blocks = 32", "blocks = 1.5", "'array.blocks' must be of type int"),
        ("blocks = 32", "blocks = true", "'array.blocks' must be of type int"),
        ("blocks = 32", 'blocks = "32"', "'array.blocks' must be of type int"),
        ("blocks = 32\n", "", "missing parameter 'array.blocks'"),
        ("blocks = 32", "blocks = 32\nblock = 1", "unknown parameter 'array.block'; did you mean 'array.blocks'?"),
        ("[clock]", "block = 1\n[clock]", "unknown parameter 'block'; did you mean 'array.blocks'?"),
        ("[clock]", "zzz = 1\n[clock]", "unknown parameter 'zzz'"),
        ("frequency_mhz = 800.0", "frequency_mhz = nan", "'clock.frequency_mhz' must be in 1..100000, found nan"),
        ("frequency_mhz = 800.0", "frequency_mhz = inf", "must be in 1..100000, found inf"),
        ("frequency_mhz = 800.0", "frequency_mhz = 1e-320", "must be in 1..100000, found 1e-320"),
        ("frequency_mhz = 800.0", "frequency_mhz = " + "9" * 400, "found an integer of more than 64 bits"),
        ("dram_byte = 32.0", "dram_byte = 1e308", "'energy.dram_byte' must be in 0..1000000"),
        ("coef = 0.75469", "coef = 1e308", "'energy.sram_write_byte.coef' must be in 0..1000000"),
        ("chunk = 64", "chunk = 72", "'array.chunk' must be in 8..64"),
        ("chunk = 64", "chunk = 12", "'array.chunk' must be a multiple of 8"),
        ("ic_bits = 16", "ic_bits = 25", "must be in 8..24"),
        ("act = 131072", "act = 33554432", "must be in 1..16777216"),
        ("page_bytes = 4096", "page_bytes = 2000", "multiple of dram.burst_bytes"),
        ("tREFI = 6246", "tREFI = 288", "'dram.tREFI' must exceed dram.tRFCab"),
        ("isa_version = 5", "isa_version = 9", "isa_version 9 is not 5"),
        ("[clock]\nfrequency_mhz = 800.0\n", "", "missing parameter 'clock'"),
        ("[clock]\nfrequency_mhz = 800.0\n", "clock = 3\n", "'clock' must be a table"),
        ("[clock]", "[clock", "not TOML"),
        ("blocks = 32", "blocks = " + "9" * 5000, "not TOML"),
        ("blocks = 32", "blocks = 0x80000000", "must be in 1..1024"),
        ("blocks = 32", "blocks = 0x" + "f" * 5000, "found an integer of more than 64 bits"),
        ("blocks = 32", "blocks = " + "[" * 5000, "not TOML"),
        ('name = "esc1"', f'name = "{"x" * 2000}"', "'name' must have at most 1000 characters, found 2000"),
        ("[clock]", "#" * (1 << 20) + "\n[clock]", "has at most 1048576 characters"),
    ],
)
def test_faults(old: str, new: str, message: str) -> None:
    assert old in ESC1.text
    with pytest.raises(TargetError) as caught:
        parse_target(ESC1.text.replace(old, new, 1), "t.toml")
    (cause,) = caught.value.causes
    assert cause.startswith("t.toml: ")
    assert message in cause


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="unknown target 'nosuch'; installed: esc1"):
        load_target("nosuch")
    with pytest.raises(TargetError, match=r"nosuch.toml: No such file"):
        load_target(str(tmp_path / "nosuch.toml"))
    (tmp_path / "a.toml").write_text('base = "b.toml"\n')
    (tmp_path / "b.toml").write_text('base = "a.toml"\n')
    with pytest.raises(TargetError, match="goes round in a circle"):
        load_target(str(tmp_path / "a.toml"))
    (tmp_path / "c.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(TargetError, match="not a TOML file"):
        load_target(str(tmp_path / "c.toml"))
    (tmp_path / "d.toml").write_bytes(b"#" * ((1 << 20) + 1))
    with pytest.raises(TargetError, match=r"d\.toml: a target file has at most 1048576 bytes"):
        load_target(str(tmp_path / "d.toml"))


def test_a_target_file_opens_no_file_but_targets(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    for base in ("secret", "/dev/zero", "pipe.toml"):
        if base.endswith(".toml"):
            os.mkfifo(tmp_path / base)
        (tmp_path / "e.toml").write_text(f'base = "{base}"\n')
        with pytest.raises(TargetError, match=f"base '{base}' is neither an installed target nor a .toml file"):
            load_target(str(tmp_path / "e.toml"))
    (tmp_path / "e.toml").write_text("base = 3\n")
    with pytest.raises(TargetError, match="'base' must be the name"):
        load_target(str(tmp_path / "e.toml"))


def test_an_installed_target_is_not_a_file(tmp_path: Path) -> None:
    assert installed_target("esc1") == ESC1
    path = tmp_path / "mine.toml"
    path.write_text('base = "esc1"\n')
    assert load_target(str(path)) == replace(ESC1, name="mine")
    with pytest.raises(TargetError, match="unknown target"):
        installed_target(str(path))


def numbers(table: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from numbers(cast("dict[str, Any]", value), (*path, name))
        elif not isinstance(value, str):
            yield (*path, name), value


def test_every_number_has_a_range_that_is_kept_and_told() -> None:
    plain = tomllib.loads(ESC1.text)
    assert tomllib.loads(ESC1.annotated) == plain
    found = list(numbers(plain))
    ranges = [line.partition("  # ")[2] for line in ESC1.annotated.splitlines() if " = " in line and '"' not in line]
    assert len(ranges) == len(found) and all(re.match(r"[\d.]+\.\.[\d.]+( \S.*)?: \w", text) for text in ranges)
    for (path, value), told in zip(found, ranges, strict=True):
        low, high = told.partition(":")[0].partition(" ")[0].split("..")
        for outside in (float(low) - 1, float(high) * 2):
            text = ESC1.text
            head = f"[{'.'.join(path[:-1])}]\n" if path[1:] else ""
            start = text.index(head) + len(head)
            old, new = f"{path[-1]} = {value}\n", f"{path[-1]} = {int(outside)}\n"
            assert old in text[start:]
            with pytest.raises(TargetError, match=f"'{'.'.join(path)}' must be in {low}[.][.]{high}, found"):
                parse_target(text[:start] + text[start:].replace(old, new, 1))


def test_every_operand_memory_counts() -> None:
    """Registers and FIFOs are memory like scratchpads: the default machine declares at most 256 KB of it in all."""
    memories = operand_memories(ESC1)
    assert memories["coefficient registers"] == 32 * 2 * 3072 * 2 // 8
    assert memories["broadcast FIFOs"] == 32 // 4 * 16 * (64 + 8)
    assert sum(memories.values()) == operand_bytes(ESC1) <= 256 * 1024
    wide = replace(ESC1, array=replace(ESC1.array, coefficient_level=1, blocks=30))
    assert operand_memories(wide)["coefficient registers"] == 30 * 2 * 3072 * 2 // 8  # whatever the level
    assert operand_memories(wide)["broadcast FIFOs"] == 8 * 16 * (64 + 8)
