"""What loads and stores of tensor regions share: lines, and the DRAM requests that a region takes."""

from __future__ import annotations

import numpy as np

from emulator.geometry import Region
from emulator.kernels import Longs
from emulator.recording import Entry
from isa.counts import Count
from isa.integers import ceil_div
from isa.jit import borrowing

_NO_LINES = np.empty(0, np.int64)


def room_for_lines(region: Region, chunk: int) -> Longs:
    """Room for the size of every line of a BITMAP region."""
    segments = (region.x + region.w - 1) // region.segment - region.x // region.segment + 1
    return np.empty(region.h * ceil_div(region.cn, chunk) * segments, np.int64)


@borrowing
def _pieces(region: Region, moved: Longs, chunk: int, line_bytes: int, pieces: Longs) -> int:
    """Addresses, from the start of the tensor, and sizes of what a region moves, in order; how many pieces there are.

    `pieces` [most, 2]. `moved` [lines]: bytes of each BITMAP line; empty for a RAW tensor. Pieces that follow one
    another without a gap become one.
    """
    _, tensor_w, tensor_c, segment, y, x, c, h, w, cn = region
    raw = moved.size == 0
    chunks, segments = (tensor_c + chunk - 1) // chunk, 1
    inner, outer = w, 1
    if not raw:
        segments = (tensor_w + segment - 1) // segment
        inner, outer = (x + w - 1) // segment - x // segment + 1, (cn + chunk - 1) // chunk
    found = 0
    index = 0
    for row in range(y, y + h):
        for j in range(outer):
            for i in range(inner):
                if raw:
                    address, size = (row * tensor_w + x + i) * tensor_c + c, cn
                else:
                    line = (row * chunks + c // chunk + j) * segments + x // segment + i
                    address, size = line * line_bytes, moved[index]
                    index += 1
                if found and pieces[found - 1, 0] + pieces[found - 1, 1] == address:
                    pieces[found - 1, 1] += size
                else:
                    pieces[found, 0], pieces[found, 1] = address, size
                    found += 1
    return found


def record_region(entry: Entry, region: Region, dram: int, moved: Longs | None, line_bytes: int, count: Count) -> int:
    """Record the DRAM requests of a region of the tensor at an address of DRAM; bytes moved.

    `moved`: bytes of each BITMAP line, None for a RAW tensor; `line_bytes`: the slot of a line.
    """
    most = region.h * region.w if moved is None else moved.size
    pieces = np.empty((most, 2), np.int64)
    lines = _NO_LINES if moved is None else moved
    pieces = pieces[: _pieces(region, lines, entry.target.array.chunk, line_bytes, pieces)]
    pieces[:, 0] += dram
    entry.request_all(count, pieces)
    return region.h * region.w * region.cn if moved is None else int(moved.sum())
