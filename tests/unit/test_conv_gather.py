"""`conv.gather`: rules, exact results on random shapes, and cycles that follow the banks."""

from __future__ import annotations

import numpy as np
import pytest
from emulator_programs import Geometry, channels_program, nchw, slow_channels, sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from isa_programs import problems_of

from emulator.handlers import UNITS
from emulator.machine import Machine
from emulator.recording import Entry, Recorder
from isa.area import event_energy_text
from isa.counts import Count
from isa.errors import UserError
from isa.events import Countable
from isa.gather import Gathering, pack_gather, spread
from isa.instructions import conv_gather
from isa.program import Program
from isa.table import COLUMNS
from isa.target import load_target

TARGET = load_target()
LEGAL = {
    "act_w": 4, "act_c": 16, "ih": 4, "iw": 4, "ic": 16, "r": 3, "s": 3, "sy": 1, "sx": 1, "pt": 1, "pl": 1,
    "oh": 4, "ow": 4, "kt": 16, "kn": 16, "size": 9, "c": 16, "banks": 30, "step": 16, "rows": 16,
}  # fmt: skip
problems = problems_of("conv.gather", LEGAL)


def test_legal() -> None:
    assert problems() == []
    assert problems(ic=86, act_c=86, c=85) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"cs": 1}, "channels 1..16 exceed ic=16"),
        ({"ic": 86, "act_c": 86, "c": 86}, "a window of 774 bytes exceeds the 768 bytes of registers of a block"),
        ({"banks": 31}, "banks=31 exceed the 30 multipliers of a block"),
        ({"rows": 31}, "rows=31 exceed the 30 multipliers of a block"),
        ({"bank": 30}, "bank=30 is not below banks=30"),
        ({"step": 30}, "step=30 is not below banks=30"),
        ({"k": 1}, "channels 1..16 exceed kt=16"),
        ({"coef": 32760}, "COEF is touched up to byte 0x8001, it has 0x8000"),
    ],
)
def test_one_rule(changes: dict[str, int], problem: str) -> None:
    assert problems(**changes) == [problem]


def gather_program(
    g: Geometry, w, banks: int, rows: int, *, signed=False, parts=(0,), own_order=False, turn=0, ring=0, spoil=False
) -> Program:
    """A program of `conv.gather` with sparse weights [K, R, S, C]; with `spoil` their streams lack a byte."""

    def weights(first: int, end: int) -> tuple[bytes, dict[str, int]]:
        part = np.ascontiguousarray(w[..., first:end]).reshape(g.kn, g.r * g.s, -1)
        how = Gathering.of(banks, rows, g.c, first)
        blob = pack_gather(part, how, spread(part, how) if own_order else None)
        blob = blob[:-1] if spoil else blob
        return blob, {"size": len(blob), "banks": banks, "bank": how.bank, "step": how.step, "rows": rows}

    return channels_program(g, "gather", weights, signed=signed, parts=parts, turn=turn, ring=ring)


@st.composite
def geometries(draw):
    r, s = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    pads = tuple(draw(st.integers(0, 2)) for _ in range(4))
    h, w = draw(st.integers(max(1, r - pads[0] - pads[2]), 9)), draw(st.integers(max(1, s - pads[1] - pads[3]), 9))
    sy, sx, c = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 40))
    return Geometry(h, w, c, r, s, sy, sx, pads, draw(st.integers(1, 40)))


@settings(max_examples=60, deadline=None)
@given(
    g=geometries(), seed=st.integers(0, 1 << 30), banks=st.integers(1, 30), rows=st.integers(1, 30),
    signed=st.booleans(), own_order=st.booleans(), split=st.booleans(), in_ring=st.booleans(),
)  # fmt: skip
def test_results_are_those_of_a_plain_convolution(g, seed, banks, rows, signed, own_order, split, in_ring):
    rng = np.random.default_rng(seed)
    x = sparse(rng, (g.h, g.w, g.c), rng.random(), signed)
    w = (rng.integers(-127, 128, (g.kn, g.r, g.s, g.c)) * (rng.random((g.kn, g.r, g.s, g.c)) < 0.3)).astype(np.int8)
    parts = (0, g.c // 2) if split and g.c > 1 else (0,)
    turn, ring = (1, g.h) if in_ring and g.h > 1 else (0, 0)
    program = gather_program(
        g, w, banks, rows, signed=signed, parts=parts, own_order=own_order, turn=turn, ring=ring
    )  # fmt: skip
    got = Machine(program).run([nchw(x)]).outputs[0][0].transpose(1, 2, 0)
    np.testing.assert_array_equal(got, slow_channels(x, w, g))


def recorded(program: Program) -> tuple[int, dict[Countable, int]]:
    """Cycles and counts of the conv.gather of a program that has one, by its unit."""
    from emulator.memories import Constants, Memories

    memories, recorder = Memories(program, 1, Constants()), Recorder(program)
    for number, instruction in enumerate(program.instructions):
        memories.number = number
        unit = UNITS[instruction.spec.mnemonic]
        unit.record(Entry(recorder, number), instruction.values, unit.execute(memories, instruction.values))
        if instruction.spec.mnemonic == "conv.gather":
            counts = {count: int(recorder.counts[number, column]) for count, column in COLUMNS.items()}
            return int(recorder.cycles[number]), counts
    raise AssertionError("the program has no conv.gather")


def weights_in_banks(entries: list[int], kn: int = 1) -> np.ndarray:
    """Weights int8 [kn, 1, 1, 64 * banks] of which output channel 0 has so many entries in each bank."""
    banks = len(entries)
    w = np.zeros((kn, 1, 1, 64 * banks), np.int8)
    for bank, n in enumerate(entries):
        w[0, 0, 0, bank : bank + n * banks : banks] = 1
    return w


@pytest.mark.parametrize(
    ("entries", "groups", "least"), [([40, 40, 40], 40, 40), ([60, 40, 20], 60, 40), ([60, 0, 0], 60, 20)]
)
def test_cycles_are_those_of_the_fullest_bank(entries, groups, least):
    """70 positions are three sets of at most 32 blocks; windows of 192 bytes would fill in 24 cycles."""
    g = Geometry(7, 10, 192, 1, 1, 1, 1, (0, 0, 0, 0), 1)
    cycles, counts = recorded(gather_program(g, weights_in_banks(entries), 3, 1))
    assert cycles == 8 + 3 * groups
    assert counts[conv_gather.WORK] == counts[conv_gather.ENTRIES] == 3 * sum(entries)
    assert counts[conv_gather.CONFLICT] == 3 * 30 * (groups - least)
    assert counts[conv_gather.IMBALANCE] == 3 * (30 * least - sum(entries))
    assert counts[Count.MULTIPLICATIONS] == counts[Count.REGISTERS_READ] == 70 * sum(entries)
    assert counts[Count.ACT_READ] == counts[Count.REGISTERS_WRITE] == 70 * 192
    assert counts[conv_gather.GROUPS] == 3 * groups and counts[conv_gather.PRODUCTS] == 70 * sum(entries)


def test_sorter_and_crossbar_take_energy():
    """A sorter of 32 inputs has 15 stages of 16 exchanges; it takes entries of 8 + 5 + 10 bits (see `isa.cells`)."""
    exchange, register = 16 * (36 * 5 / 8 + 2 * 23 * 1.862), 32 * 23 * 4.522
    crossbar, segment = 8 * 29 * 1.862, 21 * 6 * 1.862
    group, product = 0.03 / 36 * 15 * (exchange + register), 0.03 / 36 * (crossbar + segment)
    g = Geometry(7, 10, 192, 1, 1, 1, 1, (0, 0, 0, 0), 1)
    program = gather_program(g, weights_in_banks([60, 40, 20]), 3, 1)
    run = Machine(program).run([nchw(np.ones((7, 10, 192), np.uint8))], stats=True)
    energy = run.statistics.data["layers"][0]["energy_uj"]
    assert energy["gather"] == pytest.approx((3 * 60 * group + 70 * 120 * product) * 1e-6)
    assert run.statistics.data["totals"]["energy_uj"]["total"] == pytest.approx(
        sum(value for name, value in run.statistics.data["totals"]["energy_uj"].items() if name != "total")
    )
    assert f"{product:.3f} pJ: a product of conv.gather" in event_energy_text(TARGET)
    assert f"{group:.3f} pJ: a group in the sorter" in event_energy_text(TARGET)


def test_windows_sums_and_expansion_bound_a_set():
    """With few entries, the next windows decide; with many output channels, PSUM; with large magnitudes, the stream."""
    few = recorded(
        gather_program(Geometry(1, 1, 64, 1, 1, 1, 1, (0, 0, 0, 0), 4), np.zeros((4, 1, 1, 64), np.int8), 4, 4)
    )
    assert few[0] == 8 + 8
    many = recorded(
        gather_program(Geometry(1, 1, 8, 1, 1, 1, 1, (0, 0, 0, 0), 99), np.zeros((99, 1, 1, 8), np.int8), 30, 30)
    )
    assert many[0] == 8 + 99
    w = np.full((8, 1, 1, 30), 127, np.int8)
    stream = len(pack_gather(w.reshape(8, 1, 30), Gathering.of(30, 8, 30)))
    wide = recorded(gather_program(Geometry(1, 1, 30, 1, 1, 1, 1, (0, 0, 0, 0), 8), w, 30, 8))
    assert wide[0] == 8 + max(8, -(-stream // 64))


def test_padding_is_not_multiplied():
    g = Geometry(3, 3, 2, 3, 3, 1, 1, (1, 1, 1, 1), 1)
    w = np.zeros((1, 3, 3, 2), np.int8)
    w[0, 0, 0, 0], w[0, 1, 1, 1] = 5, 7
    _, counts = recorded(gather_program(g, w, 4, 1))
    assert counts[Count.MULTIPLICATIONS] == 4 + 9


def test_a_torn_stream_is_the_users_fault():
    g = Geometry(2, 2, 16, 1, 1, 1, 1, (0, 0, 0, 0), 8)
    program = gather_program(g, np.ones((8, 1, 1, 16), np.int8), 8, 8, spoil=True)
    with pytest.raises(UserError, match="stream of sparse weights: it ends too early"):
        Machine(program).run([nchw(np.ones((2, 2, 16), np.uint8))])
