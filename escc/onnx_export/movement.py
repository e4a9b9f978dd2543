"""One axis of a data movement as padding with zeros and a slice."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Movement:
    """`before` and `after` zeros around an axis, of which [start:stop:step] is taken."""

    before: int
    after: int
    start: int
    stop: int
    step: int
    whole: bool
    """Whether the slice takes everything."""


def pad_and_slice(size: int, out: int, offset: int, step: int) -> Movement:
    """The movement out[i] = in[i * step + offset], 0 outside of in[0:size], for i in [0, out)."""
    last = (out - 1) * step + offset
    before, after = max(0, -offset), max(0, last + 1 - size)
    start, stop = offset + before, last + before + 1
    return Movement(before, after, start, stop, step, (start, stop, step) == (0, before + size + after, 1))
