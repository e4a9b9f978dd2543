"""What a run leaves behind for timing, energy and statistics: durations, DRAM requests and event counts.

The functional machine calls one method of `Recorder` for each instruction, with the data-dependent quantities of image
0. Formulas are explained in docs/performance.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from emulator.kernels import Bytes
from emulator.streaming import Bitmaps, Streamed, stream
from isa.formats import PoolKind, Scratchpad, TensorFormat
from isa.layout import (
    WEIGHT_LANES,
    WEIGHT_TABLE_BYTES,
    RecordLayout,
    TensorLayout,
    ceil_div,
    coefficient_bytes,
    requant_block_bytes,
)
from isa.program import Program

Longs: TypeAlias = NDArray[np.int64]
_Values = Mapping[str, int]


class Count(IntEnum):
    """Columns of `Recorder.counts`."""

    MULTIPLICATIONS = 0
    MATCHES = 1
    CA_WORK = 2
    CA_BROADCAST = 3
    CA_FIFO = 4
    CA_MAC = 5
    CA_ADDER_TREE = 6
    CA_IMBALANCE = 7
    CA_ISSUE = 8
    ACT_READ = 9
    ACT_WRITE = 10
    OUT_READ = 11
    OUT_WRITE = 12
    COEF_READ = 13
    COEF_WRITE = 14
    PAR_READ = 15
    PAR_WRITE = 16
    PSUM_READ = 17
    PSUM_WRITE = 18
    DRAM_ACTIVATIONS_IN = 19
    DRAM_ACTIVATIONS_OUT = 20
    DRAM_WEIGHTS = 21
    DRAM_PARAMETERS = 22
    CA_ADD_INT8 = 23
    CA_ADD_INT32 = 24
    MAC_MUL_INT8 = 25
    MAC_ADD_INT32 = 26
    POST_ADD_INT8 = 27
    POST_ADD_INT32 = 28
    POST_MUL_INT32 = 29
    INPUT_NONZEROS = 30
    INPUT_VALUES = 31
    WEIGHT_NONZEROS = 32
    WEIGHT_VALUES = 33


_POST_OPERATIONS = {
    # per value: (int8 additions or comparisons, int32 additions, int32 multiplications)
    "requant": (2, 2, 1),
    "add": (2, 2, 2),
    "average": (2, 1, 1),
}


class Recorder:
    """Filled by one functional run.

    `cycles` [n]: compute and post: duration, start-up included; load and store: cycles of the scratchpad side.
    `counts` [n, len(Count)]. DRAM requests of instruction i are `requests[i]`: (addresses, bytes).
    """

    def __init__(self, program: Program):
        n = len(program.instructions)
        self.program = program
        self.target = program.target
        self.cycles: Longs = np.zeros(n, np.int64)
        self.counts: Longs = np.zeros((n, len(Count)), np.int64)
        self.requests: list[tuple[Longs, Longs]] = [(np.empty(0, np.int64), np.empty(0, np.int64))] * n
        self._chunk = program.target.array.chunk

    # Loads and stores -------------------------------------------------------------------------------------------------

    def load_act(self, index: int, v: _Values, moved: Longs | None, written: int) -> None:
        """`moved`: bytes of each BITMAP line, None for a RAW tensor; `written`: bytes of bitmaps and values in ACT."""
        fetched = self._transfer(index, v, moved, Count.DRAM_ACTIVATIONS_IN)
        self.cycles[index] = ceil_div(max(fetched, written), self.target.dma.bytes_per_cycle)
        positions = v["h"] * v["w"]
        row = self.counts[index]
        row[Count.ACT_WRITE] = written
        row[Count.INPUT_VALUES] = positions * v["cn"]
        records = RecordLayout(v["cn"], self._chunk)
        row[Count.INPUT_NONZEROS] = written - positions * records.chunks * records.bitmap_bytes

    def load_coef(self, index: int, v: _Values, nonzeros: int) -> None:
        """`nonzeros`: coefficients that are not zero."""
        dma = self.target.dma
        size = coefficient_bytes(v["kn"], v["v"], v["c"], self._chunk)
        values = v["kn"] * v["v"] * v["c"]
        self.cycles[index] = max(
            ceil_div(max(v["size"], size), dma.bytes_per_cycle), ceil_div(values, dma.decode_coefficients)
        )
        self._request(index, Count.DRAM_WEIGHTS, np.array([v["dram"]]), np.array([v["size"]]))
        row = self.counts[index]
        row[Count.COEF_WRITE] = size
        row[Count.WEIGHT_NONZEROS] = nonzeros
        row[Count.WEIGHT_VALUES] = values

    def load_bytes(self, index: int, v: _Values, nonzeros: int) -> None:
        """`nonzeros`: bytes that are not zero."""
        self.cycles[index] = ceil_div(v["size"], self.target.dma.bytes_per_cycle)
        weights = v["pad"] == Scratchpad.COEF
        kind = Count.DRAM_WEIGHTS if weights else Count.DRAM_PARAMETERS
        self._request(index, kind, np.array([v["dram"]]), np.array([v["size"]]))
        row = self.counts[index]
        row[Count.COEF_WRITE if weights else Count.PAR_WRITE] = v["size"]
        if weights:
            row[Count.WEIGHT_NONZEROS] = nonzeros
            row[Count.WEIGHT_VALUES] = v["size"]

    def load_par(self, index: int, v: _Values) -> None:
        size = requant_block_bytes(v["kn"])
        self.cycles[index] = ceil_div(max(v["size"], size), self.target.dma.bytes_per_cycle)
        self._request(index, Count.DRAM_PARAMETERS, np.array([v["dram"]]), np.array([v["size"]]))
        self.counts[index, Count.PAR_WRITE] = size

    def load_weights(self, index: int, v: _Values, nonzeros: int) -> None:
        """`nonzeros`: weights that are not zero."""
        values = v["count"]
        transfer = ceil_div(max(v["size"] + WEIGHT_TABLE_BYTES, values), self.target.dma.bytes_per_cycle)
        self.cycles[index] = max(
            transfer, ceil_div(values, self.target.dma.decode_coefficients), ceil_div(nonzeros, WEIGHT_LANES)
        )
        addresses, sizes = np.array([v["table"], v["dram"]]), np.array([WEIGHT_TABLE_BYTES, v["size"]])
        self._request(index, Count.DRAM_WEIGHTS, addresses, sizes)
        row = self.counts[index]
        row[Count.COEF_WRITE] = values
        row[Count.WEIGHT_NONZEROS] = nonzeros
        row[Count.WEIGHT_VALUES] = values

    def store_act(self, index: int, v: _Values, moved: Longs | None) -> None:
        """`moved`: bytes of each BITMAP line, None for a RAW tensor."""
        written = self._transfer(index, v, moved, Count.DRAM_ACTIVATIONS_OUT)
        plain = v["h"] * v["w"] * v["cn"]
        self.cycles[index] = ceil_div(max(plain, written), self.target.dma.bytes_per_cycle)
        self.counts[index, Count.OUT_READ] = plain

    def _transfer(self, index: int, v: _Values, moved: Longs | None, kind: Count) -> int:
        """Record the DRAM requests of a tensor region; bytes moved."""
        rows = np.arange(v["y"], v["y"] + v["h"])
        if moved is None:
            columns = np.arange(v["x"], v["x"] + v["w"])
            addresses = (rows[:, None] * v["tensor_w"] + columns) * v["tensor_c"] + v["c"]
            sizes = np.full(addresses.shape, v["cn"])
        else:
            layout = TensorLayout(
                v["y"] + v["h"], v["tensor_w"], v["tensor_c"], TensorFormat.BITMAP, v["segment"], self._chunk
            )
            chunks = v["c"] // self._chunk + np.arange(ceil_div(v["cn"], self._chunk))
            segments = np.arange(v["x"] // v["segment"], (v["x"] + v["w"] - 1) // v["segment"] + 1)
            lines = (rows[:, None] * layout.records.chunks + chunks)[:, :, None] * layout.segments + segments
            addresses, sizes = lines * layout.line_bytes, moved
        self._request(index, kind, v["dram"] + addresses.reshape(-1), sizes.reshape(-1))
        return int(sizes.sum())

    def _request(self, index: int, kind: Count, addresses: Longs, sizes: Longs) -> None:
        joins = addresses[1:] == addresses[:-1] + sizes[:-1]
        if joins.any():
            first = np.flatnonzero(np.concatenate([[True], ~joins]))
            sizes = np.add.reduceat(sizes, first)
            addresses = addresses[first]
        self.requests[index] = (addresses, sizes)
        burst = self.target.dram.burst_bytes
        bursts = (addresses + sizes - 1) // burst - addresses // burst + 1
        self.counts[index, kind] = int(bursts.sum()) * burst

    # Convolutions -----------------------------------------------------------------------------------------------------

    def conv_dense(self, index: int, v: _Values) -> None:
        """Cycles depend on the geometry alone."""
        a = self.target.array
        blocks = a.blocks // v["groups"]
        rows = ceil_div(v["oh"], v["groups"])
        inputs = v["r"] * v["s"] * v["cpg"]
        steps = ceil_div(inputs, a.slices * a.macs)
        passes = ceil_div(v["kn"], blocks)
        self.cycles[index] = a.issue_cycles + rows * v["ow"] * passes * steps
        values = v["oh"] * v["ow"] * v["kn"]
        taps = window_taps(v)
        row = self.counts[index]
        row[Count.ACT_READ] = taps * v["cpg"] * max(passes, ceil_div(v["kn"], v["kpg"]))
        row[Count.COEF_READ] = v["kn"] * inputs * v["groups"]
        row[Count.PSUM_WRITE] = 4 * values * steps
        row[Count.PSUM_READ] = 4 * values * (steps - 1 + v["accumulate"])
        self._multiply(index, taps * v["cpg"] * v["kn"], 1)

    def conv_dw(self, index: int, v: _Values) -> None:
        """Cycles depend on the geometry alone."""
        a = self.target.array
        values = v["oh"] * v["ow"] * v["kn"]
        slices = a.blocks * a.slices
        window = v["r"] * v["s"]
        self.cycles[index] = a.issue_cycles + ceil_div(values, slices) * ceil_div(window, a.macs)
        products = window_taps(v) * v["kn"]
        row = self.counts[index]
        row[Count.ACT_READ] = products
        row[Count.COEF_READ] = window * v["kn"] * ceil_div(min(slices, values), v["kn"])
        row[Count.PSUM_WRITE] = 4 * values
        row[Count.PSUM_READ] = 4 * values * v["accumulate"]
        self._multiply(index, products, 1)

    def conv_esc(self, index: int, v: _Values, act: Bytes, coef: Bytes) -> None:
        """`act`: the records of the tile of image 0; `coef`: the expanded coefficients."""
        a = self.target.array
        records = RecordLayout(v["ic"], self._chunk)
        chunks, width = records.chunks, records.bitmap_bytes
        bits = _bitmaps(act.reshape(-1, chunks, records.record_bytes)[:, :, :width])
        masks = _bitmaps(coef.reshape(v["kn"], v["v"], chunks, 2, width)[:, :, :, 0])
        counts = np.zeros(len(Streamed), np.int64)
        cycles = stream(
            bits,
            masks,
            v["ih"],
            v["iw"],
            v["r"],
            v["s"],
            v["sy"],
            v["sx"],
            v["pt"],
            v["pl"],
            v["oh"],
            v["ow"],
            v["groups"],
            a.blocks,
            a.slices,
            a.macs,
            a.ca_lanes,
            a.fifo_depth,
            a.ic_fifo_depth,
            ceil_div(chunks, a.broadcast_chunks),
            width,
            counts,
        )
        self.cycles[index] = a.issue_cycles + cycles
        row = self.counts[index]
        row[Count.CA_WORK : Count.CA_ADDER_TREE + 1] = counts[Streamed.WORK : Streamed.ADDER_TREE + 1]
        slices = a.blocks * a.slices
        row[Count.CA_IMBALANCE] = slices * cycles - int(row[Count.CA_WORK : Count.CA_ADDER_TREE + 1].sum())
        row[Count.CA_ISSUE] = slices * a.issue_cycles
        row[Count.MATCHES] = counts[Streamed.MATCHES]
        row[Count.CA_ADD_INT8] = counts[Streamed.MATCHES]
        row[Count.CA_ADD_INT32] = counts[Streamed.WORK]
        row[Count.ACT_READ] = counts[Streamed.ACT_BYTES]
        rounds = ceil_div(v["v"], a.slices)
        slots = a.blocks // v["groups"] * max(1, a.slices // v["v"])
        stationary = rounds * ceil_div(v["kn"], slots) == 1
        row[Count.COEF_READ] = coef.size * (v["groups"] if stationary else int(counts[Streamed.POSITIONS]))
        row[Count.PAR_READ] = v["v"] * v["r"] * v["s"] * v["groups"]
        taps = int(counts[Streamed.TAPS])
        row[Count.PSUM_WRITE] = 4 * taps * v["kn"] * rounds
        row[Count.PSUM_READ] = row[Count.PSUM_WRITE] - 4 * v["oh"] * v["ow"] * v["kn"]
        self._multiply(index, taps * v["kn"] * v["v"], ceil_div(a.ic_bits, 8))

    def _multiply(self, index: int, products: int, factor_bytes: int) -> None:
        row = self.counts[index]
        row[Count.MULTIPLICATIONS] = products
        row[Count.MAC_MUL_INT8] = products * factor_bytes
        row[Count.MAC_ADD_INT32] = products

    # Post unit --------------------------------------------------------------------------------------------------------

    def post_requant(self, index: int, v: _Values, residual_nonzeros: int) -> None:
        """`residual_nonzeros`: values of the residual tile that are not zero."""
        positions = v["oh"] * v["ow"]
        values = positions * v["kn"]
        self._post(index, values, values)
        row = self.counts[index]
        row[Count.PSUM_READ] = 4 * values
        held = v["kn"] <= self.target.post.lanes
        row[Count.PAR_READ] = requant_block_bytes(v["kn"]) * (1 if held else positions) + v["lut"] * values
        self._operate(index, "requant", values)
        if v["add"]:
            row[Count.ACT_READ] = self._record_bytes(positions, v["res_c"], residual_nonzeros)
            self._operate(index, "add", values)

    def post_add(self, index: int, v: _Values, nonzeros: int) -> None:
        """`nonzeros`: values of both tiles that are not zero."""
        positions = v["oh"] * v["ow"]
        values = positions * v["kn"]
        self._post(index, values, values)
        self.counts[index, Count.ACT_READ] = self._record_bytes(2 * positions, v["kn"], nonzeros)
        self._operate(index, "add", values)

    def post_map(self, index: int, v: _Values) -> None:
        """Cycles depend on the geometry alone."""
        values = v["oh"] * v["ow"] * v["kn"]
        self._post(index, values, values)
        rows = _inside(v["oh"], v["sy"], v["dy"], v["ih"])
        columns = _inside(v["ow"], v["sx"], v["dx"], v["iw"])
        self.counts[index, Count.ACT_READ] = rows * columns * _inside(v["kn"], 1, v["dc"], v["ic"])
        self.counts[index, Count.PAR_READ] = v["lut"] * values

    def post_pool(self, index: int, v: _Values) -> None:
        """Cycles depend on the geometry alone."""
        values = v["oh"] * v["ow"] * v["kn"]
        self._post(index, values * v["r"] * v["s"], values)
        taps = window_taps(v) * v["kn"]
        row = self.counts[index]
        row[Count.ACT_READ] = taps
        if v["kind"] == PoolKind.AVERAGE:
            row[Count.PAR_READ] = 4 * v["oh"] * v["ow"]
            row[Count.POST_ADD_INT32] = taps
            self._operate(index, "average", values)
        else:
            row[Count.POST_ADD_INT8] = taps

    def _post(self, index: int, lane_cycles: int, values: int) -> None:
        post = self.target.post
        self.cycles[index] = post.issue_cycles + ceil_div(lane_cycles, post.lanes)
        self.counts[index, Count.OUT_WRITE] = values

    def _operate(self, index: int, what: str, values: int) -> None:
        compare, add, multiply = _POST_OPERATIONS[what]
        row = self.counts[index]
        row[Count.POST_ADD_INT8] += compare * values
        row[Count.POST_ADD_INT32] += add * values
        row[Count.POST_MUL_INT32] += multiply * values

    def _record_bytes(self, positions: int, c: int, nonzeros: int) -> int:
        records = RecordLayout(c, self._chunk)
        return positions * records.chunks * records.bitmap_bytes + nonzeros


def window_taps(v: _Values) -> int:
    """Pairs (output position, window tap) that read a position inside the tile."""
    rows = sum(_overlap(y * v["sy"] - v["pt"], v["r"], v["ih"]) for y in range(v["oh"]))
    return rows * sum(_overlap(x * v["sx"] - v["pl"], v["s"], v["iw"]) for x in range(v["ow"]))


def _overlap(start: int, length: int, size: int) -> int:
    return max(0, min(start + length, size) - max(start, 0))


def _inside(outputs: int, stride: int, offset: int, size: int) -> int:
    """How many i < outputs have 0 <= i*stride + offset < size."""
    return max(0, min(outputs, (size - 1 - offset) // stride + 1) - max(0, ceil_div(-offset, stride)))


def _bitmaps(data: Bytes) -> Bitmaps:
    """uint64 [...] of little-endian bitmaps [..., bytes]."""
    wide = np.zeros((*data.shape[:-1], 8), np.uint8)
    wide[..., : data.shape[-1]] = data
    return wide.view("<u8")[..., 0]
