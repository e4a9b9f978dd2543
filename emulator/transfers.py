"""What loads and stores of tensor regions share: lines, and the DRAM requests that a region takes."""

from __future__ import annotations

import numpy as np

from emulator.geometry import Region
from emulator.kernels import Longs
from emulator.recording import Entry
from isa.counts import Count
from isa.field_groups import bitmap_layout
from isa.integers import Values, ceil_div


def room_for_lines(region: Region, chunk: int) -> Longs:
    """Room for the size of every line of a BITMAP region."""
    segments = (region.x + region.w - 1) // region.segment - region.x // region.segment + 1
    return np.empty(region.h * ceil_div(region.cn, chunk) * segments, np.int64)


def record_region(entry: Entry, v: Values, moved: Longs | None, count: Count) -> int:
    """Record the DRAM requests of a region; bytes moved. `moved`: bytes of each BITMAP line, None for a RAW tensor."""
    chunk = entry.target.array.chunk
    rows = _span(v["y"], v["h"])
    if moved is None:
        addresses: Longs = (rows[:, None] * v["tensor_w"] + _span(v["x"], v["w"])) * v["tensor_c"] + v["c"]
        sizes = np.full(addresses.shape, v["cn"], np.int64)
    else:
        layout = bitmap_layout(v, chunk)
        first, end = v["x"] // layout.segment, (v["x"] + v["w"] - 1) // layout.segment + 1
        chunks, segments = _span(v["c"] // chunk, ceil_div(v["cn"], chunk)), _span(first, end - first)
        lines: Longs = (rows[:, None] * layout.records.chunks + chunks)[:, :, None] * layout.segments + segments
        addresses, sizes = lines * layout.line_bytes, moved
    entry.request_all(count, v["dram"] + addresses.reshape(-1), sizes.reshape(-1))
    return int(sizes.sum())


def _span(first: int, count: int) -> Longs:
    return np.arange(first, first + count, dtype=np.int64)
