"""Cycle model of conv.esc: positions stream past the blocks, their FIFOs, register sets, slices and the adder tree.

Time is counted from the moment the first position may be broadcast: the coefficients of the first step have been
expanded by then. Per row group (docs/performance.md, "conv.esc"):

- A *step* is a pass (output channels, some for each block) and a round (bases, one for each working slice) within it.
  In every step all needed positions stream past the blocks, in row-major order.
- A block has two sets of coefficient registers. A set takes the coefficients of the next step once the block is through
  with the step before the present one and the other set is full: a chunk of an (output channel, basis) in
  ceil(non-zeros / expand_rate) cycles, none if it is empty. COEF feeds the blocks one after the other, each output
  channel in ceil(coded bits / its share of `expand_bytes`) cycles; a round counts its share of the bits.
- The bus sends a position in `broadcast` cycles, once every block has room for it in its FIFO of `fifo_depth`
  positions. A block releases a position when its accumulators have finished its item. Blocks without work in a step
  let its positions pass.
- An item is a (step, position) of a block. Every slice combines one (output channel, basis), in
  max(1, ceil(matches / ca_lanes)) cycles, none if the basis has no coefficient.
- MAC rows of a block take an item together, once the slowest slice has finished it (adder tree): `macs` of its taps a
  cycle. Multipliers that an item leaves free in its last cycle take the first taps of the next one, if that is there
  and of the same step. Taps are the window taps in which the position takes part and which are not zero in the basis,
  of the basis of the round that has most. An accumulator may be `ic_fifo_depth` items ahead of them.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from emulator.geometry import Window
from isa.jit import borrowing, jit

Longs: TypeAlias = NDArray[np.int64]
Bitmaps: TypeAlias = NDArray[np.uint64]
Records: TypeAlias = NDArray[np.void]
Flags: TypeAlias = NDArray[np.bool_]


class Streamed(IntEnum):
    """What `stream` counts. The waiting times and `WORK` are slice-cycles."""

    MATCHES = 0  # activations added
    WORK = 1  # accumulators adding
    BROADCAST = 2  # waiting for the bus to send the position
    FIFO = 3  # waiting while the bus is held up by the full FIFO of some block
    EXPANSION = 4  # waiting for the coefficients of the step
    MAC = 5  # waiting because the MAC rows are busy and the intermediate FIFO is full
    ADDER_TREE = 6  # waiting because the adder tree waits for a slower slice and the intermediate FIFO is full
    PRODUCTS = 7  # products of the MAC rows
    SUMS = 8  # partial sums that products are added to
    BROADCAST_BYTES = 9  # bitmap and non-zero bytes sent, over all row groups
    TAKEN_BYTES = 10  # the same, counted for each block that works on them
    WORDS_WRITTEN = 11  # chunks with coefficients, written to registers
    WORDS_READ = 12  # and read from them
    POSITIONS = 13  # positions sent, over all row groups


class Streams(NamedTuple):
    """The array as an instruction divides it, and the depths of its FIFOs."""

    groups: int
    blocks: int
    slices: int  # that work at a time
    macs: int
    lanes: int
    fifo_depth: int  # positions
    ic_depth: int
    broadcast: int  # cycles in which the bus sends a position
    expand_rate: int
    expand_bytes: int
    bitmap_bytes: int


class Coefficients(NamedTuple):
    """Coefficients and bases of an instruction."""

    bits: Bitmaps  # [kn, v, chunks]: those that are not zero
    sizes: Longs  # [kn]: coded bits
    basis: Flags  # [v, r, s]: taps that are not zero


class Streaming(NamedTuple):
    """Cycles of an instruction, of its slowest row group."""

    expansion: int  # in which the blocks expand the coefficients of the first step, before all else
    cycles: int  # in which positions are sent and worked off
    released: int  # the last of them, in which a register set is free and COEF feeds no block


class _Schedule(NamedTuple):
    """How output channels and bases are dealt to the blocks of a row group."""

    together: int  # output channels that a block takes at a time
    slots: int  # output channels that the group takes at a time
    passes: int
    rounds: int
    active: int  # blocks that have work


class _Step(NamedTuple):
    """What the blocks of a row group work on at a time."""

    channel: int  # first output channel of the first block
    first: int  # first basis
    end: int  # the basis after the last one


# State of the blocks of a row group; times in cycles. Beside it stands `slice_end` [blocks, slices]: when each
# accumulator has finished its last item.
_BLOCK = np.dtype(
    [
        ("expanded", np.int64),  # when the registers of the present step were full
        ("free", np.int64),  # when the accumulators were through with the step before it
        ("products", np.int64),  # when the MAC rows have finished their last item: cycles times the `macs` of a row
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

    position: int
    end: int  # when it is sent
    before: int  # when the position before it was sent
    room: int  # when every block had room for it
    taps: int  # products that a MAC row computes for an item of the position


@borrowing
def _popcount(x: np.uint64) -> int:
    x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return int((x * np.uint64(0x0101010101010101)) >> np.uint64(56))


@borrowing
def _coverage(covers: Flags, first: int, end: int, stride: int, pad: int) -> None:
    """`covers` [size, kernel]: the taps of a kernel that read a row (or column) of a tile for outputs [first, end)."""
    size, kernel = covers.shape
    covers[:] = False
    for output in range(first, end):
        start = output * stride - pad
        for i in range(max(0, -start), min(kernel, size - start)):
            covers[start + i, i] = True


@borrowing
def _taps(rows: Flags, columns: Flags, step: _Step, basis: Flags, channels: int, counts: Longs) -> int:
    """Taps of the bases of a step in which the position of these rows and columns takes part: the most of a basis.

    Counts the products and sums that they make for `channels` output channels.
    """
    most = products = sums = 0
    for v in range(step.first, step.end):
        taps = 0
        for i in range(rows.size):
            if rows[i]:
                for j in range(columns.size):
                    if columns[j] and basis[v, i, j]:
                        taps += 1
        most = max(most, taps)
        products += taps
    for i in range(rows.size):
        for j in range(columns.size):
            if rows[i] and columns[j]:
                some = False
                for v in range(step.first, step.end):
                    some |= basis[v, i, j]
                sums += some
    counts[Streamed.PRODUCTS] += products * channels
    counts[Streamed.SUMS] += sums * channels
    return most


@borrowing
def _expand(
    step: _Step, share: tuple[int, int], schedule: _Schedule, array: Streams, t: Coefficients, fed: int,
    blocks: Records, counts: Longs,
) -> int:  # fmt: skip
    """Fill the registers of all blocks for a step, which is the round `share[0]` of `share[1]`.

    `fed`: when COEF has fed the step before. Returns when it has fed this one.
    """
    kn, _, chunks = t.bits.shape
    words = 0
    for b in range(schedule.active):
        first = step.channel + b * schedule.together
        if first >= kn:
            break
        begin = max(blocks[b]["free"], blocks[b]["expanded"])
        feed = cycles = 0
        for k in range(first, min(first + schedule.together, kn)):
            nbits = t.sizes[k] * (share[0] + 1) // share[1] - t.sizes[k] * share[0] // share[1]
            feed += (nbits * array.groups + 8 * array.expand_bytes - 1) // (8 * array.expand_bytes)
            for v in range(step.first, step.end):
                for c in range(chunks):
                    if t.bits[k, v, c]:
                        cycles += (_popcount(t.bits[k, v, c]) + array.expand_rate - 1) // array.expand_rate
                        words += 1
        fed = max(fed, begin) + feed
        blocks[b]["expanded"] = max(fed, fed - feed + cycles)
    counts[Streamed.WORDS_WRITTEN] += words
    return fed


@borrowing
def _work_off(
    sent: _Sent, step: _Step, schedule: _Schedule, array: Streams, bits: Bitmaps, coef: Bitmaps, slice_end: Longs,
    blocks: Records, ring: Records, counts: Longs,
) -> None:  # fmt: skip
    """All blocks take a position, an item each; sets when they are through with it."""
    kn, _, chunks = coef.shape
    matches = words = work = broadcast = fifo = expansion = mac = tree = 0
    for b in range(schedule.active):
        first = step.channel + b * schedule.together
        if first >= kn:
            blocks[b]["done"] = 0
            continue
        item = ring[b, blocks[b]["items"] % ring.shape[1]]
        limit, late, expanded = item["mac_start"], item["late"], blocks[b]["expanded"]
        ready = z = 0
        for k in range(first, min(first + schedule.together, kn)):
            for v in range(step.first, step.end):
                some = found = 0
                for c in range(chunks):
                    mask = coef[k, v, c]
                    if mask:
                        some += 1
                        found += _popcount(mask & bits[sent.position, c])
                cost = max(1, (found + array.lanes - 1) // array.lanes) if some else 0
                words += some
                matches += found
                before = slice_end[b, z]
                start = before
                if start < sent.end:
                    held = max(0, sent.room - max(before, sent.before))
                    fifo += held
                    broadcast += sent.end - before - held
                    start = sent.end
                if start < expanded:
                    expansion += expanded - start
                    start = expanded
                if start < limit:
                    tree += (limit - start) * late
                    mac += (limit - start) * (1 - late)
                    start = limit
                work += cost
                slice_end[b, z] = start + cost
                ready = max(ready, start + cost)
                z += 1
        blocks[b]["done"] = ready
        first_product = max(ready * array.macs, blocks[b]["products"])
        item["late"] = 1 if first_product > blocks[b]["products"] else 0
        item["mac_start"] = first_product // array.macs
        blocks[b]["products"] = first_product + sent.taps
        blocks[b]["items"] += 1
    counts[Streamed.MATCHES] += matches
    counts[Streamed.WORDS_READ] += words
    counts[Streamed.WORK] += work
    counts[Streamed.BROADCAST] += broadcast
    counts[Streamed.FIFO] += fifo
    counts[Streamed.EXPANSION] += expansion
    counts[Streamed.MAC] += mac
    counts[Streamed.ADDER_TREE] += tree


@jit
def _needed(rows: Flags, columns: Flags) -> Longs:
    """The positions of a tile that some output covers, row-major."""
    found = [0 for _ in range(0)]
    for y in range(rows.shape[0]):
        for x in range(columns.shape[0]):
            if rows[y].any() and columns[x].any():
                found.append(y * columns.shape[0] + x)
    return np.array(found, np.int64)


@jit
def _group(
    rows: Flags, columns: Flags, schedule: _Schedule, array: Streams, bits: Bitmaps, t: Coefficients, counts: Longs
) -> Streaming:
    """Stream the positions that a row group needs, once in each step."""
    kn, bases, _ = t.bits.shape
    blocks = np.zeros(schedule.active, _BLOCK)
    ring = np.zeros((schedule.active, array.ic_depth), _RING)
    slice_end = np.zeros((schedule.active, array.slices), np.int64)
    released = np.zeros((schedule.active, array.fifo_depth), np.int64)  # when a block was through with a position
    needed = _needed(rows, columns)
    if needed.size == 0:
        return Streaming(0, 0, 0)
    nbytes = 0
    for p in needed:
        for c in range(bits.shape[1]):
            nbytes += array.bitmap_bytes + _popcount(bits[p, c])
    bus_end = streamed = fed = expansion = 0
    for n in range(schedule.passes * schedule.rounds):
        i, round_ = n // schedule.rounds, n % schedule.rounds
        step = _Step(i * schedule.slots, round_ * array.slices, min((round_ + 1) * array.slices, bases))
        channels = min(schedule.slots, kn - step.channel)
        fed = _expand(step, (round_, schedule.rounds), schedule, array, t, fed, blocks, counts)
        if n == 0:  # time begins when all registers are full
            expansion, fed = blocks["expanded"].max(), 0
            blocks["expanded"][:] = 0
        blocks["free"][:] = blocks["done"]
        blocks["products"][:] = (blocks["products"] + array.macs - 1) // array.macs * array.macs
        for p in needed:
            y, x = p // columns.shape[0], p % columns.shape[0]
            taps = _taps(rows[y], columns[x], step, t.basis, channels, counts)
            slot = streamed % array.fifo_depth
            room = released[:, slot].max()
            end = max(bus_end, room) + array.broadcast
            sent = _Sent(p, end, bus_end, room, taps)
            bus_end = end
            _work_off(sent, step, schedule, array, bits, t.bits, slice_end, blocks, ring, counts)
            released[:, slot] = blocks["done"]
            streamed += 1
        counts[Streamed.POSITIONS] += needed.size
        counts[Streamed.BROADCAST_BYTES] += nbytes
        counts[Streamed.TAKEN_BYTES] += nbytes * ((channels + schedule.together - 1) // schedule.together)
    cycles = (blocks["products"].max() + array.macs - 1) // array.macs
    busy = max(fed, blocks["free"].max(), blocks["expanded"].max())
    return Streaming(expansion, cycles, max(0, cycles - busy))


@jit
def stream(bits: Bitmaps, t: Coefficients, window: Window, array: Streams, counts: Longs) -> Streaming:
    """Cycles of an instruction. `bits` [ih*iw, chunks] are those of the activations; adds to `counts`."""
    kn, v, _ = t.bits.shape
    blocks = array.blocks // array.groups
    together = max(1, array.slices // v)
    slots = blocks * together
    passes, rounds = (kn + slots - 1) // slots, (v + array.slices - 1) // array.slices
    schedule = _Schedule(together, slots, passes, rounds, min(blocks, (kn + together - 1) // together))
    columns = np.zeros((window.iw, window.s), np.bool_)
    _coverage(columns, 0, window.ow, window.sx, window.pl)
    rows = np.zeros((window.ih, window.r), np.bool_)
    group_rows = (window.oh + array.groups - 1) // array.groups
    expansion = cycles = busy = 0
    for group in range(array.groups):
        end = min(window.oh, (group + 1) * group_rows)
        _coverage(rows, group * group_rows, end, window.sy, window.pt)
        found = _group(rows, columns, schedule, array, bits, t, counts)
        expansion, cycles = max(expansion, found.expansion), max(cycles, found.cycles)
        busy = max(busy, found.cycles - found.released)
    return Streaming(expansion, cycles, cycles - busy)
