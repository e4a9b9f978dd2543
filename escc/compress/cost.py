"""What a layer costs on the machine, dense and decomposed: estimates by which a scheme decides, as pure functions.

They follow the timing of the emulator with expected instead of actual non-zeros, and leave start-up, tile borders and
DRAM row misses out: good for comparing two ways to run one layer, not for reporting.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isa.layout import ceil_div
from isa.target import Target

F = NDArray[np.float64]
I8 = NDArray[np.int8]


@dataclass(frozen=True)
class Geometry:
    """Shape of a convolution: output channels, kernel, input channels, strides, input and output extents."""

    k: int
    r: int
    s: int
    c: int
    strides: tuple[int, int]
    input: tuple[int, int]
    output: tuple[int, int]


@dataclass(frozen=True)
class Cost:
    """Bytes of the constants in DRAM and cycles of one image."""

    nbytes: int
    cycles: float


def _row_groups(blocks: int, rows: int) -> list[int]:
    """Ways to split the PE blocks over output rows."""
    return [g for g in range(1, min(blocks, rows) + 1) if blocks % g == 0]


def _with_traffic(target: Target, compute: float, nbytes: int) -> float:
    """Cycles of a layer whose constants stream in while it computes."""
    per_cycle = target.dram.bytes_per_clock * target.dram.clock_mhz / target.clock.frequency_mhz
    return max(compute, nbytes / min(per_cycle, float(target.dma.bytes_per_cycle)))


def dense_cost(g: Geometry, target: Target, nbytes: int) -> Cost:
    """Cost of the dense convolution with constants of `nbytes`: every slice of a block multiplies for the same output
    value.
    """
    a = target.array
    oh, ow = g.output
    per_value = ceil_div(g.r * g.s * g.c, a.slices * a.macs)
    cycles = min(
        ceil_div(oh, groups) * ow * ceil_div(g.k, a.blocks // groups) * per_value
        for groups in _row_groups(a.blocks, oh)
    )
    return Cost(nbytes, _with_traffic(target, float(cycles), nbytes))


def decomposed_cost(
    g: Geometry, target: Target, bases: int, coefficient_density: float, input_density: float, nbytes: int
) -> Cost:
    """Cost of the decomposed convolution with `bases` virtual bases, for densities in [0, 1] and constants of
    `nbytes`.
    """
    a = target.array
    oh, ow = g.output
    chunks = ceil_div(g.c, a.chunk)
    matches = min(g.c, a.chunk) * coefficient_density * input_density
    # Slices wait for the slowest of them at the adder tree: about one standard deviation above the mean.
    slowest = matches + float(np.sqrt(matches * max(0.0, 1.0 - coefficient_density * input_density)))
    accumulate = chunks * max(1.0, slowest / a.ca_lanes + 0.5)
    strided_point = g.r == 1 and g.s == 1
    taps = g.r * g.s / (g.strides[0] * g.strides[1]) if not strided_point else 1.0
    multiply = max(1.0, taps / a.macs + 0.5)
    per_block = max(1, a.slices // bases)
    rounds = ceil_div(bases, a.slices)
    bus = ceil_div(chunks, a.broadcast_chunks)
    best_cycles = np.inf
    for groups in _row_groups(a.blocks, oh):
        passes = ceil_div(g.k, a.blocks // groups * per_block)
        rows = min(g.input[0], (ceil_div(oh, groups) - 1) * g.strides[0] + g.r)
        positions = ceil_div(oh, groups) * ow if strided_point else rows * g.input[1]
        best_cycles = min(best_cycles, positions * max(float(bus), passes * rounds * max(accumulate, multiply)))
    return Cost(nbytes, _with_traffic(target, float(best_cycles), nbytes))
