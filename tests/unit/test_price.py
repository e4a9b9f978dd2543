"""Prices of layers against the emulator: networks of one convolution, in every weight form, over a grid of shapes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pytest
from tile_models import Graph, lower

from dialects import esc
from dialects.eisa import to_program
from dialects.esc_decomposed import BasisConv2dOp, CoeffCombineOp
from emulator.machine import Machine
from escc.compress.price import Cost, price
from isa.formats import TensorFormat
from isa.layout import WEIGHT_TABLE_BYTES
from isa.program import Program
from isa.target import load_target
from passes.decomposition.int8 import Int8
from passes.decomposition.ternary_basis import TernaryBasis
from passes.decomposition.weight_form import WeightForm
from passes.tiling.conv_shape import ConvShape

SHARE = 0.10
"""An estimate may be off by this share of the emulator's cycles in 49 of 50 layers,"""
MOST = 0.20
"""by this share in any, as a long store may hold up a load or miss it by a clock,"""
CYCLES = 64
"""or by so many cycles, where a layer is little more than fixed latencies: that is about one DRAM access of each of its
first loads, whose rows may be open or closed.
"""
ACTIVATIONS = 0.5
"""Share of input values that are not zero."""


class Case(NamedTuple):
    """A layer: extent of its square input, channels, kernel, stride; 0 or `v` bases; share of non-zero weights."""

    size: int
    c: int
    k: int
    kernel: int
    stride: int
    v: int
    density: float


def grid(sizes: tuple[int, ...], channels: tuple[int, ...], densities: tuple[float, ...]) -> Iterator[Case]:
    """All layers of these sizes, dense and decomposed."""
    for size in sizes:
        for c in channels:
            for k in channels:
                for kernel in (1, 3):
                    for stride in (1, 2):
                        yield Case(size, c, k, kernel, stride, 0, 1.0)
                        for v in (6, 9, 18):
                            yield from (Case(size, c, k, kernel, stride, v, density) for density in densities)


def form_of(case: Case) -> WeightForm:
    """Random weights of a layer."""
    random = np.random.default_rng(case.size + case.c + case.v)
    scale = np.ones(case.k)
    if not case.v:
        values = random.standard_normal((case.k, case.kernel, case.kernel, case.c)) * 32
        return Int8(np.clip(np.rint(values), -127, 127).astype(np.int8), scale)
    t = random.choice([-1, 1], (case.k, case.v, case.c)).astype(np.int8)
    t[random.random(t.shape) >= case.density] = 0
    basis = random.integers(-100, 101, (case.v, case.kernel, case.kernel)).astype(np.int8)
    return TernaryBasis(t, basis, scale)


def emulated(case: Case, form: WeightForm) -> Cost:
    """What the machine takes for a network of the one layer."""
    graph = Graph(case.size, case.size, case.c, signed=False)
    strides, pads = (case.stride, case.stride), (case.kernel // 2,) * 4
    if isinstance(form, TernaryBasis):
        combined = graph.append(CoeffCombineOp(graph.x, form.coefficients, 1, 16))
        sums = graph.append(BasisConv2dOp(combined, form.basis, strides, pads))
    else:
        assert isinstance(form, Int8)
        sums = graph.append(esc.Conv2dOp(graph.x, form.integers, strides, pads, 1))
    program = to_program(lower(graph.module(graph.requantize(sums, signed=False))))
    random = np.random.default_rng(1)
    x = random.integers(1, 256, (1, case.c, case.size, case.size)).astype(np.float32)
    x[random.random(x.shape) >= ACTIVATIONS] = 0
    statistics = Machine(program).run([x], stats=True).statistics
    assert statistics is not None
    return Cost(weight_bytes(program), statistics.data["totals"]["cycles"])


def weight_bytes(program: Program) -> int:
    """Bytes of the constants that a program loads, without the parameters of requantisations."""
    pieces: set[tuple[int, int]] = set()
    for instruction in program.instructions:
        v = instruction.values
        if instruction.spec.mnemonic in ("load.coef", "load.weights", "load.bytes"):
            pieces.add((v["dram"], v["size"]))
        if instruction.spec.mnemonic == "load.weights":
            pieces.add((v["table"], WEIGHT_TABLE_BYTES))
    return sum(size for _, size in pieces)


def shape_of(case: Case) -> ConvShape:
    pad = case.kernel // 2
    out = (case.size + 2 * pad - case.kernel) // case.stride + 1
    return ConvShape(
        case.k,
        case.c,
        (case.kernel, case.kernel),
        (case.stride, case.stride),
        (pad, pad),
        (case.size, case.size),
        (out, out),
        ACTIVATIONS,
        TensorFormat.RAW,
    )


def compare(cases: Iterator[Case]) -> None:
    """Price and emulate all layers; names every one whose estimate is off."""
    target = load_target("esc1")
    wrong: list[str] = []
    far: list[str] = []
    compared = 0
    for case in cases:
        compared += 1
        form = form_of(case)
        found, real = price(form, shape_of(case), target), emulated(case, form)
        if found.nbytes != real.nbytes:
            wrong.append(f"{case}: {found.nbytes} bytes; the program has {real.nbytes}")
        off = abs(found.cycles - real.cycles)
        if off > max(SHARE * real.cycles, CYCLES):
            far.append(f"{case}: {found.cycles:.0f} cycles; the emulator takes {real.cycles}")
        if off > max(MOST * real.cycles, CYCLES):
            wrong.append(far[-1])
    assert not wrong, "\n".join(wrong)
    assert 50 * len(far) <= compared, "\n".join(far)


def test_prices_are_those_of_the_emulator() -> None:
    compare(grid((8, 28), (16, 64), (0.1, 0.5)))


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(Case(8, 256, 16, 3, 1, 6, 0.1), id="rows-in-a-ring"),
        pytest.param(Case(8, 64, 16, 3, 1, 6, 0.05), id="rows-in-a-ring-side-by-side"),
        pytest.param(Case(8, 256, 16, 1, 1, 9, 0.3), id="second-round-smaller"),
    ],
)
def test_prices_follow_what_loads_and_expansion_wait_for(case: Case) -> None:
    form = form_of(case)
    real = emulated(case, form)
    assert price(form, shape_of(case), load_target("esc1")).cycles == pytest.approx(real.cycles, rel=0.04)


@pytest.mark.slow
@pytest.mark.parametrize("size", [8, 14, 28, 56])
def test_prices_are_those_of_the_emulator_for_all_shapes(size: int) -> None:
    compare(grid((size,), (16, 64, 256), (0.05, 0.1, 0.3, 0.6, 0.9)))
