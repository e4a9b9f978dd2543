"""Which bytes every instruction reads and writes exactly, and the proof that none is out of place or undefined.

Programs have no control flow, so the bytes that are touched do not depend on data (the values of a compressed record
do, its slot does not). One pass over all instructions before the first runs therefore proves, for every input: no
access leaves its memory, constants are read from `.rodata` only and activations live in the arena only, and nothing is
read that has not been written. Kernels rely on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from emulator.jit import jit
from isa.errors import UserError
from isa.hazards import SPACES, describe, window_counts
from isa.instructions import Instruction, PoolKind, Scratchpad, TensorFormat
from isa.layout import (
    ADD_BLOCK_BYTES,
    TABLE_BYTES,
    WEIGHT_TABLE_BYTES,
    RecordLayout,
    TensorLayout,
    coefficient_bytes,
    requant_block_bytes,
)
from isa.program import Program, TensorRef

Longs: TypeAlias = NDArray[np.int64]
_Values = Mapping[str, int]

_ACT, _OUT, _COEF, _PAR, _PSUM, _DRAM = range(6)
_RODATA = 6  # constants: DRAM below the arena
_REPORTED = 8


class Extent(NamedTuple):
    """Bytes base + i*outer_stride + j*inner_stride + [0, run) of a memory, i < outer, j < inner."""

    space: int
    write: bool
    base: int
    outer: int
    outer_stride: int
    inner: int
    inner_stride: int
    run: int


def _linear(space: int, write: bool, base: int, size: int) -> Extent:
    return Extent(space, write, base, 1, 0, 1, 0, size)


def _records(write: bool, base: int, positions: int, c: int, chunk: int) -> Extent:
    return _linear(_ACT, write, base, positions * RecordLayout(c, chunk).position_bytes)


def _tensor(v: _Values, write: bool, chunk: int) -> Extent:
    if v["format"] == TensorFormat.RAW:
        row = v["tensor_w"] * v["tensor_c"]
        base = v["dram"] + v["y"] * row + v["x"] * v["tensor_c"] + v["c"]
        return Extent(_DRAM, write, base, v["h"], row, v["w"], v["tensor_c"], v["cn"])
    layout = TensorLayout(v["y"] + v["h"], v["tensor_w"], v["tensor_c"], TensorFormat.BITMAP, v["segment"], chunk)
    first = layout.line_offset(v["y"], v["c"] // chunk, v["x"] // v["segment"])
    lines = (v["x"] + v["w"] - 1) // v["segment"] - v["x"] // v["segment"] + 1
    row = layout.records.chunks * layout.segments * layout.line_bytes
    chunks = RecordLayout(v["cn"], chunk).chunks
    run = lines * layout.line_bytes
    return Extent(_DRAM, write, v["dram"] + first, v["h"], row, chunks, layout.segments * layout.line_bytes, run)


def _psum(v: _Values, write: bool) -> Extent:
    return Extent(_PSUM, write, v["psum"] + 4 * v["k"], 1, 0, v["oh"] * v["ow"], 4 * v["kt"], 4 * v["kn"])


def _out(v: _Values, write: bool, h: int, w: int, c: int) -> Extent:
    return Extent(_OUT, write, v["out"], h, v["out_w"] * v["out_c"], w, v["out_c"], c)


def _load_act(v: _Values, chunk: int) -> Iterator[Extent]:
    yield _tensor(v, False, chunk)
    yield _records(True, v["act"], v["h"] * v["w"], v["cn"], chunk)


def _load_coef(v: _Values, chunk: int) -> Iterator[Extent]:
    yield _linear(_RODATA, False, v["dram"], v["size"])
    yield _linear(_COEF, True, v["coef"], coefficient_bytes(v["kn"], v["v"], v["c"], chunk))


def _load_bytes(v: _Values, chunk: int) -> Iterator[Extent]:
    yield _linear(_RODATA, False, v["dram"], v["size"])
    yield _linear(_COEF if v["pad"] == Scratchpad.COEF else _PAR, True, v["dst"], v["size"])


def _load_par(v: _Values, chunk: int) -> Iterator[Extent]:
    yield _linear(_RODATA, False, v["dram"], v["size"])
    yield _linear(_PAR, True, v["dst"], requant_block_bytes(v["kn"]))


def _load_weights(v: _Values, chunk: int) -> Iterator[Extent]:
    yield _linear(_RODATA, False, v["dram"], v["size"])
    yield _linear(_RODATA, False, v["table"], WEIGHT_TABLE_BYTES)
    yield _linear(_COEF, True, v["dst"], v["count"])


def _conv(v: _Values, chunk: int, constants: Sequence[Extent], accumulate: int = 0) -> Iterator[Extent]:
    yield _records(False, v["act"], v["ih"] * v["iw"], v["ic"], chunk)
    yield from constants
    if accumulate:
        yield _psum(v, False)
    yield _psum(v, True)


def _conv_dense(v: _Values, chunk: int) -> Iterator[Extent]:
    weights = _linear(_COEF, False, v["coef"], v["kn"] * v["r"] * v["s"] * v["cpg"])
    return _conv(v, chunk, [weights], v["accumulate"])


def _conv_dw(v: _Values, chunk: int) -> Iterator[Extent]:
    weights = _linear(_COEF, False, v["coef"], v["kn"] * v["r"] * v["s"])
    return _conv(v, chunk, [weights], v["accumulate"])


def _conv_esc(v: _Values, chunk: int) -> Iterator[Extent]:
    coefficients = _linear(_COEF, False, v["coef"], coefficient_bytes(v["kn"], v["v"], v["ic"], chunk))
    bases = _linear(_PAR, False, v["basis"], v["v"] * v["r"] * v["s"])
    return _conv(v, chunk, [coefficients, bases])


def _post_requant(v: _Values, chunk: int) -> Iterator[Extent]:
    yield _psum(v, False)
    yield _linear(_PAR, False, v["par"], requant_block_bytes(v["kn"]))
    if v["lut"]:
        yield _linear(_PAR, False, v["table"], TABLE_BYTES)
    if v["add"]:
        yield _records(False, v["res"], v["oh"] * v["ow"], v["res_c"], chunk)
        yield _linear(_PAR, False, v["addpar"], ADD_BLOCK_BYTES)
    yield _out(v, True, v["oh"], v["ow"], v["kn"])


def _post_add(v: _Values, chunk: int) -> Iterator[Extent]:
    yield _records(False, v["act"], v["oh"] * v["ow"], v["kn"], chunk)
    yield _records(False, v["res"], v["oh"] * v["ow"], v["kn"], chunk)
    yield _linear(_PAR, False, v["addpar"], ADD_BLOCK_BYTES)
    yield _out(v, True, v["oh"], v["ow"], v["kn"])


def _post_map(v: _Values, chunk: int) -> Iterator[Extent]:
    yield _records(False, v["act"], v["ih"] * v["iw"], v["ic"], chunk)
    if v["lut"]:
        yield _linear(_PAR, False, v["table"], TABLE_BYTES)
    yield _out(v, True, v["oh"], v["ow"], v["kn"])


def _post_pool(v: _Values, chunk: int) -> Iterator[Extent]:
    yield _records(False, v["act"], v["ih"] * v["iw"], v["ic"], chunk)
    if v["kind"] == PoolKind.AVERAGE:
        yield _linear(_PAR, False, v["par"], 4 * multipliers(v))
    yield _out(v, True, v["oh"], v["ow"], v["kn"])


def multipliers(v: _Values) -> int:
    """Entries of the multiplier table that an average pooling can reach."""
    return window_counts(v)[1] - v["count0"] + 1


def _store_act(v: _Values, chunk: int) -> Iterator[Extent]:
    yield _out(v, False, v["h"], v["w"], v["cn"])
    yield _tensor(v, True, chunk)


def _end(_: _Values, __: int) -> Iterator[Extent]:
    yield from ()


_EXTENTS: Mapping[str, Callable[[_Values, int], Iterator[Extent]]] = {
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


def extents(instruction: Instruction, chunk: int) -> list[Extent]:
    """Exact bytes that an instruction reads, then those that it writes. It must be legal by itself."""
    return list(_EXTENTS[instruction.spec.mnemonic](instruction.values, chunk))


@jit
def _first_undefined(rows: Longs, maps: NDArray[np.uint8], starts: Longs, faults: Longs) -> int:
    """Replay all accesses on one map of written bytes; `faults` [n, 2] receives (row, byte address)."""
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


def _port(tensor: TensorRef, write: bool, chunk: int) -> Extent:
    raw = tensor.format is TensorFormat.RAW
    size = tensor.h * tensor.w * tensor.c if raw else tensor.layout(chunk).nbytes
    return _linear(_DRAM, write, tensor.address, size)


def _all_extents(program: Program) -> Iterator[tuple[str | int, Extent]]:
    """All accesses in program order, each with who makes it: an instruction's number or words."""
    chunk = program.target.array.chunk
    for port in program.inputs:
        yield f"input '{port.name}'", _port(port.tensor, True, chunk)
    for index, instruction in enumerate(program.instructions):
        for extent in extents(instruction, chunk):
            yield index, extent
    for port in program.outputs:
        yield f"output '{port.name}'", _port(port.tensor, False, chunk)


def check_accesses(program: Program) -> None:
    """Raise `UserError` naming the instructions that leave a memory or read what nothing has written."""
    pads = program.target.scratchpad
    low = [0, 0, 0, 0, 0, program.arena_base, 0]
    high = [pads.act, pads.out, pads.coef, pads.par, pads.psum, program.dram_bytes, len(program.rodata)]
    names = [*SPACES[:5], "the activation arena", ".rodata"]

    def who(owner: str | int) -> str:
        return owner if isinstance(owner, str) else describe(program.instructions, owner)

    rows: list[Extent] = []
    owners: list[str | int] = []
    causes: list[str] = []
    for owner, e in _all_extents(program):
        end = e.base + (e.outer - 1) * e.outer_stride + (e.inner - 1) * e.inner_stride + e.run
        if e.base < low[e.space] or end > high[e.space]:
            causes.append(
                f"{who(owner)}: {'writes' if e.write else 'reads'} [{e.base:#x}, {end:#x}), "
                f"outside {names[e.space]} [{low[e.space]:#x}, {high[e.space]:#x})"
            )
        if e.space != _RODATA:
            rows.append(e)
            owners.append(owner)
    if causes:
        raise UserError(causes[:_REPORTED])
    sizes = [high[s] - low[s] for s in range(6)]
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64) - np.array(low[:6], np.int64)
    table = np.array(rows, np.int64).reshape(-1, len(Extent._fields))
    faults = np.zeros((_REPORTED, 2), np.int64)
    found = _first_undefined(table, np.zeros(sum(sizes), np.uint8), starts, faults)
    for fault in faults[:found]:
        row, address = int(fault[0]), int(fault[1])
        what = f"reads {SPACES[rows[row].space]}[{address:#x}], which nothing has written"
        causes.append(f"{who(owners[row])}: {what}")
    if causes:
        raise UserError(causes)
