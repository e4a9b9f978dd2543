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


Product = tuple[int, int]
"""Row and column of its tap."""


def sharing(takers: int, wanted: int, block: Block) -> int:
    """Cycles in which so many positions, each with `wanted` slices, share the slices of a block."""
    cycles = free = 0
    for _ in range(takers):
        if free < wanted:
            cycles, free = cycles + 1, block.slices
        free -= wanted
    return cycles


def cut(products: list[Product], block: Block, positions: int) -> list[list[Product]]:
    """Full sets, then the rest as one set, or as sets of which none leaves a slice free, where these take less."""
    sets = [products[first : first + block.products] for first in range(0, len(products), block.products)]
    rest, several = sets.pop(), list[list[Product]]()
    wanted = ceil_div(len(rest), block.macs)
    alone = sharing(positions, wanted, block)
    while wanted:
        width = next(n for n in range(wanted, 0, -1) if block.slices % n == 0)
        several.append(rest[: width * block.macs])
        del rest[: width * block.macs]
        wanted -= width
        alone -= sharing(positions, width, block)
    return [*sets, *several] if alone > 0 else [*sets, [each for part in several for each in part]]


def counted(w: Windows, block: Block) -> Visits:
    """Each row group takes a position in a set if it is the first one or if a product of it is not one with padding.

    Positions share a cycle as long as there are slices for one more.
    """
    share, cycles, total = ceil_div(w.oh, w.groups), list[int](), 0
    sets = cut([(i, j) for i in range(w.r) for j in range(w.s) for _ in range(w.cpg)], block, share * w.ow)
    for group in range(w.groups):
        mine = 0
        for number, products in enumerate(sets):
            takers = 0
            for y in range(group * share, min(w.oh, (group + 1) * share)):
                for x in range(w.ow):
                    places = [(y * w.sy - w.pt + i, x * w.sx - w.pl + j) for i, j in products]
                    takers += not number or any(0 <= a < w.ih and 0 <= b < w.iw for a, b in places)
            total += takers
            mine += sharing(takers, ceil_div(len(products), block.macs), block)
        cycles.append(mine)
    return Visits(max(cycles), total)


@settings(max_examples=150, deadline=None)
@given(windows, st.builds(Block, st.integers(1, 9), st.integers(1, 3)))
def test_sets_pass_over_positions_without_a_product_inside_the_tile(w, block):
    assert visits(w, block) == counted(w, block)


@given(st.integers(1, 9), st.integers(1, 5), st.integers(1, 400), st.integers(1, 60))
def test_the_closed_form_is_that_of_the_sets(slices, macs, products, positions):
    block = Block(slices, macs)
    sets = block.sets(products, positions)
    assert sum(part.products for part in sets) == products
    taking = sum(ceil_div(positions, part.together) for part in sets)
    assert block.cycles(products, positions) == taking
    assert block.cycles(np.array([products, 1]), np.array([positions, 1])).tolist() == [taking, 1]
    # No fewer than all multipliers would need, and no more than with a set for each full block.
    assert ceil_div(positions * products, block.products) <= taking <= positions * ceil_div(products, block.products)


def test_sixteen_products_take_two_thirds_of_a_cycle():
    block = Block(6, 5)
    assert block.cycles(16, 600) == 400
    assert block.cycles(16, 1) == 1  # Two sets would take two.


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
