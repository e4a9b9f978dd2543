"""Locations that are merged many times keep every name, once, in order, and cost no more than they must."""

from __future__ import annotations

import pytest
from xdsl.dialects.builtin import ArrayAttr, FusedLoc, NameLoc
from xdsl.dialects.func import ReturnOp

from dialects.locations import flatten_locations, fused, fused_names, named, node_names

NAMES = tuple(f"n{i}" for i in range(1000))


@pytest.mark.parametrize("forward", [True, False])
def test_names_stay_in_order_and_nesting_stays_shallow(forward: bool) -> None:
    location = named(NAMES[0] if forward else NAMES[-1])
    for name in NAMES[1:] if forward else NAMES[-2::-1]:
        location = fused(location, named(name)) if forward else fused(named(name), location)
        assert isinstance(location, FusedLoc)
        assert isinstance(location.locations, ArrayAttr) and len(location.locations.data) <= 130
    assert node_names(location) == NAMES


def test_flattening_writes_one_list() -> None:
    nested = fused(fused_names(NAMES), fused_names(NAMES[::-1]), named("last"), named("n3"))
    op = ReturnOp()
    op.location = nested
    flatten_locations(op)
    assert op.location == fused_names([*NAMES, "last"])
    assert isinstance(op.location, FusedLoc) and isinstance(op.location.locations, ArrayAttr)
    assert all(isinstance(part, NameLoc) for part in op.location.locations.data)


def test_a_name_that_is_there_already_is_not_repeated() -> None:
    assert fused(named("a"), fused_names(["b", "a"]), named("b")) == fused_names(["a", "b"])
    assert fused(named("a"), named("a")) == named("a")
