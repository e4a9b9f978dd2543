"""What the fields of instructions and the scratchpads can hold, as causes why an operation does not fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from isa.table import BY_MNEMONIC
from isa.target import Target


def field_range(mnemonic: str, field: str) -> tuple[int, int]:
    """Smallest and largest value of an instruction field."""
    found = BY_MNEMONIC[mnemonic].field_named(field)
    return found.low, found.high


def window_faults(mnemonic: str, kernel: Sequence[int], strides: Sequence[int], pads: Sequence[int]) -> Iterator[str]:
    """Windows that the fields r, s, sy, sx, pt and pl of an instruction cannot express."""
    for name, values, field in (("kernel", kernel, "r"), ("strides", strides, "sy"), ("pads", pads[:2], "pt")):
        _, most = field_range(mnemonic, field)
        if max(values) > most:
            yield f"{name}={list(values)}; requires at most {most}"


def room_faults(target: Target, needs: Sequence[tuple[str, int, int]]) -> Iterator[str]:
    """Pieces that do not fit: (what, bytes, capacity) of each smallest piece that the machine can work on."""
    for what, size, capacity in needs:
        if size > capacity:
            yield f"{what}: {size} bytes; requires at most {capacity} of target '{target.name}'"
