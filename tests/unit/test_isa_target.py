"""Machine descriptions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from isa.target import TargetError, list_targets, load_target, parse_target

ESC1 = load_target("esc1")


def test_canonical_text_round_trip() -> None:
    assert parse_target(ESC1.text) == ESC1
    odd = replace(ESC1, name='a "b" \\ \n\t\x7f', description="é # |", clock=replace(ESC1.clock, frequency_mhz=1e16))
    assert parse_target(odd.text) == odd
    assert parse_target(odd.text).text == odd.text


def test_installed_targets() -> None:
    assert list_targets()["esc1"] == ESC1.description


def test_overrides_of_a_base(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('base = "esc1"\nname = "mine"\n[array]\nslices = 8\n')
    mine = load_target(str(path))
    assert mine == replace(ESC1, name="mine", array=replace(ESC1.array, slices=8))
    (tmp_path / "other.toml").write_text('base = "mine.toml"\nname = "other"\n')
    assert load_target(str(tmp_path / "other.toml")) == replace(mine, name="other")


def test_zero_is_allowed_where_it_means_something() -> None:
    text = ESC1.text.replace("dram_byte = 32.0", "dram_byte = 0.0").replace("issue_cycles = 8", "issue_cycles = 0")
    text = text.replace("act = 0.94236", "act = 0.0")
    parsed = parse_target(text)
    assert parsed.energy.dram_byte == parsed.energy.sram_read_byte.act == parsed.array.issue_cycles == 0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("act = 65536", "act = 0", "'scratchpad.act' must be positive, found 0"),
        ("psum = 32768", "psum = 0", "'scratchpad.psum' must be positive"),
        ("blocks = 32", "blocks = -1", "'array.blocks' must be positive"),
        ("blocks = 32", "blocks = 1.5", "'array.blocks' must be of type int"),
        ("blocks = 32", "blocks = true", "'array.blocks' must be of type int"),
        ("blocks = 32", 'blocks = "32"', "'array.blocks' must be of type int"),
        ("blocks = 32\n", "", "missing parameter 'array.blocks'"),
        ("blocks = 32", "blocks = 32\nblock = 1", "unknown parameter 'array.block'"),
        ("frequency_mhz = 800.0", "frequency_mhz = nan", "must be finite"),
        ("frequency_mhz = 800.0", "frequency_mhz = inf", "must be finite"),
        ("chunk = 64", "chunk = 65", "multiple of 8 up to 64"),
        ("chunk = 64", "chunk = 12", "multiple of 8 up to 64"),
        ("ic_bits = 16", "ic_bits = 25", "must be in 8..24"),
        ("act = 65536", "act = 33554432", "at most 16 MiB"),
        ("page_bytes = 2048", "page_bytes = 2000", "multiple of dram.burst_bytes"),
        ("isa_version = 2", "isa_version = 9", "isa_version 9 is not 2"),
        ("[clock]\nfrequency_mhz = 800.0\n", "", "missing parameter 'clock'"),
        ("[clock]\nfrequency_mhz = 800.0\n", "clock = 3\n", "'clock' must be a table"),
        ("[clock]", "[clock", "not TOML"),
        ("blocks = 32", "blocks = " + "9" * 5000, "not TOML"),
        ("blocks = 32", "blocks = 0x80000000", "must be below 2^31"),
        ("blocks = 32", "blocks = " + "[" * 5000, "not TOML"),
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
