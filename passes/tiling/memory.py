"""Placement in memory: scratchpad buffers of a layer, second instances for double buffering, and the DRAM arena by
lifetime.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from isa.integers import Number
from isa.layout import DRAM_ALIGN, align
from isa.target import Target

SCRATCHPAD_ALIGN = 16
"""Scratchpad buffers begin at multiples of this: the width of a DMA transfer."""


def reserve(nbytes: Number) -> Number:
    """Bytes that a scratchpad buffer takes."""
    return align(nbytes, SCRATCHPAD_ALIGN)


Wanted = tuple[str, str, Number, Number]
"""Name, scratchpad, bytes, and whether a second instance would be used."""


def instances_per_buffer(wanted: Sequence[Wanted], target: Target) -> Mapping[str, Number]:
    """Instances of each buffer, 1 or 2: second ones in the given order as far as they fit beside all first ones.

    Of one tiling, or of the columns of many (see `isa.integers`).
    """
    free = {space: getattr(target.scratchpad, space) for _, space, _, _ in wanted}
    for _, space, nbytes, _ in wanted:
        free[space] = free[space] - reserve(nbytes)
    found: dict[str, Number] = {}
    for name, space, nbytes, streamed in wanted:
        fits = streamed & (reserve(nbytes) <= free[space])
        free[space] = free[space] - reserve(nbytes) * fits
        found[name] = 1 + fits
    return found


def stack(sizes: Sequence[int], capacity: int, from_top: bool) -> list[int]:
    """Addresses of buffers laid one after the other from one end of a scratchpad. Raises ValueError if they do not
    fit.
    """
    total = sum(reserve(n) for n in sizes)
    if total > capacity:
        raise ValueError(f"buffers need {total} bytes; {capacity} available")
    addresses: list[int] = []
    at = 0
    top = capacity - capacity % SCRATCHPAD_ALIGN
    for n in sizes:
        at += reserve(n)
        addresses.append(top - at if from_top else at - reserve(n))
    return addresses


def stack_above(sizes: Sequence[int], space: str, target: Target, taken: int, from_top: bool) -> list[int]:
    """`stack` in a scratchpad of which, if it is ACT, resident tensors take the first bytes."""
    below = taken if space == "act" else 0
    return [below + at for at in stack(sizes, getattr(target.scratchpad, space) - below, from_top)]


def with_act(target: Target, taken: int) -> Target:
    """The machine without the first `taken` bytes of ACT."""
    if not taken:
        return target
    return replace(target, scratchpad=replace(target.scratchpad, act=target.scratchpad.act - taken))


def banded(target: Target, layers: int) -> Target:
    """The machine as each of so many layers side by side with partial sums sees it: half of PSUM, so that neighbours
    work apart, or all if there is one layer only.
    """
    if layers < 2:
        return target
    return replace(target, scratchpad=replace(target.scratchpad, psum=target.scratchpad.psum // 2))


@dataclass(frozen=True)
class Interval:
    """A tensor: bytes and the first and last step of its life, both included."""

    name: str
    nbytes: int
    first: int
    last: int


def taken_by(intervals: Sequence[Interval], offsets: Mapping[str, int], steps: int) -> list[int]:
    """Bytes at the bottom of ACT that resident tensors take in each of `steps` steps; buffers lie above them."""
    taken = [0] * steps
    for item in intervals:
        for step in range(max(0, item.first), min(steps, item.last + 1)):
            taken[step] = max(taken[step], reserve(offsets[item.name] + item.nbytes))
    return taken


def in_one_place(intervals: Sequence[Interval], over: Mapping[str, str]) -> dict[str, Interval]:
    """For each tensor the interval of its place: its own, or that of all tensors that lie there one after the other.

    `over`: the tensor in whose place another one is computed, by the name of that one. Those that are not among the
    intervals count for nothing.
    """
    first = {item.name: item.name for item in intervals}
    for name in first:
        while (before := over.get(first[name], "")) in first:
            first[name] = before
    found: dict[str, Interval] = {}
    for item in intervals:
        one = found.get(first[item.name], item)
        ends = min(one.first, item.first), max(one.last, item.last)
        found[first[item.name]] = Interval(first[item.name], max(one.nbytes, item.nbytes), *ends)
    return {name: found[start] for name, start in first.items()}


Order = Callable[[Interval], tuple[int, ...]]
"""The place of an interval among those that are placed one after the other."""


def _large_first(item: Interval) -> tuple[int, ...]:
    return -item.nbytes, item.first


def _long_first(item: Interval) -> tuple[int, ...]:
    return item.first - item.last, -item.nbytes, item.first


def _largest_area_first(item: Interval) -> tuple[int, ...]:
    return -item.nbytes * (item.last - item.first + 1), item.first


def _in_order(item: Interval) -> tuple[int, ...]:
    return item.first, -item.last, -item.nbytes


def _backwards(item: Interval) -> tuple[int, ...]:
    return -item.last, item.first, -item.nbytes


def plan_arena(
    intervals: Sequence[Interval],
    multiple: int = DRAM_ALIGN,
    over: Mapping[str, str] = MappingProxyType({}),
    order: Order = _large_first,
) -> tuple[dict[str, int], int]:
    """Offsets, multiples of `multiple`, for all tensors such that no two that live at the same time overlap; the total.
    Tensors that are computed `over` others (see `in_one_place`) have the offsets of these.

    Greedy: in the given order, each into the smallest sufficient gap (best fit) between those already placed.
    """
    places = in_one_place(intervals, over)
    placed: list[tuple[int, Interval]] = []
    for item in sorted(dict.fromkeys(places.values()), key=lambda i: (*order(i), i.name)):
        rivals = sorted(
            (offset, offset + other.nbytes)
            for offset, other in placed
            if other.first <= item.last and item.first <= other.last
        )
        best: tuple[int, int] | None = None
        end = 0
        for low, high in rivals:
            gap = low - end
            if gap >= item.nbytes and (best is None or gap < best[0]):
                best = (gap, end)
            end = max(end, align(high, multiple))
        placed.append((end if best is None else best[1], item))
    at = {item.name: offset for offset, item in placed}
    offsets = {name: at[item.name] for name, item in places.items()}
    return offsets, max((offset + item.nbytes for offset, item in placed), default=0)


def plan_resident(
    intervals: Sequence[Interval], over: Mapping[str, str], steps: int
) -> tuple[dict[str, int], list[int]]:
    """Offsets in ACT for resident tensors, and the bytes that they take in each of `steps` steps (see `taken_by`).

    Of several orders of `plan_arena` the one that leaves most room, all steps together.
    """
    found: list[tuple[int, dict[str, int], list[int]]] = []
    for order in (_large_first, _long_first, _largest_area_first, _in_order, _backwards):
        offsets, _ = plan_arena(intervals, SCRATCHPAD_ALIGN, over, order)
        taken = taken_by(intervals, offsets, steps)
        found.append((sum(taken), offsets, taken))
    _, offsets, taken = min(found, key=lambda item: item[0])
    return offsets, taken
