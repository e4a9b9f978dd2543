"""Which bytes an instruction touches, and whether semaphores order every two instructions that touch the same ones.

`accesses` gives static ranges: from the first to one past the last byte that an instruction may touch whatever the
data, gaps of strided tiles included. Two instructions of different queues conflict when ranges of one memory overlap
and at least one of them writes. Both the compiler, which places waits, and the machine's check of those waits read
this file; they share the ranges, not the ordering.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from isa.errors import UserError
from isa.instructions import Instruction, PoolKind, Queue, Scratchpad, TensorFormat
from isa.layout import (
    ADD_BLOCK_BYTES,
    TABLE_BYTES,
    WEIGHT_TABLE_BYTES,
    RecordLayout,
    TensorLayout,
    coefficient_bytes,
    requant_block_bytes,
)
from isa.program import Program
from isa.target import Target

SPACES = ("act", "out", "coef", "par", "psum", "dram")
"""The five scratchpads and DRAM; each has addresses of its own."""

WAITS = tuple((queue, f"wait_{queue.name.lower()}") for queue in Queue)
"""Every queue and the field that waits for its semaphore."""


class Access(NamedTuple):
    """Bytes [low, high) of `space` that an instruction may read, or write if `write`."""

    space: str
    low: int
    high: int
    write: bool


_Values = Mapping[str, int]


def _read(space: str, low: int, size: int) -> Access:
    return Access(space, low, low + size, False)


def _write(space: str, low: int, size: int) -> Access:
    return Access(space, low, low + size, True)


def dram_tensor_range(v: _Values, chunk: int) -> tuple[int, int]:
    """Bytes [low, high) of DRAM that hold the region of a load.act or store.act."""
    if v["format"] == TensorFormat.RAW:
        first = (v["y"] * v["tensor_w"] + v["x"]) * v["tensor_c"] + v["c"]
        last = ((v["y"] + v["h"] - 1) * v["tensor_w"] + v["x"] + v["w"] - 1) * v["tensor_c"] + v["c"] + v["cn"]
        return v["dram"] + first, v["dram"] + last
    rows = v["y"] + v["h"]
    layout = TensorLayout(rows, v["tensor_w"], v["tensor_c"], TensorFormat.BITMAP, v["segment"], chunk)
    first = layout.line_offset(v["y"], v["c"] // chunk, v["x"] // v["segment"])
    last = layout.line_offset(rows - 1, (v["c"] + v["cn"] - 1) // chunk, (v["x"] + v["w"] - 1) // v["segment"])
    return v["dram"] + first, v["dram"] + last + layout.line_bytes


def _tile(h: int, w: int, c: int, chunk: int) -> int:
    return RecordLayout(c, chunk).tile_bytes(h, w)


def _act_tile(v: _Values, chunk: int) -> Access:
    return _read("act", v["act"], _tile(v["ih"], v["iw"], v["ic"], chunk))


def _psum(v: _Values, write: bool) -> Access:
    low = v["psum"] + 4 * v["k"]
    return Access("psum", low, low + 4 * ((v["oh"] * v["ow"] - 1) * v["kt"] + v["kn"]), write)


def _out(v: _Values) -> Access:
    return _write("out", v["out"], ((v["oh"] - 1) * v["out_w"] + v["ow"] - 1) * v["out_c"] + v["kn"])


def _load_act(v: _Values, target: Target) -> list[Access]:
    chunk = target.array.chunk
    low, high = dram_tensor_range(v, chunk)
    return [Access("dram", low, high, False), _write("act", v["act"], _tile(v["h"], v["w"], v["cn"], chunk))]


def _load_coef(v: _Values, target: Target) -> list[Access]:
    size = coefficient_bytes(v["kn"], v["v"], v["c"], target.array.chunk)
    return [_read("dram", v["dram"], v["size"]), _write("coef", v["coef"], size)]


def _load_bytes(v: _Values, _: Target) -> list[Access]:
    space = Scratchpad(v["pad"]).name.lower()
    return [_read("dram", v["dram"], v["size"]), _write(space, v["dst"], v["size"])]


def _load_par(v: _Values, _: Target) -> list[Access]:
    return [_read("dram", v["dram"], v["size"]), _write("par", v["dst"], requant_block_bytes(v["kn"]))]


def _load_weights(v: _Values, _: Target) -> list[Access]:
    constants = [_read("dram", v["dram"], v["size"]), _read("dram", v["table"], WEIGHT_TABLE_BYTES)]
    return [*constants, _write("coef", v["dst"], v["count"])]


def _conv_dense(v: _Values, target: Target) -> list[Access]:
    return _conv(v, target, v["kn"] * v["r"] * v["s"] * v["cpg"])


def _conv_dw(v: _Values, target: Target) -> list[Access]:
    return _conv(v, target, v["kn"] * v["r"] * v["s"])


def _conv(v: _Values, target: Target, weights: int) -> list[Access]:
    found = [_act_tile(v, target.array.chunk), _read("coef", v["coef"], weights), _psum(v, True)]
    return [*found, _psum(v, False)] if v["accumulate"] else found


def _conv_esc(v: _Values, target: Target) -> list[Access]:
    chunk = target.array.chunk
    return [
        _act_tile(v, chunk),
        _read("coef", v["coef"], coefficient_bytes(v["kn"], v["v"], v["ic"], chunk)),
        _read("par", v["basis"], v["v"] * v["r"] * v["s"]),
        _psum(v, True),
    ]


def _post_requant(v: _Values, target: Target) -> list[Access]:
    found = [_psum(v, False), _read("par", v["par"], requant_block_bytes(v["kn"])), _out(v)]
    if v["lut"]:
        found.append(_read("par", v["table"], TABLE_BYTES))
    if v["add"]:
        found.append(_read("act", v["res"], _tile(v["oh"], v["ow"], v["res_c"], target.array.chunk)))
        found.append(_read("par", v["addpar"], ADD_BLOCK_BYTES))
    return found


def _post_add(v: _Values, target: Target) -> list[Access]:
    tile = _tile(v["oh"], v["ow"], v["kn"], target.array.chunk)
    return [
        _read("act", v["act"], tile),
        _read("act", v["res"], tile),
        _read("par", v["addpar"], ADD_BLOCK_BYTES),
        _out(v),
    ]


def _post_map(v: _Values, target: Target) -> list[Access]:
    found = [_act_tile(v, target.array.chunk), _out(v)]
    return [*found, _read("par", v["table"], TABLE_BYTES)] if v["lut"] else found


def window_counts(v: _Values) -> tuple[int, int]:
    """Smallest and largest number of counted positions of any window of a post.pool."""
    rows = _counts(v["oh"], v["sy"], v["r"], -v["pt"], -v["bt"], v["ih"] + v["bb"])
    columns = _counts(v["ow"], v["sx"], v["s"], -v["pl"], -v["bl"], v["iw"] + v["br"])
    return rows[0] * columns[0], rows[1] * columns[1]


def _counts(outputs: int, stride: int, kernel: int, start: int, low: int, high: int) -> tuple[int, int]:
    # A window that slides over an interval overlaps it first more, then less: the smallest count is at an end.
    def overlap(i: int) -> int:
        a = start + i * stride
        return max(0, min(a + kernel, high) - max(a, low))

    ends = (overlap(0), overlap(outputs - 1))
    inside = min(max((low - start + stride - 1) // stride, 0), outputs - 1)
    return min(ends), max(*ends, overlap(inside), overlap(max(inside - 1, 0)))


def _post_pool(v: _Values, target: Target) -> list[Access]:
    found = [_act_tile(v, target.array.chunk), _out(v)]
    if v["kind"] == PoolKind.AVERAGE:
        found.append(_read("par", v["par"], 4 * max(0, window_counts(v)[1] - v["count0"] + 1)))
    return found


def _store_act(v: _Values, target: Target) -> list[Access]:
    low, high = dram_tensor_range(v, target.array.chunk)
    size = ((v["h"] - 1) * v["out_w"] + v["w"] - 1) * v["out_c"] + v["cn"]
    return [_read("out", v["out"], size), Access("dram", low, high, True)]


def _end(_: _Values, __: Target) -> list[Access]:
    return []


_ACCESSES: Mapping[str, Callable[[_Values, Target], list[Access]]] = MappingProxyType(
    {
        "load.act": _load_act,
        "load.coef": _load_coef,
        "load.bytes": _load_bytes,
        "load.par": _load_par,
        "load.weights": _load_weights,
        "conv.dense": _conv_dense,
        "conv.dw": _conv_dw,
        "conv.esc": _conv_esc,
        "post.requant": _post_requant,
        "post.add": _post_add,
        "post.map": _post_map,
        "post.pool": _post_pool,
        "store.act": _store_act,
        "end": _end,
    }
)


def accesses(instruction: Instruction, target: Target) -> list[Access]:
    """Byte ranges that the instruction may touch. It must be legal by itself (`isa.legality.check_instruction`)."""
    return _ACCESSES[instruction.spec.mnemonic](instruction.values, target)


class _LatestByRange:
    """A map from every address to the latest instruction that touched it; -1 where none has."""

    def __init__(self) -> None:
        self._starts = [0]  # piece i covers [starts[i], starts[i + 1])
        self._latest = [-1]

    def latest(self, low: int, high: int) -> int:
        """Latest instruction that touched a byte of [low, high)."""
        starts = self._starts
        i = bisect_right(starts, low) - 1
        j = bisect_left(starts, high, i + 1)
        return self._latest[i] if j == i + 1 else max(self._latest[i:j])

    def touch(self, low: int, high: int, index: int) -> None:
        """Record that instruction `index`, later than all before, touches [low, high)."""
        starts, latest = self._starts, self._latest
        i = bisect_right(starts, low) - 1
        j = bisect_left(starts, high, i + 1)
        after = latest[j - 1]
        new_starts, new_latest = [low], [index]
        if starts[i] < low:
            new_starts.insert(0, starts[i])
            new_latest.insert(0, latest[i])
        if j == len(starts) or starts[j] > high:
            new_starts.append(high)
            new_latest.append(after)
        starts[i:j] = new_starts
        latest[i:j] = new_latest


Dependency = tuple[int, int, int, int]
"""Index of the latest conflicting earlier instruction in each queue (by `Queue` value); -1: none, or its own queue."""


def dependencies(instructions: Sequence[Instruction], target: Target) -> list[Dependency]:
    """For each instruction, the latest earlier instruction of every other queue that conflicts with it.

    Since queues are in order, an instruction that starts after those has seen all earlier conflicting ones complete.
    """
    readers: dict[str, dict[Queue, _LatestByRange]] = {space: {} for space in SPACES}
    writers: dict[str, dict[Queue, _LatestByRange]] = {space: {} for space in SPACES}
    found: list[Dependency] = []
    for index, instruction in enumerate(instructions):
        queue = instruction.spec.queue
        latest = [-1, -1, -1, -1]
        touched = [a for a in accesses(instruction, target) if a.low < a.high]
        for space, low, high, write in touched:
            for maps in (writers, readers) if write else (writers,):
                for other, pieces in maps[space].items():
                    if other is not queue:
                        latest[other] = max(latest[other], pieces.latest(low, high))
        for space, low, high, write in touched:
            maps = (writers if write else readers)[space]
            if queue not in maps:
                maps[queue] = _LatestByRange()
            maps[queue].touch(low, high, index)
        found.append((latest[0], latest[1], latest[2], latest[3]))
    return found


def check_semaphores(instructions: Sequence[Instruction]) -> None:
    """Every wait must name a signal that stands earlier in program order, so that no run can deadlock.

    Raises `UserError` naming those that do not. One signal too few makes all later waits of a queue fail too, so a wait
    is only named if it lacks more signals than those of the queue before it.
    """
    signals = [0, 0, 0, 0]
    lacking = dict.fromkeys(((waiter, queue) for waiter in Queue for queue, _ in WAITS), 0)
    causes: list[str] = []
    for index, instruction in enumerate(instructions):
        for queue, name in WAITS:
            pair = instruction.spec.queue, queue
            if instruction[name] - signals[queue] > lacking[pair]:
                lacking[pair] = instruction[name] - signals[queue]
                causes.append(
                    f"{describe(instructions, index)}: waits for {queue.name.lower()}>={instruction[name]}, "
                    f"but only {signals[queue]} signals of that queue stand before it"
                )
        signals[instruction.spec.queue] += instruction["signal"]
    if causes:
        raise UserError(causes, "a wait must be satisfied by earlier instructions")


def clocks(instructions: Sequence[Instruction]) -> list[tuple[int, int, int, int]]:
    """Vector clocks: for each instruction, how many instructions of every queue have completed when it starts.

    The waits must have passed `check_semaphores`.
    """
    current = [[0, 0, 0, 0] for _ in Queue]
    at_signal: list[list[list[int]]] = [[] for _ in Queue]
    found: list[tuple[int, int, int, int]] = []
    for instruction in instructions:
        queue = instruction.spec.queue
        clock = current[queue]
        values = instruction.values
        for other, name in WAITS:
            count = values[name]
            if count:
                clock = [max(a, b) for a, b in zip(clock, at_signal[other][count - 1], strict=True)]
        found.append((clock[0], clock[1], clock[2], clock[3]))
        done = list(clock)
        done[queue] += 1
        if values["signal"]:
            at_signal[queue].append(done)
        current[queue] = done
    return found


def check_races(program: Program) -> None:
    """Check that semaphores order all conflicting instructions as `.text` does and that no wait can hang.

    Raises `UserError` with one cause for each instruction and queue whose latest conflicting instruction may still run.
    """
    instructions = program.instructions
    check_semaphores(instructions)
    position: list[int] = []
    lengths = [0, 0, 0, 0]
    for instruction in instructions:
        position.append(lengths[instruction.spec.queue])
        lengths[instruction.spec.queue] += 1
    pairs = zip(dependencies(instructions, program.target), clocks(instructions), strict=True)
    causes = [
        _race(instructions, program.target, earlier, index)
        for index, (depends, clock) in enumerate(pairs)
        for earlier, completed in zip(depends, clock, strict=True)
        if earlier >= 0 and position[earlier] >= completed
    ]
    if causes:
        raise UserError(causes, "a wait is missing between the two instructions")


def describe(instructions: Sequence[Instruction], index: int) -> str:
    """Name an instruction in a diagnostic: its number and its assembly text."""
    from isa.assembly import format_instruction  # only a faulty program pays for the assembler

    return f"instruction {index} '{format_instruction(instructions[index])}'"


def _race(instructions: Sequence[Instruction], target: Target, earlier: int, later: int) -> str:
    first, second = instructions[earlier], instructions[later]
    for a in accesses(first, target):
        for b in accesses(second, target):
            low, high = max(a.low, b.low), min(a.high, b.high)
            if a.space == b.space and low < high and (a.write or b.write):
                what = f"{'writes' if b.write else 'reads'} {b.space}[{low:#x}, {high:#x})"
                other = f"may still be {'writing' if a.write else 'reading'} it"
                return f"race: {describe(instructions, later)} {what} while {describe(instructions, earlier)} {other}"
    raise AssertionError("a dependency without a conflict")
