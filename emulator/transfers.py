"""What loads and stores of tensor regions share: places, lines, and the DRAM requests that a region takes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from emulator.geometry import BEHIND_REGION_AND_TILE, Region, packed, region_in, region_of, tile_of
from emulator.kernels import Longs
from emulator.memories import Memories
from emulator.recording import Entry, touched_bytes
from isa.counts import Count
from isa.field_groups import bitmap_layout
from isa.formats import TensorFormat
from isa.integers import Values, ceil_div
from isa.jit import borrowing

_NO_LINES = np.empty(0, np.int64)
_NO_PIECES = np.empty((0, 2), np.int64)


class PlannedTransfer(NamedTuple):
    """What a transfer between a region of a tensor and a tile of ACT does, whatever the data.

    `numbers`: region, tile and form of the lines, packed; `lines`: BITMAP lines of the region, 0 if the tensor is RAW;
    `pieces`, `touched`: DRAM requests of a RAW tensor, which nobody changes, and the bytes of their bursts;
    `nbytes`: plain bytes of the region.
    """

    numbers: Longs
    arena_base: int
    lines: int
    pieces: Longs
    touched: int
    nbytes: int

    @property
    def raw(self) -> bool:
        """Whether plain bytes are moved."""
        return not self.lines

    def room(self) -> Longs:
        """Room for the size of every line of a BITMAP region."""
        return np.empty(self.lines, np.int64)


class Moved(NamedTuple):
    """A transfer that was made; of image 0, bytes of its BITMAP lines, none of a RAW tensor."""

    transfer: PlannedTransfer
    lines: Longs = _NO_LINES


def lines_of(region: Region, chunk: int) -> int:
    """Lines of a BITMAP region."""
    segments = (region.x + region.w - 1) // region.segment - region.x // region.segment + 1
    return region.h * ceil_div(region.cn, chunk) * segments


def transfer_of(m: Memories, v: Values) -> PlannedTransfer:
    """The transfer of the present instruction."""

    def make() -> tuple[PlannedTransfer, int]:
        region, tile = region_of(v, m.arena_base), tile_of(v, "act", "h", "w", "cn")
        raw = v["format"] == TensorFormat.RAW
        line_bytes = 0 if raw else bitmap_layout(v, m.chunk).line_bytes
        numbers = packed(region, tile, (m.chunk, line_bytes))
        pieces, touched = _NO_PIECES, 0
        if raw:
            room = np.empty((region.h * region.w, 2), np.int64)
            pieces = room[: _pieces(numbers, m.arena_base, _NO_LINES, room)].copy()
            pieces.flags.writeable = False
            touched = touched_bytes(pieces, m.target.dram.burst_bytes)
        lines = 0 if raw else lines_of(region, m.chunk)
        made = PlannedTransfer(numbers, m.arena_base, lines, pieces, touched, region.h * region.w * region.cn)
        return made, numbers.nbytes + pieces.nbytes

    return m.derived(make)


@borrowing
def _pieces(numbers: Longs, arena_base: int, moved: Longs, pieces: Longs) -> int:
    """DRAM addresses and sizes of what a region moves, in order; how many pieces there are.

    `pieces` [most, 2]. `numbers`: region, tile and form of the lines, packed. `moved` [lines]: bytes of each BITMAP
    line; empty for a RAW tensor. Pieces that follow one another without a gap become one.
    """
    tensor, tensor_w, tensor_c, segment, y, x, c, h, w, cn = region_in(numbers, 0)
    chunk, line_bytes = numbers[BEHIND_REGION_AND_TILE], numbers[BEHIND_REGION_AND_TILE + 1]
    start = arena_base + tensor
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
                    address, size = start + (row * tensor_w + x + i) * tensor_c + c, cn
                else:
                    line = (row * chunks + c // chunk + j) * segments + x // segment + i
                    address, size = start + line * line_bytes, moved[index]
                    index += 1
                if found and pieces[found - 1, 0] + pieces[found - 1, 1] == address:
                    pieces[found - 1, 1] += size
                else:
                    pieces[found, 0], pieces[found, 1] = address, size
                    found += 1
    return found


def record_transfer(entry: Entry, moved: Moved, count: Count) -> int:
    """Record the DRAM requests of a transfer; bytes moved."""
    transfer, lines = moved
    if transfer.raw:
        entry.request_all(count, transfer.pieces, transfer.touched)
        return transfer.nbytes
    room = np.empty((transfer.lines, 2), np.int64)
    pieces = room[: _pieces(transfer.numbers, transfer.arena_base, lines, room)]
    entry.request_all(count, pieces, touched_bytes(pieces, entry.target.dram.burst_bytes))
    return int(lines.sum())
