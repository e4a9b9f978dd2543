"""Smaller inputs with the same finding."""

from __future__ import annotations

from collections.abc import Callable

_TRIALS = 80


def smaller(data: bytes, still: Callable[[bytes], bool]) -> bytes:
    """`data` without parts that `still` does not need: lines of text, or runs of bytes; a bounded number of trials."""
    try:
        data.decode()
        parts = data.splitlines(keepends=True)
    except UnicodeDecodeError:
        parts = [data[i : i + 16] for i in range(0, len(data), 16)]
    if len(parts) < 2:
        parts = [data[i : i + 16] for i in range(0, len(data), 16)]
    trials = 0
    step = len(parts) // 2
    while step and trials < _TRIALS:
        at, removed = 0, False
        while at < len(parts) and trials < _TRIALS:
            rest = parts[:at] + parts[at + step :]
            trials += 1
            if still(b"".join(rest)):
                parts, removed = rest, True
            else:
                at += step
        if not removed or step > len(parts):
            step //= 2
    return b"".join(parts)
