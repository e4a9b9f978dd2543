"""Input tiles whose rows lie in a ring of ACT: what is computed, which bytes are read, what is refused."""

from typing import Any

import numpy as np
import pytest
from emulator_programs import Builder, Geometry, PoolKind, conv_program, load_ring, nchw, requant_block, sparse

from emulator.machine import Machine
from isa.hazards import Access, accesses
from isa.legality import check_instruction
from isa.table import make
from isa.target import load_target

SHAPE = (6, 5, 8)
RINGS = [(turn, ring) for turn in (1, 2, 5) for ring in (6, 7, 11)]


def run(program, x):
    return Machine(program).run([nchw(x)])


def assert_ring_changes_nothing(programs, x):
    """Programs with and without a ring have the same output."""
    plain, ringed = (run(program, x) for program in programs)
    np.testing.assert_array_equal(ringed.outputs[0], plain.outputs[0])


@pytest.mark.parametrize(("turn", "ring"), RINGS)
@pytest.mark.parametrize("kind", ["dense", "dw", "esc"])
def test_convolutions_read_a_ring(kind, turn, ring):
    rng = np.random.default_rng(turn * 16 + ring)
    g = Geometry(*SHAPE, 3, 3, 1, 1, (1, 1, 1, 1), 8)
    constants = {
        "dense": {"w": rng.integers(-128, 128, (8, 3, 3, 8)).astype(np.int8)},
        "dw": {"w": rng.integers(-128, 128, (8, 3, 3, 1)).astype(np.int8)},
        "esc": {"t": rng.integers(-1, 2, (8, 4, 8)).astype(np.int8), "basis": rng.integers(-9, 9, (4, 3, 3), np.int8)},
    }[kind]
    options: dict[str, Any] = {"cpg": 8, "kpg": 8} if kind == "dense" else {"kpg": 1, "v": 4}
    requant = requant_block(rng.integers(-99, 99, 8), rng.integers(1, 999, 8), np.full(8, 14))
    options |= {"requant": requant, "groups": 2 if kind != "dw" else 1}
    programs = (conv_program(g, kind, constants, **options, turn=t, ring=r) for t, r in ((0, 0), (turn, ring)))
    assert_ring_changes_nothing(programs, sparse(rng, SHAPE, 0.7))


def pooled(mnemonic, turn, ring, **fields):
    b = Builder()
    source, y = b.tensor("x", *SHAPE), b.tensor("y", 3, 3, 8)
    place = load_ring(b, source, turn, ring)
    if mnemonic == "post.pool" and fields["kind"] is PoolKind.AVERAGE:
        multipliers = b.constant(np.arange(900, 909, dtype="<i4").tobytes())
        b.emit("load.bytes", dram=multipliers, size=36, pad=1, dst=0)
    b.emit(mnemonic, **place, ih=6, iw=5, ic=8, sy=2, sx=2, oh=3, ow=3, kn=8, **fields)
    b.emit("store.act", y)
    b.layer("post", y)
    return b.finish([source], [y])


@pytest.mark.parametrize(("turn", "ring"), RINGS)
@pytest.mark.parametrize(
    ("mnemonic", "fields"),
    [
        ("post.map", {"dy": -1, "dx": 1, "dc": 2}),
        ("post.pool", {"kind": PoolKind.MAX, "r": 3, "s": 3, "pt": 1, "pl": 1}),
        (
            "post.pool",
            {"kind": PoolKind.AVERAGE, "r": 3, "s": 3, "pt": 1, "pl": 1, "count0": 1, "shift": 12, "hi": 255},
        ),
    ],
)
def test_the_post_unit_reads_a_ring(mnemonic, fields, turn, ring):
    x = sparse(np.random.default_rng(turn), SHAPE, 0.7)
    assert_ring_changes_nothing([pooled(mnemonic, t, r, **fields) for t, r in ((0, 0), (turn, ring))], x)


MAP = {"act": 400, "act_w": 5, "act_c": 8, "ih": 6, "iw": 5, "ic": 8, "oh": 3, "ow": 3, "kn": 8, "sy": 2, "sx": 2}
OUT = {"out": 4096, "out_w": 3, "out_c": 8}


def test_a_ring_is_read_in_two_pieces():
    found = accesses(make("post.map", **MAP, **OUT, act_turn=2, act_ring=8), load_target())
    reads = {a for a in found if not a.write}
    assert reads == {Access("act", 400, 480, False), Access("act", 400 - 6 * 40, 400 - 2 * 40, False)}


@pytest.mark.parametrize(
    "fields",
    [
        {"act_turn": 2},  # no ring
        {"act_ring": 8},  # no turn
        {"act_turn": 6, "act_ring": 8},  # no row behind the turn
        {"act_turn": 2, "act_ring": 5},  # fewer rows than the tile
        {"act_turn": 2, "act_ring": 13},  # begins below address 0
    ],
)
def test_rings_that_cannot_be(fields):
    assert "no ring at act=0x190" in check_instruction(make("post.map", **MAP, **OUT, **fields), load_target())[0]
    assert not check_instruction(make("post.map", **MAP, **OUT, act_turn=2, act_ring=12), load_target())


def test_an_output_may_not_lie_on_the_second_piece():
    fields = {**MAP, **OUT, "out": 200, "act_turn": 2, "act_ring": 8}
    assert "the output tile overlaps a tile that is read" in check_instruction(
        make("post.map", **fields), load_target()
    )
