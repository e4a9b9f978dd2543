"""`conv.circ`: rules, exact results on random shapes, and cycles that follow the fast products."""

from __future__ import annotations

import numpy as np
import pytest
from emulator_programs import Geometry, channels_program, nchw, slow_channels, sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from isa_programs import problems_of
from test_conv_gather import geometries

from emulator.machine import Machine
from isa.circulant import FAST_BLOCKS, expand
from isa.counts import Count
from isa.instructions.conv_circ import SPEC, cycles
from isa.program import Program
from isa.table import make
from isa.target import load_target

TARGET = load_target()
LEGAL = {
    "act_w": 4, "act_c": 16, "ih": 4, "iw": 4, "ic": 16, "r": 3, "s": 3, "sy": 1, "sx": 1, "pt": 1, "pl": 1,
    "oh": 4, "ow": 4, "kt": 16, "kn": 16, "c": 16, "block": 8, "groups": 2,
}  # fmt: skip
problems = problems_of("conv.circ", LEGAL)


def test_legal() -> None:
    assert problems() == problems(first=7) == problems(c=13, block=16) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"cs": 1}, "channels 1..16 exceed ic=16"),
        ({"block": 3}, "block=3 is none of 2, 4, 8, 16"),
        ({"block": 32}, "block=32 is none of 2, 4, 8, 16"),
        ({"first": 8}, "first=8 lies beyond a block of 8 channels"),
        ({"groups": 33}, "groups=33 exceed the 32 blocks"),
        ({"k": 1}, "channels 1..16 exceed kt=16"),
        ({"coef": 32760}, "COEF is touched up to byte 0x8118, it has 0x8000"),
        ({"coef": 32500, "first": 1}, "COEF is touched up to byte 0x80a4, it has 0x8000"),
    ],
)
def test_one_rule(changes: dict[str, int], problem: str) -> None:
    assert problems(**changes) == [problem]


def circ_program(
    g: Geometry, values, block: int, *, signed=False, first=0, groups=1, parts=(0,), turn=0, ring=0
) -> Program:
    """A program of `conv.circ` with values [K/b, R, S, C/b, b] of circulant blocks."""

    def weights(begin: int, end: int) -> tuple[bytes, dict[str, int]]:
        blob = np.ascontiguousarray(values[:, :, :, begin // block : -(-end // block)]).tobytes()
        return blob, {"first": first, "block": block, "groups": groups}

    return channels_program(g, "circ", weights, signed=signed, parts=parts, turn=turn, ring=ring)


@settings(max_examples=60, deadline=None)
@given(
    g=geometries(), seed=st.integers(0, 1 << 30), block=st.sampled_from(FAST_BLOCKS), signed=st.booleans(),
    groups=st.integers(1, 32), split=st.booleans(), in_ring=st.booleans(), data=st.data(),
)  # fmt: skip
def test_results_are_those_of_a_plain_convolution(g, seed, block, signed, groups, split, in_ring, data):
    first = data.draw(st.integers(0, block - 1))
    rng = np.random.default_rng(seed)
    x = sparse(rng, (g.h, g.w, g.c), rng.random(), signed)
    shape = -(-(first + g.kn) // block), g.r, g.s, -(-g.c // block), block
    values = rng.integers(-127, 128, shape).astype(np.int8)
    parts = (0, block) if split and g.c > block else (0,)
    turn, ring = (1, g.h) if in_ring and g.h > 1 else (0, 0)
    program = circ_program(
        g, values, block, signed=signed, first=first, groups=groups, parts=parts, turn=turn, ring=ring
    )  # fmt: skip
    got = Machine(program).run([nchw(x)]).outputs[0][0].transpose(1, 2, 0)
    np.testing.assert_array_equal(got, slow_channels(x, expand(values, first, g.kn, g.c), g))


@pytest.mark.parametrize(("block", "products"), [(2, 2), (4, 5), (8, 14), (16, 41)])
def test_cycles_and_products_are_those_of_the_fast_form(block, products):
    """64 output channels of 64 input channels and 3x3 taps at 4x4 positions, in two row groups of 16 PE blocks."""
    fields = {**LEGAL, "ic": 64, "act_c": 64, "c": 64, "kt": 64, "kn": 64, "block": block}
    rows = 64 // block
    each = max(-(-2 * 9 * (64 // block) * products // 30), block)
    passes = -(-rows // 16)
    assert cycles({**fields, "first": 0}, TARGET) == TARGET.array.issue_cycles + passes * 2 * 4 * each
    assert SPEC.counts is not None
    found = SPEC.counts(make("conv.circ", **fields).values, TARGET)
    assert found[Count.MULTIPLICATIONS] == 2 * 16 * rows * 9 * (64 // block) * products
    assert found[Count.MAC_MUL_INT8] == 2 * found[Count.MULTIPLICATIONS]
    assert found[Count.COEF_READ] == 2 * 9 * 64 * 64 // block
    assert found[Count.ACT_READ] == passes * 64 * 10 * 10
    assert found[Count.PSUM_WRITE] == 4 * 16 * 64 and found[Count.PSUM_READ] == 0
