"""Cycle model of conv.esc: positions stream past the blocks, block FIFOs, slices and the adder tree.

Time is counted from the moment the first position may be broadcast. Per row group (docs/performance.md, "conv.esc"):

- The bus sends needed positions in row-major order, each for `broadcast` cycles, once every block has room for it in
  its FIFO of `fifo_depth` positions. A block releases a position when its accumulators have finished all its items.
- Items of a block, for one position: (pass, round) in order. In an item every slice combines one (output channel,
  basis): for each chunk with a non-empty coefficient bitmap max(1, ceil(matches / ca_lanes)) cycles.
- MAC rows of a block take an item together, when the slowest slice has finished it (adder tree), for
  ceil(taps / macs) cycles, taps being the window taps in which the position takes part. An accumulator may be
  `ic_fifo_depth` items ahead of them.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from emulator.jit import jit

Longs: TypeAlias = NDArray[np.int64]
Bitmaps: TypeAlias = NDArray[np.uint64]


class Streamed(IntEnum):
    """What `stream` counts. The waiting times and `WORK` are slice-cycles."""

    TAPS = 0  # window taps, summed over streamed positions
    MATCHES = 1  # activations added
    WORK = 2  # accumulators adding
    BROADCAST = 3  # waiting for the bus to send the position
    FIFO = 4  # waiting while the bus is held up by the full FIFO of some block
    MAC = 5  # waiting because the MAC rows are busy and the intermediate FIFO is full
    ADDER_TREE = 6  # waiting because the adder tree waits for a slower slice and the intermediate FIFO is full
    POSITIONS = 7  # positions broadcast, over all row groups
    ACT_BYTES = 8  # bitmap and value bytes broadcast


@jit
def _popcount(x: np.uint64) -> int:
    x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return int((x * np.uint64(0x0101010101010101)) >> np.uint64(56))


@jit
def stream(
    bits: Bitmaps,
    coef: Bitmaps,
    ih: int,
    iw: int,
    r: int,
    s: int,
    sy: int,
    sx: int,
    pt: int,
    pl: int,
    oh: int,
    ow: int,
    groups: int,
    blocks: int,
    slices: int,
    macs: int,
    lanes: int,
    fifo_depth: int,
    ic_depth: int,
    broadcast: int,
    bitmap_bytes: int,
    counts: Longs,
) -> int:
    """Cycles of the slowest row group. `bits` [ih*iw, chunks], `coef` [kn, v, chunks]; adds to `counts`."""
    kn, v, chunks = coef.shape
    group_blocks = blocks // groups
    group_rows = (oh + groups - 1) // groups
    together = max(1, slices // v)
    slots = group_blocks * together
    passes = (kn + slots - 1) // slots
    rounds = (v + slices - 1) // slices

    columns = np.zeros(iw, np.int64)
    for x in range(ow):
        for j in range(max(0, pl - x * sx), min(s, iw + pl - x * sx)):
            columns[x * sx - pl + j] += 1
    rows = np.zeros(ih, np.int64)
    ca_end = np.zeros((group_blocks, slices), np.int64)
    mac_end = np.zeros(group_blocks, np.int64)
    mac_start = np.zeros((group_blocks, ic_depth), np.int64)
    mac_late = np.zeros((group_blocks, ic_depth), np.int64)  # 1: the item waited for a slice, 0: for the MAC rows
    item_count = np.zeros(group_blocks, np.int64)
    released = np.zeros((group_blocks, fifo_depth), np.int64)
    active = min(group_blocks, (kn + together - 1) // together)
    slowest = 0

    for group in range(groups):
        rows[:] = 0
        for y in range(group * group_rows, min(oh, (group + 1) * group_rows)):
            for i in range(max(0, pt - y * sy), min(r, ih + pt - y * sy)):
                rows[y * sy - pt + i] += 1
        ca_end[:] = 0
        mac_end[:] = 0
        mac_start[:] = 0
        item_count[:] = 0
        released[:] = 0
        bus_end = 0
        streamed = 0
        for p in range(ih * iw):
            taps = rows[p // iw] * columns[p % iw]
            if taps == 0:
                continue
            mac_cycles = (taps + macs - 1) // macs
            counts[0] += taps
            for c in range(chunks):
                counts[8] += bitmap_bytes + _popcount(bits[p, c])
            room = 0
            for b in range(active):
                room = max(room, released[b, streamed % fifo_depth])
            bus_before = bus_end
            bus_end = max(bus_end, room) + broadcast
            for b in range(active):
                done = 0
                for i in range(passes):
                    first = i * slots + b * together
                    if first >= kn:
                        break
                    count = min(together, kn - first)
                    for t in range(rounds):
                        width = min(v - t * slices, slices) if rounds > 1 else v
                        ring = item_count[b] % ic_depth
                        limit = mac_start[b, ring]
                        late = mac_late[b, ring]
                        ready = 0
                        for z in range(count * width):
                            k = first + z // width
                            basis = t * slices + z % width
                            cost = 0
                            for c in range(chunks):
                                mask = coef[k, basis, c]
                                if mask:
                                    matches = _popcount(mask & bits[p, c])
                                    counts[1] += matches
                                    cost += max(1, (matches + lanes - 1) // lanes)
                            before = ca_end[b, z]
                            start = before
                            if start < bus_end:
                                held = max(0, room - max(before, bus_before))
                                counts[4] += held
                                counts[3] += bus_end - before - held
                                start = bus_end
                            if start < limit:
                                if late:
                                    counts[6] += limit - start
                                else:
                                    counts[5] += limit - start
                                start = limit
                            counts[2] += cost
                            ca_end[b, z] = start + cost
                            ready = max(ready, start + cost)
                        done = max(done, ready)
                        mac_late[b, ring] = 1 if ready > mac_end[b] else 0
                        begin = max(ready, mac_end[b])
                        mac_start[b, ring] = begin
                        mac_end[b] = begin + mac_cycles
                        item_count[b] += 1
                released[b, streamed % fifo_depth] = done
            streamed += 1
        counts[7] += streamed
        for b in range(active):
            slowest = max(slowest, mac_end[b])
    return slowest
