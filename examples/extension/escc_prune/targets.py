"""Targets of this package, for the entry point group `isa.targets`: each name is the path of a TOML file."""

from pathlib import Path

ESC1_HALF = Path(__file__).with_name("esc1_half.toml")
