"""Which weights wait in ACT for their layer: those of layers that wait for DRAM, fetched while layers before only
compute.

COEF holds a few thousand cycles' worth of loads ahead. Where more is wanted and ACT has bytes that no layer uses until
then, a load goes there first, in a gap of the load engine; the load proper then moves the bytes on to COEF. Times are
estimates: each queue works in order, an instruction begins when all that touch its bytes before have ended, and the
instruction buffer bounds how far a queue runs ahead.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from isa.code import Touched, group, touched
from isa.declaration import INSTRUCTION_BYTES, Instruction
from isa.formats import Queue, Scratchpad, Space, TensorFormat
from isa.hazards import dependencies
from isa.integers import entry
from isa.table import make
from isa.target import Target
from passes.tiling.memory import SCRATCHPAD_ALIGN, reserve

_DENSITY = 0.5 + 1 / 8
"""Bytes of a BITMAP tensor that move for each of its values, about."""
_BANDWIDTH = 0.9
"""Share of the peak bandwidth that loads in a row reach."""
_NEARLY = 1 - 1e-9
"""Sums of cycles that reach this share of one another count as equal: they differ by rounding."""
_LEAST_GAIN = 0.01
"""Share of the cycles that the estimate must promise to save. It knows no rows and queues of DRAM: where
it promised half a percent, MobileNetV2 became a third of a percent slower.
"""
_ROUNDS = 6
"""How often weights are chosen, each time by what the weights that wait already have changed."""


@dataclass(frozen=True)
class Estimate:
    """Estimated cycles of each instruction: when it starts and ends, how long its queue has stood still before it, and,
    if it is one of the blocks, how long they have done so for the sake of a load alone.
    """

    starts: Sequence[float]
    ends: Sequence[float]
    idle: Sequence[float]
    blocked: Sequence[float]

    @property
    def total(self) -> float:
        """When the last instruction ends."""
        return max(self.ends, default=0.0)


def _stageable(i: Instruction) -> bool:
    """Whether an instruction can take its bytes from ACT."""
    return "staged" in i.spec.offsets


def _moved(i: Instruction, target: Target) -> float:
    """Bytes that an instruction moves over the bus, about."""
    v = i.values
    if i.spec.mnemonic in ("load.act", "store.act"):
        return v["h"] * v["w"] * v["cn"] * (1.0 if v["format"] == TensorFormat.RAW else _DENSITY)
    if "size" in v:
        return 0.0 if v.get("staged") else float(v["size"])
    constants = (e for e in i.spec.extents(v, target) if e.space == Space.CONSTANTS and not e.write)
    return float(sum(entry(e.outer * e.inner * e.run, 0) for e in constants))


def _cycles(i: Instruction, target: Target) -> float:
    """Cycles of an instruction; of a transfer, those in which DRAM works for it or the scratchpad side, if longer."""
    form = i.spec.cycles or i.spec.least_cycles
    side = 0.0 if form is None else float(entry(form(i.values, target), 0))
    if i.spec.queue not in (Queue.LOAD, Queue.STORE):
        return side
    if i.values.get("staged"):
        side = max(side, i["size"] / target.dma.bytes_per_cycle)
    return max(side, (_moved(i, target) + INSTRUCTION_BYTES) / (_BANDWIDTH * target.dram_bytes_per_cycle))


def estimate(instructions: Sequence[Instruction], target: Target) -> Estimate:
    """When the instructions of a program without synchronisation run, about."""
    n, window = len(instructions), target.fetch.instructions
    starts, ends, idle, blocked = ([0.0] * n for _ in range(4))
    done = [0.0] * len(Queue)
    for i, (instruction, latest) in enumerate(zip(instructions, dependencies(instructions, target), strict=True)):
        queue = instruction.spec.queue
        fetched = starts[i - window] if i >= window else 0.0
        waits = [ends[j] if j >= 0 else 0.0 for j in latest]
        starts[i] = max(done[queue], fetched, *waits)
        idle[i] = starts[i] - done[queue]
        waits[Queue.LOAD] = 0.0
        blocked[i] = max(0.0, starts[i] - max(done[queue], fetched, *waits)) if queue == Queue.COMPUTE else 0.0
        ends[i] = done[queue] = starts[i] + _cycles(instruction, target)
    return Estimate(starts, ends, idle, blocked)


@dataclass(frozen=True)
class Listing:
    """Instructions in program order, and for each the number of its layer."""

    instructions: Sequence[Instruction]
    layers: Sequence[int]


def _awaited(table: Touched, layers: Sequence[int], capacity: int) -> list[list[tuple[int, int]]]:
    """For each layer the bytes of ACT [low, high) that wait when it has run: a later one reads them before any writes.

    So a layer may leave bytes alone that are not free: those of a tensor that it has nothing to do with.
    """
    wait = np.zeros(capacity, np.bool_)
    found: list[list[tuple[int, int]]] = [[] for _ in range(max(layers, default=-1) + 1)]
    left = len(found)
    in_act = np.flatnonzero(table.space == Space.ACT)
    backwards = in_act[np.lexsort((1 - table.write[in_act], -table.number[in_act]))]
    for row in np.stack([column[backwards] for column in table], axis=1).tolist():
        number, _, write, base, outer, outer_stride, inner, inner_stride, run = row
        while left > layers[number]:
            left -= 1
            found[left] = _runs(wait)
        strides = outer_stride, inner_stride, 1
        as_strided(wait[base:], (outer, inner, run), strides)[...] = not write
    for layer in range(left):
        found[layer] = _runs(wait)
    return found


def _runs(marked: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """The longest ranges [low, high) of indices that are all marked."""
    edges = np.flatnonzero(np.diff(marked, prepend=False, append=False))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


class _Room:
    """What the layers of a program, and the weights that wait, leave free of ACT.

    `used` has an integer for each layer, whose bit i says that the layer needs bytes of unit i: there is room for
    weights where the integers of several layers have a run of zeros. A unit is the alignment of a scratchpad buffer.
    """

    def __init__(self, program: Listing, target: Target) -> None:
        self.units = target.scratchpad.act // SCRATCHPAD_ALIGN
        self.used = [0] * (max(program.layers, default=-1) + 1)
        self.full: dict[tuple[int, int], int] = {}
        """For ranges of layers, the fewest units for which there was no room: there is none later either."""
        table = touched(group(program.instructions), target)
        in_act = table.space == Space.ACT
        layers = np.array(program.layers, np.int64)[table.number[in_act]]
        spans = np.stack([layers, table.base[in_act], table.end[in_act]], axis=1)
        rows: list[list[int]] = np.unique(spans, axis=0).tolist()
        for layer, low, high in rows:
            self.used[layer] |= _units(low, high)
        filled: dict[int, int] = {}
        for layer, awaited in enumerate(_awaited(table, program.layers, target.scratchpad.act)):
            for low, high in awaited:
                self.used[layer] |= _units(low, high)
        for instruction, layer in zip(program.instructions, program.layers, strict=True):
            if _fills_act(instruction):
                filled[instruction["dst"]] = layer
            elif instruction.values.get("staged"):
                self._keep(instruction["act"], instruction["size"], filled.get(instruction["act"], 0), layer)

    def _keep(self, at: int, nbytes: int, first: int, last: int) -> None:
        units = _units(at, at + nbytes)
        for layer in range(first, last + 1):
            self.used[layer] |= units

    def take(self, nbytes: int, first: int, last: int) -> int | None:
        """The lowest address of so many bytes that the layers `first` to `last` leave free; they then take them.

        Resident tensors lie at the bottom, so that bytes there are seldom free for longer.
        """
        size = int(reserve(nbytes)) // SCRATCHPAD_ALIGN
        if size >= self.full.get((first, last), self.units + 1):
            return None
        used = 0
        for layer in self.used[first : last + 1]:
            used |= layer
        runs, length = ~used & ((1 << self.units) - 1), 1  # where as many free units begin
        while length < size:
            further = min(length, size - length)
            runs &= runs >> further
            length += further
        if not runs:
            self.full[first, last] = size
            return None
        at = ((runs & -runs).bit_length() - 1) * SCRATCHPAD_ALIGN
        self._keep(at, nbytes, first, last)
        return at


def _units(low: int, high: int) -> int:
    """The bits of the units that hold the bytes [low, high)."""
    return (1 << int(reserve(high)) // SCRATCHPAD_ALIGN) - (1 << low // SCRATCHPAD_ALIGN)


def _wanted(program: Listing, found: Estimate, target: Target) -> list[int]:
    """Loads of weights that should not need DRAM when their layer runs: of each layer that waits for loads, as large a
    share as its waiting has of the time of these loads, evenly spread.
    """
    waiting: dict[int, float] = {}
    loading: dict[int, float] = {}
    for i, (instruction, layer) in enumerate(zip(program.instructions, program.layers, strict=True)):
        waiting[layer] = waiting.get(layer, 0.0) + found.blocked[i]
        if _waits_for_dram(instruction):
            loading[layer] = loading.get(layer, 0.0) + _cycles(instruction, target)
    chosen: list[int] = []
    reached: dict[int, float] = {}
    for i, (instruction, layer) in enumerate(zip(program.instructions, program.layers, strict=True)):
        if not _waits_for_dram(instruction) or not waiting[layer]:
            continue
        before = reached.get(layer, 0.0)
        cycles = _cycles(instruction, target)
        reached[layer] = before + cycles * min(1.0, waiting[layer] / loading[layer])
        if reached[layer] >= cycles * _NEARLY:
            reached[layer] -= cycles
            chosen.append(i)
    return chosen


def _fills_act(instruction: Instruction) -> bool:
    return instruction.spec.mnemonic == "load.bytes" and instruction["pad"] == Scratchpad.ACT


def _fill(load: Instruction) -> Instruction:
    """What fetches the bytes of a load into ACT, at an address that is not known yet."""
    return make("load.bytes", dram=load["dram"], size=load["size"], pad=Scratchpad.ACT)


def _waits_for_dram(instruction: Instruction) -> bool:
    return _stageable(instruction) and not instruction["staged"]


@dataclass
class _Gap:
    """Cycles [start, end) in which the load engine waits for what it is to do next, the load `before`, and in which
    the blocks work on a layer; `after` is the load before that one, -1 if there is none.
    """

    after: int
    before: int
    start: float
    end: float
    layer: int


def _gaps(program: Listing, found: Estimate, target: Target) -> list[_Gap]:
    """The gaps of the load engine in the order of their times; what stands behind the load before has been fetched."""
    last = np.zeros(max(program.layers, default=-1) + 1)
    np.maximum.at(last, np.array(program.layers, np.int64), np.array(found.ends))
    ends: list[float] = np.maximum.accumulate(last).tolist()
    gaps: list[_Gap] = []
    after = -1
    for i, instruction in enumerate(program.instructions):
        if instruction.spec.queue != Queue.LOAD:
            continue
        at, stop = found.starts[i] - found.idle[i], found.starts[i]
        if after + 1 >= target.fetch.instructions:
            at = max(at, found.starts[after + 1 - target.fetch.instructions])
        for layer in range(bisect_right(ends, at), len(ends)):
            if at >= stop:
                break
            if at < ends[layer]:
                gaps.append(_Gap(after, i, at, min(ends[layer], stop), layer))
                at = min(ends[layer], stop)
        after = i
    return gaps


def _position(gap: _Gap, found: Estimate, target: Target) -> int:
    """The last place in the program for what fills the gap from its start on that has been fetched by then."""
    window, at = target.fetch.instructions, gap.before
    while at - 1 > gap.after and at >= window and found.starts[at - window] > gap.start:
        at -= 1
    return at


def _round(program: Listing, room: _Room, found: Estimate, target: Target) -> Listing:
    """The program with more weights that wait in ACT."""
    wanted = [(i, _fill(program.instructions[i])) for i in _wanted(program, found, target)]
    taken = [_cycles(fill, target) for _, fill in wanted]
    least = min(taken, default=0.0)
    gaps = [gap for gap in _gaps(program, found, target) if gap.end - gap.start >= least]
    positions = [_position(gap, found, target) for gap in gaps]
    fills: dict[int, list[tuple[float, Instruction]]] = {}
    places: dict[int, int] = {}
    for (i, fill), cycles in zip(wanted, taken, strict=True):
        layer = program.layers[i]
        for number, gap in enumerate(gaps):
            if program.layers[gap.before] >= layer:
                break
            if gap.end - gap.start < cycles:
                continue
            at = room.take(fill["size"], min(gap.layer, program.layers[positions[number]]), layer)
            if at is None:
                continue
            fill.values["dst"] = places[i] = at
            fills.setdefault(positions[number], []).append((gap.start, fill))
            gap.start += cycles
            positions[number] = _position(gap, found, target)
            break
    instructions: list[Instruction] = []
    layers: list[int] = []
    for i, (instruction, layer) in enumerate(zip(program.instructions, program.layers, strict=True)):
        here = [fill for _, fill in sorted(fills.get(i, []), key=lambda timed: timed[0])]
        if i in places:
            instruction = Instruction(instruction.spec, {**instruction.values, "staged": 1, "act": places[i]})
        instructions += [*here, instruction]
        layers += [layer] * (len(here) + 1)
    return Listing(instructions, layers)


def _hoisted(program: Listing, found: Estimate, target: Target) -> Listing:
    """The program with loads of weights before loads of their layer that wait for a scratchpad, where their own bytes
    of COEF are free.
    """
    latest = [max(depends) for depends in dependencies(program.instructions, target)]
    following: dict[int, list[int]] = {}
    for i, (instruction, layer) in enumerate(zip(program.instructions, program.layers, strict=True)):
        if _stageable(instruction):
            following.setdefault(layer, []).append(i)
    moved: dict[int, list[int]] = {}
    gone: set[int] = set()
    for gap in _gaps(program, found, target):
        at, left = gap.before, gap.end - gap.start
        if at in gone:
            continue
        loads = following.get(program.layers[at], [])
        for i in loads[bisect_right(loads, at) : bisect_left(loads, at + target.fetch.instructions)]:
            free = latest[i] < at and (latest[i] < 0 or found.ends[latest[i]] <= gap.start)
            if i not in gone and free and (cycles := _cycles(program.instructions[i], target)) <= left:
                left -= cycles
                gap.start += cycles
                moved.setdefault(at, []).append(i)
                gone.add(i)
    order = [j for i in range(len(program.instructions)) if i not in gone for j in (*moved.get(i, []), i)]
    return Listing([program.instructions[i] for i in order], [program.layers[i] for i in order])


def staged(program: Listing, target: Target) -> Listing:
    """A program, without synchronisation, with weights that wait in ACT, and loads of weights that do not wait behind
    others, where that is faster by more than the estimate may err; else the program itself, as is one that reads or
    writes beyond ACT, which `eisa-legalize` refuses.
    """
    table = touched(group(program.instructions), target)
    if (table.end[table.space == Space.ACT] > target.scratchpad.act).any():
        return program
    best, found = program, estimate(program.instructions, target)
    most = (1 - _LEAST_GAIN) * found.total
    for _ in range(_ROUNDS):
        trials = [_hoisted(best, found, target), _round(best, _Room(best, target), found, target)]
        better = False
        for trial in trials:
            after = estimate(trial.instructions, target)
            if after.total < found.total:
                best, found, better = trial, after, True
                break
        if not better:
            break
    return best if found.total < most else program
