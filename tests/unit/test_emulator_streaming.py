"""Cycles of conv.esc against an independent simulation."""

from __future__ import annotations

import numpy as np
from emulator_programs import Geometry
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.geometry import Window, packed
from emulator.streaming import Coefficients, Streamed, Streams, stream
from isa.layout import ceil_div


def simulate(bits, t, g, streams):
    """conv.esc as a network of processes that exchange timestamped events: cycles of the first expansion and of the
    slowest row group, those at the end in which the next instruction may expand, and work.

    `bits` bool [h, w, chunks, chunk]; `t`: coefficients bool [kn, v, chunks, chunk], coded bytes of each output
    channel, and bases bool [v, r, s].
    """
    coef, sizes, basis = t
    rows_each = ceil_div(g.oh, streams.groups)
    results = []
    for group in range(streams.groups):
        rows = range(group * rows_each, min(g.oh, (group + 1) * rows_each))
        kn, v, *_ = coef.shape
        steps = block_steps(kn, v, streams.blocks // streams.groups, streams.slices)
        positions = needed_positions(g, rows)

        def cost(position, k, v):
            matches = int((coef[k, v] & bits[position[:2]]).sum())
            return max(1, ceil_div(matches, streams.lanes)) if coef[k, v].any() else 0

        def mac(position, item):
            return max(sum(bool(basis[v, i, j]) for i, j in position[2]) for _, _, v in item)

        def expand(item):
            return sum(ceil_div(int(chunk.sum()), streams.expand_rate) for _, k, v in item for chunk in coef[k, v])

        def feed(item, n):
            rounds = ceil_div(coef.shape[1], streams.slices)
            share = [
                (int(sizes[k]) * (n % rounds + i) // rounds) for k in sorted({k for _, k, _ in item}) for i in (1, 0)
            ]
            parts = (end - begin for end, begin in zip(share[::2], share[1::2], strict=True))
            return sum(ceil_div(streams.groups * part, 8 * streams.expand_bytes) for part in parts)

        results.append(simulate_group(positions, steps, (cost, mac, expand, feed), streams))
    expansion, cycles, busy, work = zip(*results, strict=True)
    return max(expansion), max(cycles), max(cycles) - max(busy), sum(work)


def needed_positions(g, rows):
    """(row, column, window taps) of the positions that some output of the group covers, row-major."""
    found = []
    for a, b in np.ndindex(g.h, g.w):
        vertical = [i for i in range(g.r) if any(y * g.sy - g.pads[0] + i == a for y in rows)]
        horizontal = [j for j in range(g.s) if any(x * g.sx - g.pads[1] + j == b for x in range(g.ow))]
        if vertical and horizontal:
            found.append((a, b, [(i, j) for i in vertical for j in horizontal]))
    return found


def block_steps(kn, v, blocks, slices):
    """For each block that has work, an item for each step: a list of (slice, output channel, basis), maybe empty."""
    together = max(1, slices // v)
    found = []
    for block in range(blocks):
        mine = []
        for first in range(0, kn, blocks * together):
            for start in range(0, v, slices):
                width = min(slices, v - start)
                begin = first + block * together
                channels = enumerate(range(begin, min(begin + together, kn)))
                mine.append([(n * width + z, k, start + z) for n, k in channels for z in range(width)])
        if any(mine):
            found.append(mine)
    return found


class RowGroup:
    """The processes of one row group. Each yields the name of an event that it waits for, whose time another one sets,
    and is sent that time.

    `positions` and `blocks` are those of `needed_positions` and `block_steps`. `times`: cycles of an accumulator for
    (position, output channel, basis), of the MAC rows for (position, item), and of expanding and feeding an item.
    """

    def __init__(self, positions, blocks, times, streams):
        self.positions, self.blocks, self.streams = positions, blocks, streams
        self.cost, self.mac, self.expand, self.feed = times
        self.events = {}
        self.work = 0
        self.steps = len(blocks[0])
        self.order = [(n, p) for n in range(self.steps) for p in range(len(positions))]

    def first_expansion(self):
        """The registers of the first step of all blocks are filled before anything else."""
        fed = full = 0
        for block, mine in enumerate(self.blocks):
            before, fed = fed, fed + self.feed(mine[0], 0)
            full = max(full, fed, before + self.expand(mine[0]))
            self.events["expanded", block, 0] = 0
        return full

    def processes(self):
        """All that work at the same time."""
        yield from (self.bus(), self.feeder())
        for block, mine in enumerate(self.blocks):
            yield from (self.accumulator(block, z) for z in sorted({z for item in mine for z, _, _ in item}))
            yield from (self.expander(block), self.mac_row(block))

    def bus(self):
        """Sends positions as long as every block has a place for them."""
        clock = 0
        for number, (n, p) in enumerate(self.order):
            if number >= self.streams.fifo_depth:
                before = self.order[number - self.streams.fifo_depth]
                for block, mine in enumerate(self.blocks):
                    for z, _, _ in mine[before[0]]:
                        clock = max(clock, (yield ("released", block, z, *before)))
            clock += self.streams.broadcast
            self.events["sent", n, p] = clock

    def feeder(self):
        """Feeds coded coefficients to one block after the other."""
        clock = 0
        for n in range(1, self.steps):
            for block, mine in enumerate(self.blocks):
                if mine[n]:
                    clock = max(clock, (yield ("empty", block, n)))
                    self.events["feeding", block, n] = clock
                    clock += self.feed(mine[n], n)
                    self.events["fed", block, n] = clock
        self.events["idle"] = clock

    def expander(self, block):
        """Expands what is fed, into a set of registers that is not in use any more."""
        clock, mine = 0, self.blocks[block]
        for n, item in enumerate(mine):
            if item and n:
                for z, _, _ in mine[n - 2] if n >= 2 else ():
                    clock = max(clock, (yield ("released", block, z, n - 2, len(self.positions) - 1)))
                self.events["empty", block, n] = clock
                clock = (yield ("feeding", block, n)) + self.expand(item)
                clock = max(clock, (yield ("fed", block, n)))
                self.events["expanded", block, n] = clock

    def accumulator(self, block, z):
        """Adds for the output channels and bases of slice `z`."""
        clock = items = 0
        for n, p in self.order:
            item = self.blocks[block][n]
            for slot, k, v in item:
                if slot == z:
                    clock = max(clock, (yield ("sent", n, p)), (yield ("expanded", block, n)))
                    if items >= self.streams.ic_depth:
                        clock = max(clock, (yield ("taken", block, items - self.streams.ic_depth)))
                    cycles = self.cost(self.positions[p], k, v)
                    clock += cycles
                    self.work += cycles
                    self.events["released", block, z, n, p] = clock
            items += bool(item)

    def mac_row(self, block):
        """Multiplies items of one step one behind the other, whatever multipliers the one before leaves free."""
        clock = items = used = 0  # multipliers in use in the cycle that begins at `clock`
        before = 0
        for n, p in self.order:
            item = self.blocks[block][n]
            if n != before and used:  # the rows start a step in a cycle of its own
                clock, used = clock + 1, 0
            before = n
            if item:
                for z, _, _ in item:
                    released = yield ("released", block, z, n, p)
                    if released > clock:
                        clock, used = released, 0
                self.events["taken", block, items] = clock
                for _ in range(self.mac(self.positions[p], item)):
                    used += 1
                    if used == self.streams.macs:
                        clock, used = clock + 1, 0
                items += 1
        self.events["finished", block] = clock + bool(used)


def simulate_group(positions, blocks, times, streams):
    """Run the processes of one row group until none can go on: cycles of the first expansion, of all, until the next
    instruction may expand, and of adding.
    """
    if not positions:
        return 0, 0, 0, 0
    group = RowGroup(positions, blocks, times, streams)
    expansion, events = group.first_expansion(), group.events
    waiting = [(process, next(process, None)) for process in group.processes()]
    while waiting:
        assert any(key is None or key in events for _, key in waiting), "deadlock"
        waiting = [
            (process, advance(process, events[key]) if key in events else key) for process, key in waiting if key
        ]
    busy = [time for name, time in events.items() if name[0] == "expanded"]
    busy += [time for (kind, *at), time in events.items() if kind == "released" and at[2] == group.steps - 2]
    cycles = max(events["finished", block] for block in range(len(blocks)))
    return expansion, cycles, min(cycles, max(*busy, events["idle"])), group.work


def advance(process, value):
    """Continue a process; the event that it waits for next, None when it is done."""
    try:
        return process.send(value)
    except StopIteration:
        return None


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1 << 30),
    g=st.builds(
        Geometry,
        st.integers(2, 5),
        st.integers(2, 5),
        st.sampled_from([5, 8, 20]),
        st.integers(1, 3),
        st.integers(1, 2),
        st.integers(1, 2),
        st.integers(1, 2),
        st.just((1, 0, 1, 0)),
        st.integers(1, 9),
    ),
    v=st.integers(1, 7),
    groups=st.integers(1, 2),
    shape=st.tuples(st.integers(2, 4), st.integers(1, 4), st.integers(1, 5), st.integers(1, 4)),
    depths=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    rates=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 30)),
)
def test_streaming_matches_an_independent_simulation(seed, g, v, groups, shape, depths, rates):
    rng = np.random.default_rng(seed)
    chunk = 8
    chunks = ceil_div(g.c, chunk)
    density = rng.random(3)
    bits = rng.random((g.h, g.w, chunks, chunk)) < density[0]
    coef = rng.random((g.kn, v, chunks, chunk)) < density[1]
    basis = rng.random((v, g.r, g.s)) < density[2]
    sizes = rng.integers(1, 480, g.kn)
    weight = np.uint64(1) << np.arange(chunk, dtype=np.uint64)
    counts = np.zeros(len(Streamed), np.int64)
    blocks, slices, macs, lanes = shape
    (fifo, ic), (broadcast, rate, nbytes) = depths, rates
    streams = Streams(groups, blocks, slices, macs, lanes, fifo, ic, broadcast, rate, nbytes, 1)
    found = stream(
        (bits * weight).sum(axis=3, dtype=np.uint64).reshape(-1, chunks),
        *Coefficients((coef * weight).sum(axis=3, dtype=np.uint64), sizes, basis),
        packed(Window(g.h, g.w, g.c, g.r, g.s, g.sy, g.sx, g.pads[0], g.pads[1], g.oh, g.ow), streams), counts,
    )  # fmt: skip
    *want, work = simulate(bits, (coef, sizes, basis), g, streams)
    assert list(found) == want
    assert counts[Streamed.WORK] == work
    waits = counts[Streamed.WORK : Streamed.ADDER_TREE + 1]
    assert waits.min() >= 0
    assert waits.sum() <= streams.blocks * streams.slices * found.cycles
    assert counts[Streamed.PRODUCTS] == g.kn * sum(
        bool(basis[b, i, j])
        for group in range(groups)
        for y in range(group * ceil_div(g.oh, groups), min(g.oh, (group + 1) * ceil_div(g.oh, groups)))
        for x in range(g.ow) for b in range(v) for i in range(g.r) for j in range(g.s)
        if 0 <= y * g.sy - g.pads[0] + i < g.h and 0 <= x * g.sx - g.pads[1] + j < g.w
    )  # fmt: skip
