"""Positions that conv.dense takes, against a count of one product after the other."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from isa.instructions.conv_dense import SPEC, most_cycles
from isa.integers import ceil_div
from isa.target import load_target
from isa.visits import Block, Visits, Windows, visits

small = st.integers(1, 5)
windows = st.builds(
    Windows, small, small, st.integers(1, 4), small, small, st.integers(1, 4), st.integers(1, 4), st.integers(1, 3),
    st.integers(1, 3), st.integers(0, 3), st.integers(0, 3), st.integers(1, 9),
)  # fmt: skip


def counted(w: Windows, block: Block) -> Visits:
    """Each row group takes a position in a set if it is the first one or if a product of it is not one with padding.

    Positions of the last set share a cycle as long as there are slices for one more.
    """
    share, cycles, total = ceil_div(w.oh, w.groups), list[int](), 0
    order = [(i, j) for i in range(w.r) for j in range(w.s) for _ in range(w.cpg)]
    sets = [order[first : first + block.products] for first in range(0, len(order), block.products)]
    for group in range(w.groups):
        mine = free = 0
        for number, products in enumerate(sets):
            wanted = ceil_div(len(products), block.macs) if number == len(sets) - 1 else block.slices
            for y in range(group * share, min(w.oh, (group + 1) * share)):
                for x in range(w.ow):
                    places = [(y * w.sy - w.pt + i, x * w.sx - w.pl + j) for i, j in products]
                    if number and not any(0 <= a < w.ih and 0 <= b < w.iw for a, b in places):
                        continue
                    total += 1
                    if free < wanted:
                        mine, free = mine + 1, block.slices
                    free -= wanted
        cycles.append(mine)
    return Visits(max(cycles), total)


@settings(max_examples=150, deadline=None)
@given(windows, st.builds(Block, st.integers(1, 6), st.integers(1, 3)))
def test_sets_pass_over_positions_without_a_product_inside_the_tile(w, block):
    assert visits(w, block) == counted(w, block)


def test_only_padding_saves_cycles():
    target = load_target()
    assert SPEC.cycles is not None
    fields = {"oh": 8, "ow": 8, "kn": 64, "groups": 1, "r": 3, "s": 3, "sy": 1, "sx": 1, "cpg": 60}
    inner = {**fields, "ih": 10, "iw": 10, "pt": 0, "pl": 0}
    padded = {**fields, "ih": 8, "iw": 8, "pt": 1, "pl": 1}
    assert SPEC.cycles(inner, target) == most_cycles(inner, target)
    # Two sets a tap: those of the first tap are needed at 7 x 7 positions, of which the first set takes all 64.
    saved = 2 * 64 * 9 - 2 * (2 * 8 + 6) ** 2 - (64 - 49)
    assert most_cycles(padded, target) - SPEC.cycles(padded, target) == 2 * saved
    columns = {name: np.array([inner[name], padded[name]]) for name in inner}
    assert SPEC.cycles(columns, target).tolist() == [SPEC.cycles(inner, target), SPEC.cycles(padded, target)]
