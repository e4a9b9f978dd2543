"""Eyeriss: a row-stationary array whose mapping is searched layer by layer.

A set of R processing elements in a column convolves rows of one channel with rows of one filter; e such columns make e
output rows. Sets for r channels and t filters lie side by side, and so do groups of a convolution where there is room.
Each element interleaves p filters and q channels. Zero inputs gate the multiplier: they save energy and no cycles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from escc.baselines.machine import BaselineMachine, BufferAccess, Result, dense_bytes, load
from escc.baselines.work import LayerWork
from isa.layout import ceil_div


@dataclass(frozen=True)
class Mapping:
    """How a layer lies on the array; names as in the paper: n images, e output rows, p filters and q channels of an
    element, r channels and t filters side by side.
    """

    n: int
    e: int
    p: int
    q: int
    r: int
    t: int


@dataclass(frozen=True)
class Shape:
    """One group of a layer as the array sees it; `parts` pieces of the window are convolved one after the other where
    it is taller than the array or wider than the register file of inputs.
    """

    filters: int
    channels: int
    rows: int
    columns: int
    out_rows: int
    out_columns: int
    stride: int
    width: int
    parts: int


@dataclass(frozen=True)
class Eyeriss(BaselineMachine):
    """`rows` x `columns` elements with register files for `input_words`, `filter_words` and `sum_words` values.

    The global buffer of `buffer_bytes` holds inputs of `value_bytes`, `input_copies` of each for loading ahead, and
    partial sums of `sum_bytes`; `sums_per_cycle` of them enter or leave it. `ramp` is the share of cycles on top for
    filling and draining the array. The mapping is the one of least cycles.
    """

    rows: int
    columns: int
    input_words: int
    filter_words: int
    sum_words: int
    buffer_bytes: int
    value_bytes: int
    input_copies: int
    sum_bytes: int
    sums_per_cycle: float
    ramp: float

    @property
    def multipliers(self) -> int:
        return self.rows * self.columns

    def run(self, work: LayerWork, batch: int = 1) -> Result:
        g = work.geometry
        shape = self.shape(work)
        best = self.mapping(shape, batch)
        cycles = self.all_groups(shape, best, batch, g.groups) * (1 + self.ramp) / batch
        inputs = best.n * self.input_bytes(shape, best)
        sums = best.n * self.output_words(shape, best) * self.sum_bytes
        per_image = g.groups * self.passes(shape, best, batch) / batch
        gated = float(work.gated_macs.mean())
        return Result(
            cycles=cycles,
            dram=dense_bytes(work, batch),
            multiplications=gated,
            additions=gated,
            accesses={"buffer": BufferAccess(per_image * (inputs + sums), g.inputs + per_image * sums)},
        )

    def shape(self, work: LayerWork) -> Shape:
        """The layer in pieces that fit."""
        g = work.geometry
        tall, wide = ceil_div(g.kernel[0], self.rows), ceil_div(g.kernel[1], self.input_words)
        return Shape(
            g.filters // g.groups,
            g.channels // g.groups,
            ceil_div(g.kernel[0], tall),
            ceil_div(g.kernel[1], wide),
            g.out_height,
            g.out_width,
            g.strides[0],
            g.width + g.pads[1] + g.pads[3],
            tall * wide,
        )

    def mapping(self, shape: Shape, batch: int) -> Mapping:
        """The mapping of least cycles, among equals that with the least data in the buffer.

        Raises ValueError where not even one row of one channel and filter fits the buffer.
        """
        return _search(self, shape, batch)

    def slots(self, shape: Shape, e: int) -> int:
        """Sets that lie side by side; one of more rows than the array has columns folds."""
        tall = self.rows // shape.rows
        return tall * (self.columns // e) if e <= self.columns else tall // ceil_div(e, self.columns)

    def input_bytes(self, shape: Shape, m: Mapping) -> int:
        """Inputs of one image that a pass reads."""
        return self.value_bytes * m.q * m.r * ((m.e - 1) * shape.stride + shape.rows) * shape.width

    def output_words(self, shape: Shape, m: Mapping) -> int:
        """Partial sums of one image that a pass makes."""
        return m.p * m.t * m.e * shape.out_columns

    def fits(self, shape: Shape, m: Mapping) -> bool:
        """Whether the buffer holds the inputs and partial sums of a pass."""
        return m.n * self._held(shape, m) <= self.buffer_bytes

    def _held(self, shape: Shape, m: Mapping) -> int:
        return self.sum_bytes * self.output_words(shape, m) + self.input_copies * self.input_bytes(shape, m)

    def passes(self, shape: Shape, m: Mapping, batch: int) -> int:
        """Passes of one group for the whole batch."""
        filters, channels = ceil_div(shape.filters, m.p * m.t), ceil_div(shape.channels, m.q * m.r)
        return filters * channels * ceil_div(shape.out_rows, m.e) * ceil_div(batch, m.n) * shape.parts

    def cycles(self, shape: Shape, m: Mapping, batch: int, abreast: int = 1) -> float:
        """Cycles of `abreast` groups side by side for the whole batch, without the ramp."""
        computing = m.n * m.p * m.q * shape.columns * shape.out_columns
        moving = abreast * m.n * self.output_words(shape, m) / self.sums_per_cycle
        return self.passes(shape, m, batch) * max(computing, moving)

    def all_groups(self, shape: Shape, m: Mapping, batch: int, groups: int) -> float:
        """Cycles of all groups, as many side by side as is fastest among those that slots and buffer hold."""
        most = min(self.slots(shape, m.e) // (m.r * m.t), self.buffer_bytes // (m.n * self._held(shape, m)))
        possible = [a for a in _extents(groups) if a <= most]
        return min(ceil_div(groups, a) * self.cycles(shape, m, batch, a) for a in possible)


@dataclass(frozen=True)
class EyerissChip(Eyeriss):
    """The mappings of the fabricated chip: reading inputs as few times as possible comes before speed.

    Its published mappings interleave `interleaved` filters in an element, let output rows fill the columns of the
    array, then filters the slots that are left, and take channels last.
    """

    interleaved: int

    def mapping(self, shape: Shape, batch: int) -> Mapping:
        p = min(self.interleaved, shape.filters)
        e = self._most(shape, [Mapping(1, e, p, 1, 1, 1) for e in range(1, min(shape.out_rows, self.columns) + 1)]).e
        slots = self.slots(shape, e)
        sets = min(slots, ceil_div(shape.filters, p))
        t = self._most(shape, [Mapping(1, e, p, 1, 1, t) for t in range(1, sets + 1)]).t
        most = min(self.input_words, self.filter_words // p) // shape.columns
        found = (
            Mapping(n, e, p, q, r, t)
            for q in range(1, most + 1)
            for r in range(1, slots // t + 1)
            for n in _extents(batch)
        )
        fitting = [m for m in found if self.fits(shape, m)]
        return min(fitting, key=lambda m: (self.cycles(shape, m, batch), self._held(shape, m)))

    def _most(self, shape: Shape, growing: Sequence[Mapping]) -> Mapping:
        fitting = [m for m in growing if self.fits(shape, m)]
        if not fitting:
            raise ValueError(f"{self.name}: the buffer of {self.buffer_bytes} bytes holds no part of a layer")
        return fitting[-1]


def _extents(whole: int) -> list[int]:
    """The smallest extent for each number of pieces that a whole can be cut into."""
    return sorted({ceil_div(whole, pieces) for pieces in range(1, whole + 1)})


@cache
def _search(machine: Eyeriss, shape: Shape, batch: int) -> Mapping:
    """The mapping of least cycles, among equals that with the least data in the buffer, then the first one tried."""
    found = [
        candidate
        for e in _extents(shape.out_rows)
        for q in range(1, machine.input_words // shape.columns + 1)
        for n in _extents(batch)
        if (candidate := _best_sets(machine, shape, batch, Mapping(n, e, 1, q, 1, 1))) is not None
    ]
    if not found:
        raise ValueError(f"{machine.name}: the buffer of {machine.buffer_bytes} bytes holds no part of a layer")
    return min(found, key=lambda candidate: candidate[:2])[2]


def _best_sets(machine: Eyeriss, shape: Shape, batch: int, given: Mapping) -> tuple[float, int, Mapping] | None:
    """The best p, r and t for n, e and q as given: cycles, bytes held and the mapping; None if nothing fits.

    For each p and r, the largest t that fits takes the fewest passes; of several, the smallest one moves the fewest
    sums.
    """
    slots = machine.slots(shape, given.e)
    r = np.array([r for r in _extents(ceil_div(shape.channels, given.q)) if r <= slots], np.int64)[:, None]
    most = min(machine.sum_words, machine.filter_words // (given.q * shape.columns), shape.filters)
    p = np.arange(1, most + 1, dtype=np.int64)[None, :]
    inputs = machine.input_bytes(shape, given) * r
    room = (machine.buffer_bytes // given.n - machine.input_copies * inputs) // (
        machine.sum_bytes * given.e * shape.out_columns
    )
    t = np.minimum(np.minimum(slots // r, room // p), -(-shape.filters // p))
    possible = t >= 1
    if not possible.any():
        return None
    t = np.maximum(t, 1)
    filters = -(-shape.filters // (p * t))
    t = -(-shape.filters // (p * filters))
    computing = given.n * p * given.q * shape.columns * shape.out_columns
    moving = given.n * p * t * given.e * shape.out_columns / machine.sums_per_cycle
    outer = ceil_div(shape.out_rows, given.e) * ceil_div(batch, given.n) * shape.parts
    passes = filters * -(-shape.channels // (given.q * r)) * outer
    cycles = np.where(possible, passes * np.maximum(computing, moving), np.inf)
    held = machine.sum_bytes * p * t * given.e * shape.out_columns + machine.input_copies * inputs
    best = int(np.lexsort((held.reshape(-1), cycles.reshape(-1)))[0])
    i, j = divmod(best, p.size)
    chosen = replace(given, p=int(p[0, j]), r=int(r[i, 0]), t=int(t[i, j]))
    return float(cycles[i, j]), int(held[i, j]), chosen


def eyeriss() -> Eyeriss:
    """The scaled array of 32 x 32 elements."""
    return load(Eyeriss, "eyeriss")


def eyeriss_chip() -> EyerissChip:
    """The fabricated array of 12 x 14 elements, 16-bit data."""
    return load(EyerissChip, "eyeriss-chip")


BASELINES = {"eyeriss": eyeriss, "eyeriss-chip": eyeriss_chip}
"""What this file has for `escc.baselines.registry`, by name."""
