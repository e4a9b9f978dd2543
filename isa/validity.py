"""The proof that no instruction touches bytes that are out of place or undefined.

Programs have no control flow, so the bytes that are touched do not depend on data (the bytes of a compressed line do,
its slot does not). One pass over the extents of all instructions before the first runs therefore proves, for every
input: no access leaves its memory, constants are read from `.rodata` only and activations live in the arena only, and
nothing is read that has not been written. Kernels rely on it.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from isa.code import Touched
from isa.errors import UserError
from isa.formats import Space, TensorFormat
from isa.hazards import describe
from isa.jit import borrowing
from isa.program import Program, TensorRef

Longs: TypeAlias = NDArray[np.int64]

_REPORTED = 8
_NAMES = ("act", "coef", "par", "psum", "the activation arena", ".rodata")


@borrowing
def _first_undefined(rows: Longs, maps: NDArray[np.uint8], starts: Longs, faults: Longs) -> int:
    """Replay all accesses on one map of written bytes; `faults` [n, 2] receives (row, byte address).

    `rows` [m, 8]: space, write, base, outer, outer stride, inner, inner stride, run (`isa.extents.Extent`).
    """
    found = 0
    for e in range(rows.shape[0]):
        space, write, base, outer, outer_stride, inner, inner_stride, run = rows[e]
        if inner == 1 or inner_stride == run:
            run *= inner
            inner = 1
            if outer == 1 or outer_stride == run:
                run *= outer
                outer = 1
        for i in range(outer):
            for j in range(inner):
                at = starts[space] + base + i * outer_stride + j * inner_stride
                if write:
                    maps[at : at + run] = 1
                    continue
                defined = 1
                for b in range(at, at + run):
                    defined &= maps[b]
                if not defined and found < faults.shape[0] and (found == 0 or faults[found - 1, 0] != e):
                    faults[found, 0] = e
                    for b in range(at, at + run):
                        if not maps[b]:
                            faults[found, 1] = b - starts[space]
                            break
                    found += 1
    return found


def _port(number: int, tensor: TensorRef, write: bool, chunk: int) -> tuple[int, ...]:
    raw = tensor.format is TensorFormat.RAW
    size = tensor.h * tensor.w * tensor.c if raw else tensor.layout(chunk).nbytes
    return number, Space.ARENA, int(write), tensor.address, 1, 0, 1, 0, size


def _all_extents(program: Program) -> Touched:
    """All accesses in program order. Input i has the number -1 - i, output i the one that follows the instructions."""
    chunk = program.target.array.chunk
    inputs = [_port(-1 - i, port.tensor, True, chunk) for i, port in enumerate(program.inputs)]
    after = len(program.instructions)
    outputs = [_port(after + i, port.tensor, False, chunk) for i, port in enumerate(program.outputs)]
    width = len(Touched._fields)
    ports = (np.array(rows, np.int64).reshape(-1, width).T for rows in (inputs, outputs))
    before, behind = ports
    return Touched(*np.concatenate([before, np.stack(program.touched), behind], axis=1))


def _who(program: Program, number: int) -> str:
    if number < 0:
        return f"input '{program.inputs[-1 - number].name}'"
    after = number - len(program.instructions)
    return f"output '{program.outputs[after].name}'" if after >= 0 else describe(program.instructions, number)


def check_accesses(program: Program) -> None:
    """Raise `UserError` naming the instructions that leave a memory or read what nothing has written."""
    pads = program.target.scratchpad
    low = np.array([0, 0, 0, 0, program.arena_base, 0], np.int64)
    high = np.array([pads.act, pads.coef, pads.par, pads.psum, program.dram_bytes, len(program.rodata)])
    table = _all_extents(program)
    end = table.end
    causes: list[str] = []
    for i in np.flatnonzero((table.base < low[table.space]) | (end > high[table.space]))[:_REPORTED].tolist():
        space = int(table.space[i])
        causes.append(
            f"{_who(program, int(table.number[i]))}: {'writes' if table.write[i] else 'reads'} "
            f"[{int(table.base[i]):#x}, {int(end[i]):#x}), "
            f"outside {_NAMES[space]} [{int(low[space]):#x}, {int(high[space]):#x})"
        )
    if causes:
        raise UserError(causes)
    rows = np.stack(table, axis=1)[table.space != Space.CONSTANTS]
    sizes = (high - low)[: Space.CONSTANTS]
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64) - low[: Space.CONSTANTS]
    faults = np.zeros((_REPORTED, 2), np.int64)
    written = np.zeros(int(sizes.sum()), np.uint8)
    found = _first_undefined(np.ascontiguousarray(rows[:, 1:]), written, starts, faults)
    for row, address in faults[:found].tolist():
        number, space = int(rows[row, 0]), Space(int(rows[row, 1]))
        what = f"reads {space.address_space}[{address:#x}], which nothing has written"
        causes.append(f"{_who(program, number)}: {what}")
    if causes:
        raise UserError(causes)
