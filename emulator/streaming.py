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
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from emulator.geometry import Window
from isa.jit import jit

Longs: TypeAlias = NDArray[np.int64]
Bitmaps: TypeAlias = NDArray[np.uint64]
Records: TypeAlias = NDArray[np.void]


class Streamed(IntEnum):
    """What `stream` counts. The waiting times and `WORK` are slice-cycles."""

    MATCHES = 0  # activations added
    WORK = 1  # accumulators adding
    BROADCAST = 2  # waiting for the bus to send the position
    FIFO = 3  # waiting while the bus is held up by the full FIFO of some block
    MAC = 4  # waiting because the MAC rows are busy and the intermediate FIFO is full
    ADDER_TREE = 5  # waiting because the adder tree waits for a slower slice and the intermediate FIFO is full
    POSITIONS = 6  # positions broadcast, over all row groups


class Streams(NamedTuple):
    """The array as an instruction divides it, and the depths of its FIFOs."""

    groups: int
    blocks: int
    slices: int
    macs: int
    lanes: int
    fifo_depth: int
    ic_depth: int
    broadcast: int  # cycles in which the bus sends a position


class _Schedule(NamedTuple):
    """How output channels and bases are dealt to the blocks of a row group."""

    together: int  # output channels that a block takes at a time
    slots: int  # output channels that the group takes at a time
    passes: int
    rounds: int
    slices: int  # bases that a block takes at a time
    active: int  # blocks that have work


# State of the blocks of a row group; times in cycles. Beside it stands `slice_end` [blocks, slices]: when each
# accumulator has finished its last item.
_BLOCK = np.dtype(
    [
        ("mac_end", np.int64),  # when the MAC rows have finished their last item
        ("items", np.int64),  # items so far
        ("done", np.int64),  # when the accumulators are through with the position
    ]
)
_RING = np.dtype(  # [blocks, ic_depth]: the last items
    [
        ("mac_start", np.int64),  # when the MAC rows began the item
        ("late", np.int64),  # 1 if it had to wait for a slice, 0 if for the MAC rows
    ]
)


class _Sent(NamedTuple):
    """A position on the bus."""

    end: int  # when it is sent
    before: int  # when the position before it was sent
    room: int  # when every block had room for it
    mac_cycles: int  # cycles of the MAC rows for an item of the position


@jit
def _popcount(x: np.uint64) -> int:
    x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return int((x * np.uint64(0x0101010101010101)) >> np.uint64(56))


@jit
def _coverage(windows: Longs, first: int, end: int, stride: int, pad: int, kernel: int) -> None:
    """How many taps of outputs [first, end) read each row (or column) of a tile."""
    windows[:] = 0
    for output in range(first, end):
        start = output * stride - pad
        for i in range(max(0, start), min(windows.size, start + kernel)):
            windows[i] += 1


@jit
def _costs(bits: Bitmaps, coef: Bitmaps, position: int, lanes: int, costs: Longs) -> int:
    """Cycles `costs` [kn, v] of an accumulator for a position; returns the activations added."""
    kn, v, chunks = coef.shape
    total = 0
    for k in range(kn):
        for basis in range(v):
            cost = 0
            for c in range(chunks):
                mask = coef[k, basis, c]
                if mask:
                    matches = _popcount(mask & bits[position, c])
                    total += matches
                    cost += max(1, (matches + lanes - 1) // lanes)
            costs[k, basis] = cost
    return total


@jit
def _work_off(
    sent: _Sent, schedule: _Schedule, costs: Longs, slice_end: Longs, blocks: Records, ring: Records, counts: Longs
) -> None:
    """All blocks take a position, each its items in order; sets when they are through with it."""
    kn, bases = costs.shape
    work = broadcast = fifo = mac = tree = 0
    for b in range(schedule.active):
        items, mac_end, done = blocks[b]["items"], blocks[b]["mac_end"], 0
        for i in range(schedule.passes):
            first = i * schedule.slots + b * schedule.together
            for t in range(schedule.rounds if first < kn else 0):
                basis = t * schedule.slices
                item = ring[b, items % ring.shape[1]]
                limit, late = item["mac_start"], item["late"]
                ready = z = 0
                for k in range(first, min(first + schedule.together, kn)):
                    for v in range(basis, min(basis + schedule.slices, bases)):
                        before = slice_end[b, z]
                        start = before
                        if start < sent.end:
                            held = max(0, sent.room - max(before, sent.before))
                            fifo += held
                            broadcast += sent.end - before - held
                            start = sent.end
                        if start < limit:
                            tree += (limit - start) * late
                            mac += (limit - start) * (1 - late)
                            start = limit
                        work += costs[k, v]
                        slice_end[b, z] = start + costs[k, v]
                        ready = max(ready, start + costs[k, v])
                        z += 1
                done = max(done, ready)
                item["late"] = 1 if ready > mac_end else 0
                item["mac_start"] = max(ready, mac_end)
                mac_end = max(ready, mac_end) + sent.mac_cycles
                items += 1
        blocks[b]["items"], blocks[b]["mac_end"], blocks[b]["done"] = items, mac_end, done
    counts[Streamed.WORK] += work
    counts[Streamed.BROADCAST] += broadcast
    counts[Streamed.FIFO] += fifo
    counts[Streamed.MAC] += mac
    counts[Streamed.ADDER_TREE] += tree


@jit
def _group(
    rows: Longs, columns: Longs, schedule: _Schedule, array: Streams, bits: Bitmaps, coef: Bitmaps, counts: Longs
) -> int:
    """Stream the positions that a row group needs; cycles of its slowest block."""
    blocks = np.zeros(schedule.active, _BLOCK)
    ring = np.zeros((schedule.active, array.ic_depth), _RING)
    slice_end = np.zeros((schedule.active, array.slices), np.int64)
    released = np.zeros((schedule.active, array.fifo_depth), np.int64)  # when a block was through with a position
    costs = np.zeros(coef.shape[:2], np.int64)
    bus_end = streamed = 0
    for p in range(rows.size * columns.size):
        taps = rows[p // columns.size] * columns[p % columns.size]
        if taps == 0:
            continue
        counts[Streamed.MATCHES] += _costs(bits, coef, p, array.lanes, costs)
        slot = streamed % array.fifo_depth
        room = released[:, slot].max()
        end = max(bus_end, room) + array.broadcast
        sent = _Sent(end, bus_end, room, (taps + array.macs - 1) // array.macs)
        bus_end = end
        _work_off(sent, schedule, costs, slice_end, blocks, ring, counts)
        released[:, slot] = blocks["done"]
        streamed += 1
    counts[Streamed.POSITIONS] += streamed
    return int(blocks["mac_end"].max())


@jit
def stream(bits: Bitmaps, coef: Bitmaps, window: Window, array: Streams, counts: Longs) -> int:
    """Cycles of the slowest row group. `bits` [ih*iw, chunks], `coef` [kn, v, chunks]; adds to `counts`."""
    kn, v, _ = coef.shape
    blocks = array.blocks // array.groups
    together = max(1, array.slices // v)
    slots = blocks * together
    passes, rounds = (kn + slots - 1) // slots, (v + array.slices - 1) // array.slices
    schedule = _Schedule(together, slots, passes, rounds, array.slices, min(blocks, (kn + together - 1) // together))
    columns = np.zeros(window.iw, np.int64)
    _coverage(columns, 0, window.ow, window.sx, window.pl, window.s)
    rows = np.zeros(window.ih, np.int64)
    group_rows = (window.oh + array.groups - 1) // array.groups
    slowest = 0
    for group in range(array.groups):
        end = min(window.oh, (group + 1) * group_rows)
        _coverage(rows, group * group_rows, end, window.sy, window.pt, window.r)
        slowest = max(slowest, _group(rows, columns, schedule, array, bits, coef, counts))
    return slowest
