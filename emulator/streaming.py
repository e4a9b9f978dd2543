"""Cycle model of decomposed convolutions: positions stream past blocks, FIFOs, register sets, slices and adder tree.

Time is counted from the moment the first position may be broadcast: the coefficients of the first step have been
expanded by then. Per row group (docs/performance.md):

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

from emulator.geometry import BEHIND_WINDOW, window_in
from isa.jit import inner, jit, woven

Longs: TypeAlias = NDArray[np.int64]
Bitmaps: TypeAlias = NDArray[np.uint64]
Flags: TypeAlias = NDArray[np.bool_]

_RECIPROCAL = 40  # bits of 1 / lanes, which divide any number of matches exactly


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


class _Blocks(NamedTuple):
    """State of the blocks of a row group [blocks], times in cycles.

    Beside it stands `slice_end` [slices, blocks]: when each accumulator has finished its last item.
    """

    expanded: Longs  # when the registers of the present step were full
    free: Longs  # when the accumulators were through with the step before it
    done: Longs  # when the accumulators are through with the position
    mac_end: Longs  # the cycle in which the MAC rows have finished their last item,
    used: Longs  # and multipliers of a row that the item takes in that cycle


class _Items(NamedTuple):
    """The last items of the blocks [ic_depth, blocks]. All blocks with work in a step have had as many items."""

    mac_start: Longs  # when the MAC rows began the item
    late: Longs  # 1 if it had to wait for a slice, 0 if for the MAC rows


class _Lanes(NamedTuple):
    """What the accumulators of a row group combine in a step, by place in the block and block."""

    coef: Bitmaps  # [slices, chunks, blocks]
    least: Longs  # [slices, blocks]: least cycles of an item; 0 without coefficients
    found: Longs  # [blocks]: matches of an item, in one place of every block


class _Sent(NamedTuple):
    """A position on the bus."""

    position: int
    end: int  # when it is sent
    before: int  # when the position before it was sent
    room: int  # when every block had room for it
    taps: int  # products that a MAC row computes for an item of the position


@woven
def _popcount(x: np.uint64) -> int:
    x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return int((x * np.uint64(0x0101010101010101)) >> np.uint64(56))


@woven
def _coverage(covers: Flags, first: int, end: int, stride: int, pad: int) -> None:
    """`covers` [size, kernel]: the taps of a kernel that read a row (or column) of a tile for outputs [first, end)."""
    size, kernel = covers.shape
    covers[:] = False
    for output in range(first, end):
        start = output * stride - pad
        for i in range(max(0, -start), min(kernel, size - start)):
            covers[start + i, i] = True


@woven
def _taps(rows: Flags, columns: Flags, step: _Step, basis: Flags) -> tuple[int, int, int]:
    """Taps of the bases of a step in which the position of these rows and columns takes part.

    The most of a basis; those of all bases; and the partial sums of an output channel that they are added to.
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
    return most, products, sums


@woven
def _working(step: _Step, schedule: _Schedule, kn: int, place: int) -> int:
    """Blocks that have an output channel in a place of a step, which are the first ones."""
    return min(schedule.active, max(0, kn - step.channel - place + schedule.together - 1) // schedule.together)


@woven
def _expand(
    step: _Step, share: tuple[int, int], schedule: _Schedule, array: Streams, t: Coefficients, fed: int,
    blocks: _Blocks, lanes: _Lanes,
) -> tuple[int, int]:  # fmt: skip
    """Fill the registers of all blocks, and `lanes`, for a step, which is the round `share[0]` of `share[1]`.

    `fed`: when COEF has fed the step before. Returns when it has fed this one, and chunks with coefficients.
    """
    kn, _, chunks = t.bits.shape
    words = 0
    for b in range(_working(step, schedule, kn, 0)):
        first = step.channel + b * schedule.together
        begin = max(blocks.free[b], blocks.expanded[b])
        feed = cycles = z = 0
        for k in range(first, min(first + schedule.together, kn)):
            nbits = t.sizes[k] * (share[0] + 1) // share[1] - t.sizes[k] * share[0] // share[1]
            feed += (nbits * array.groups + 8 * array.expand_bytes - 1) // (8 * array.expand_bytes)
            for v in range(step.first, step.end):
                lanes.least[z, b] = 0
                for c in range(chunks):
                    lanes.coef[z, c, b] = t.bits[k, v, c]
                    if t.bits[k, v, c]:
                        cycles += (_popcount(t.bits[k, v, c]) + array.expand_rate - 1) // array.expand_rate
                        words += 1
                        lanes.least[z, b] = 1
                z += 1
        fed = max(fed, begin) + feed
        blocks.expanded[b] = max(fed, fed - feed + cycles)
    return fed, words


@woven
def _match(found: Longs, coef: Bitmaps, bits: Bitmaps, count: int) -> int:
    """Matches of the activations of a position with the coefficients [chunks, blocks] of one place, and their sum."""
    total = 0
    for b in range(count):
        found[b] = _popcount(coef[0, b] & bits[0])
        total += found[b]
    for c in range(1, bits.size):
        for b in range(count):
            more = _popcount(coef[c, b] & bits[c])
            found[b] += more
            total += more
    return total


@woven
def _combine(
    sent: _Sent, count: int, ceil: tuple[int, int], found: Longs, least: Longs, slice_end: Longs, expanded: Longs,
    limit: Longs, late: Longs, done: Longs,
) -> tuple[int, int, int, int, int, int]:  # fmt: skip
    """One accumulator of each of the first `count` blocks takes a position, no earlier than `limit`.

    Returns cycles of work and of waiting, in the order of `Streamed`. There are no branches: blocks go side by side
    through the vector unit of the processor.
    """
    work = broadcast = fifo = expansion = mac = tree = 0
    for b in range(count):
        cost = max(least[b], (found[b] * ceil[0] + ceil[1]) >> _RECIPROCAL)
        before = slice_end[b]
        held = max(0, sent.room - max(before, sent.before))
        arrived = max(before, sent.end)
        loaded = max(arrived, expanded[b])
        start = max(loaded, limit[b])
        fifo += held
        broadcast += arrived - before - held
        expansion += loaded - arrived
        tree += (start - loaded) * late[b]
        mac += (start - loaded) * (1 - late[b])
        work += cost
        slice_end[b] = start + cost
        done[b] = max(done[b], start + cost)
    return work, broadcast, fifo, expansion, mac, tree


@woven
def _multiply(sent: _Sent, count: int, macs: int, blocks: _Blocks, mac_start: Longs, late: Longs) -> None:
    """The MAC rows of the first `count` blocks take an item whose accumulators are done."""
    whole, rest = sent.taps // macs, sent.taps % macs
    for b in range(count):
        waits = blocks.done[b] > blocks.mac_end[b]
        begin = max(blocks.done[b], blocks.mac_end[b])
        used = (0 if waits else blocks.used[b]) + rest
        over = used >= macs
        late[b] = 1 if waits else 0
        mac_start[b] = begin
        blocks.mac_end[b] = begin + whole + (1 if over else 0)
        blocks.used[b] = used - (macs if over else 0)


@woven
def _work_off(
    sent: _Sent, step: _Step, schedule: _Schedule, array: Streams, bits: Bitmaps, kn: int, item: int, lanes: _Lanes,
    slice_end: Longs, blocks: _Blocks, items: _Items, counts: Longs,
) -> None:  # fmt: skip
    """All blocks take a position, an item each; sets when they are through with it."""
    reciprocal = ((1 << _RECIPROCAL) + array.lanes - 1) // array.lanes
    ceil = reciprocal, reciprocal * (array.lanes - 1)
    mac_start, late = items.mac_start[item], items.late[item]
    blocks.done[:] = 0
    z = 0
    for place in range(schedule.together):
        count = _working(step, schedule, kn, place)
        for _ in range(step.first, step.end):
            counts[Streamed.MATCHES] += _match(lanes.found, lanes.coef[z], bits[sent.position], count)
            work, broadcast, fifo, expansion, mac, tree = _combine(
                sent, count, ceil, lanes.found, lanes.least[z], slice_end[z], blocks.expanded, mac_start, late,
                blocks.done,
            )  # fmt: skip
            counts[Streamed.WORK] += work
            counts[Streamed.BROADCAST] += broadcast
            counts[Streamed.FIFO] += fifo
            counts[Streamed.EXPANSION] += expansion
            counts[Streamed.MAC] += mac
            counts[Streamed.ADDER_TREE] += tree
            z += 1
    _multiply(sent, _working(step, schedule, kn, 0), array.macs, blocks, mac_start, late)


@inner
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
    kn, bases, chunks = t.bits.shape
    active, places = schedule.active, array.slices
    zeros = np.zeros((5, active), np.int64)
    blocks = _Blocks(zeros[0], zeros[1], zeros[2], zeros[3], zeros[4])
    items = _Items(np.zeros((array.ic_depth, active), np.int64), np.zeros((array.ic_depth, active), np.int64))
    lanes = _Lanes(
        np.zeros((places, chunks, active), np.uint64), np.zeros((places, active), np.int64), np.zeros(active, np.int64)
    )
    slice_end = np.zeros((places, active), np.int64)
    released = np.zeros((array.fifo_depth, active), np.int64)  # when a block was through with a position
    needed = _needed(rows, columns)
    if needed.size == 0:
        return Streaming(0, 0, 0)
    nbytes = 0
    for p in needed:
        for c in range(chunks):
            nbytes += array.bitmap_bytes + _popcount(bits[p, c])
    bus_end = streamed = fed = expansion = 0
    for n in range(schedule.passes * schedule.rounds):
        i, round_ = n // schedule.rounds, n % schedule.rounds
        step = _Step(i * schedule.slots, round_ * array.slices, min((round_ + 1) * array.slices, bases))
        channels = min(schedule.slots, kn - step.channel)
        fed, words = _expand(step, (round_, schedule.rounds), schedule, array, t, fed, blocks, lanes)
        if n == 0:  # time begins when all registers are full
            expansion, fed = blocks.expanded.max(), 0
            blocks.expanded[:] = 0
        blocks.free[:] = blocks.done
        blocks.mac_end[:] += blocks.used > 0
        blocks.used[:] = 0
        before, taps, products, sums = -2, 0, 0, 0
        for p in needed:
            y, x = p // columns.shape[0], p % columns.shape[0]
            if p != before + 1 or x == 0 or (columns[x] != columns[x - 1]).any():
                taps, products, sums = _taps(rows[y], columns[x], step, t.basis)
            before = p
            counts[Streamed.PRODUCTS] += products * channels
            counts[Streamed.SUMS] += sums * channels
            slot = streamed % array.fifo_depth
            room = released[slot].max()
            end = max(bus_end, room) + array.broadcast
            sent = _Sent(p, end, bus_end, room, taps)
            bus_end = end
            item = streamed % array.ic_depth
            _work_off(sent, step, schedule, array, bits, kn, item, lanes, slice_end, blocks, items, counts)
            released[slot] = blocks.done
            streamed += 1
        counts[Streamed.WORDS_WRITTEN] += words
        counts[Streamed.WORDS_READ] += words * needed.size
        counts[Streamed.POSITIONS] += needed.size
        counts[Streamed.BROADCAST_BYTES] += nbytes
        counts[Streamed.TAKEN_BYTES] += nbytes * ((channels + schedule.together - 1) // schedule.together)
    cycles = (blocks.mac_end + (blocks.used > 0)).max()
    busy = max(fed, blocks.free.max(), blocks.expanded.max())
    return Streaming(expansion, cycles, max(0, cycles - busy))


@woven
def _streams_in(numbers: Longs, first: int) -> Streams:
    """The array that `packed` has put at `first`."""
    i = first
    return Streams(
        numbers[i], numbers[i + 1], numbers[i + 2], numbers[i + 3], numbers[i + 4], numbers[i + 5],
        numbers[i + 6], numbers[i + 7], numbers[i + 8], numbers[i + 9], numbers[i + 10],
    )  # fmt: skip


@jit
def stream(bits: Bitmaps, coef: Bitmaps, sizes: Longs, basis: Flags, numbers: Longs, counts: Longs) -> Streaming:
    """Cycles of an instruction. `bits` [ih*iw, chunks] are those of the activations; adds to `counts`.

    `coef`, `sizes` and `basis` are the fields of `Coefficients`; `numbers` are its `Window` and `Streams`, `packed`.
    """
    window, array, t = window_in(numbers, 0), _streams_in(numbers, BEHIND_WINDOW), Coefficients(coef, sizes, basis)
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
