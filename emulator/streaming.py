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


class Streamed(IntEnum):
    """What `stream` counts. The waiting times and `WORK` are slice-cycles."""

    MATCHES = 0  # activations added
    WORK = 1  # accumulators adding
    BROADCAST = 2  # waiting for the bus to send the position
    FIFO = 3  # waiting while the bus is held up by the full FIFO of some block
    MAC = 4  # waiting because the MAC rows are busy and the intermediate FIFO is full
    ADDER_TREE = 5  # waiting because the adder tree waits for a slower slice and the intermediate FIFO is full
    POSITIONS = 6  # positions broadcast, over all row groups
    ACT_BYTES = 7  # bitmap and value bytes broadcast


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
    bitmap_bytes: int


class _Schedule(NamedTuple):
    """How output channels and bases are dealt to the blocks of a row group."""

    together: int  # output channels that a block takes at a time
    slots: int  # output channels that the group takes at a time
    passes: int
    rounds: int
    active: int  # blocks that have work


class _Blocks(NamedTuple):
    """State of the blocks of a row group; times in cycles."""

    slice_end: Longs  # [blocks, slices]: when an accumulator has finished its last item
    mac_end: Longs  # [blocks]: when the MAC rows have finished their last item
    mac_start: Longs  # [blocks, ic_depth]: when they began each of the last items
    mac_late: Longs  # [blocks, ic_depth]: 1 if such an item waited for a slice, 0 if for the MAC rows
    items: Longs  # [blocks]: items so far
    released: Longs  # [blocks, fifo_depth]: when the block was through with each of the last positions


class _Sent(NamedTuple):
    """A position on the bus."""

    position: int
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
def _combine(state: _Blocks, b: int, z: int, cost: int, limit: int, late: int, sent: _Sent, counts: Longs) -> int:
    """A slice of block b takes a position that costs it some cycles; when it has finished."""
    before = state.slice_end[b, z]
    start = before
    if start < sent.end:
        held = max(0, sent.room - max(before, sent.before))
        counts[Streamed.FIFO] += held
        counts[Streamed.BROADCAST] += sent.end - before - held
        start = sent.end
    if start < limit:
        counts[Streamed.ADDER_TREE if late else Streamed.MAC] += limit - start
        start = limit
    counts[Streamed.WORK] += cost
    state.slice_end[b, z] = start + cost
    return int(start + cost)


@jit
def _item(
    state: _Blocks,
    b: int,
    channels: tuple[int, int],
    bases: tuple[int, int],
    bits: Bitmaps,
    coef: Bitmaps,
    lanes: int,
    sent: _Sent,
    counts: Longs,
) -> int:
    """An item of block b: output channels and bases (first, count) at a position; when its last slice has finished."""
    first, count = channels
    basis, width = bases
    ring = state.items[b] % state.mac_start.shape[1]
    limit = state.mac_start[b, ring]
    late = state.mac_late[b, ring]
    ready = 0
    for z in range(count * width):
        cost = 0
        for c in range(coef.shape[2]):
            mask = coef[first + z // width, basis + z % width, c]
            if mask:
                matches = _popcount(mask & bits[sent.position, c])
                counts[Streamed.MATCHES] += matches
                cost += max(1, (matches + lanes - 1) // lanes)
        ready = max(ready, _combine(state, b, z, cost, limit, late, sent, counts))
    state.mac_late[b, ring] = 1 if ready > state.mac_end[b] else 0
    begin = max(ready, state.mac_end[b])
    state.mac_start[b, ring] = begin
    state.mac_end[b] = begin + sent.mac_cycles
    state.items[b] += 1
    return ready


@jit
def _position(
    state: _Blocks,
    b: int,
    schedule: _Schedule,
    bits: Bitmaps,
    coef: Bitmaps,
    array: Streams,
    sent: _Sent,
    counts: Longs,
) -> int:
    """All items of block b for a position; when its accumulators are through with it."""
    kn, v, _ = coef.shape
    done = 0
    for i in range(schedule.passes):
        first = i * schedule.slots + b * schedule.together
        if first >= kn:
            break
        channels = (first, min(schedule.together, kn - first))
        for t in range(schedule.rounds):
            bases = (t * array.slices, min(v - t * array.slices, array.slices) if schedule.rounds > 1 else v)
            done = max(done, _item(state, b, channels, bases, bits, coef, array.lanes, sent, counts))
    return done


@jit
def _group(
    rows: Longs,
    columns: Longs,
    schedule: _Schedule,
    bits: Bitmaps,
    coef: Bitmaps,
    array: Streams,
    state: _Blocks,
    counts: Longs,
) -> int:
    """Stream the positions that a row group needs; cycles of its slowest block."""
    bus_end = 0
    streamed = 0
    for p in range(rows.size * columns.size):
        taps = rows[p // columns.size] * columns[p % columns.size]
        if taps == 0:
            continue
        for c in range(bits.shape[1]):
            counts[Streamed.ACT_BYTES] += array.bitmap_bytes + _popcount(bits[p, c])
        slot = streamed % array.fifo_depth
        room = 0
        for b in range(schedule.active):
            room = max(room, state.released[b, slot])
        end = max(bus_end, room) + array.broadcast
        sent = _Sent(p, end, bus_end, room, (taps + array.macs - 1) // array.macs)
        bus_end = end
        for b in range(schedule.active):
            state.released[b, slot] = _position(state, b, schedule, bits, coef, array, sent, counts)
        streamed += 1
    counts[Streamed.POSITIONS] += streamed
    slowest = 0
    for b in range(schedule.active):
        slowest = max(slowest, state.mac_end[b])
    return slowest


@jit
def stream(bits: Bitmaps, coef: Bitmaps, window: Window, array: Streams, counts: Longs) -> int:
    """Cycles of the slowest row group. `bits` [ih*iw, chunks], `coef` [kn, v, chunks]; adds to `counts`."""
    kn, v, _ = coef.shape
    blocks = array.blocks // array.groups
    together = max(1, array.slices // v)
    slots = blocks * together
    active = min(blocks, (kn + together - 1) // together)
    schedule = _Schedule(together, slots, (kn + slots - 1) // slots, (v + array.slices - 1) // array.slices, active)
    columns = np.zeros(window.iw, np.int64)
    _coverage(columns, 0, window.ow, window.sx, window.pl, window.s)
    rows = np.zeros(window.ih, np.int64)
    group_rows = (window.oh + array.groups - 1) // array.groups
    slowest = 0
    for group in range(array.groups):
        end = min(window.oh, (group + 1) * group_rows)
        _coverage(rows, group * group_rows, end, window.sy, window.pt, window.r)
        state = _Blocks(
            np.zeros((blocks, array.slices), np.int64),
            np.zeros(blocks, np.int64),
            np.zeros((blocks, array.ic_depth), np.int64),
            np.zeros((blocks, array.ic_depth), np.int64),
            np.zeros(blocks, np.int64),
            np.zeros((blocks, array.fifo_depth), np.int64),
        )
        slowest = max(slowest, _group(rows, columns, schedule, bits, coef, array, state, counts))
    return slowest
