"""Places for the buffers of one layer after the other, each where the layers before need the bytes no longer first.

Loads run ahead of what reads them until they come to bytes that are still in use. So the next load goes where the
oldest data lies, whichever layer it is of, and a buffer has as many instances as there is room.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from passes.tiling.memory import SCRATCHPAD_ALIGN, reserve, stack

MOST_INSTANCES = 32
"""Instances of a buffer, where it has a use for more. No load is more instructions ahead of what reads it."""


@dataclass(frozen=True)
class Filling:
    """A buffer as a layer uses it: bytes of an instance, how many there must be, and the regions that it holds one
    after the other.

    `kept`: whether an instance that holds a region already is used again (constants), or is filled anew (partial sums).
    """

    nbytes: int
    instances: int
    regions: Sequence[Hashable] = ()
    kept: bool = False

    @property
    def most(self) -> int:
        """Instances of which each has a use."""
        useful = len(set(self.regions)) if self.kept else len(self.regions)
        return max(self.instances, min(useful, MOST_INSTANCES))

    def last_uses(self, instances: int) -> list[float]:
        """For each of so many instances the share of the layer after which it is not used any more."""
        held: list[Hashable] = [None] * instances
        uses = [0.0 if self.regions else 1.0] * instances
        current = -1
        for step, region in enumerate(self.regions, 1):
            if self.kept and region in held:
                current = held.index(region)
            else:
                current = (current + 1) % instances
                held[current] = region
            uses[current] = step / len(self.regions)
        return uses


class _Taken(NamedTuple):
    """Bytes [low, high) that are in use until some time, in layers from the start of the program."""

    low: int
    high: int
    until: float


class Scratch:
    """One scratchpad in the course of a program."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity - capacity % SCRATCHPAD_ALIGN
        self._taken: list[_Taken] = []
        self._layers = 0

    def place(self, wanted: Sequence[Filling]) -> list[list[int]]:
        """Addresses of the instances of each buffer of the next layer, in the order in which they are filled.

        The buffers stand in the order in which they are first filled. Raises ValueError if they do not fit.
        """
        before = list(self._taken)
        found = self._first_instances(wanted)
        for filling, places in zip(wanted, found, strict=True):
            while len(places) < filling.most and (address := self._put(filling.nbytes)) is not None:
                places.append(address)
        new = [
            _Taken(address, address + reserve(filling.nbytes), self._layers + use)
            for filling, places in zip(wanted, found, strict=True)
            for address, use in zip(places, filling.last_uses(len(places)), strict=True)
        ]
        self._taken = [*_without(before, new), *new]
        self._layers += 1
        return found

    def _first_instances(self, wanted: Sequence[Filling]) -> list[list[int]]:
        """As many instances as there must be: each in its best place, or all from the bottom up where these leave no
        room for one.
        """
        before = list(self._taken)
        sizes = [filling.nbytes for filling in wanted for _ in range(filling.instances)]
        places = [address for size in sizes if (address := self._put(size)) is not None]
        if len(places) < len(sizes):
            places = stack(sizes, self.capacity, False)
            taken = [_Taken(at, at + reserve(size), math.inf) for at, size in zip(places, sizes, strict=True)]
            self._taken = [*before, *taken]
        rest = iter(places)
        return [[next(rest) for _ in range(filling.instances)] for filling in wanted]

    def _put(self, nbytes: int) -> int | None:
        """Take the bytes that are free first; None if this layer leaves none."""
        size = reserve(nbytes)
        edges = {0, *(edge for low, high, _ in self._taken for edge in (high, low - size))}
        choices = [(self._until(at, at + size), at) for at in edges if 0 <= at <= self.capacity - size]
        until, at = min(choices, default=(math.inf, 0))
        if until == math.inf:
            return None
        self._taken.append(_Taken(at, at + size, math.inf))
        return at

    def _until(self, low: int, high: int) -> float:
        """When the bytes [low, high) are free."""
        return max((each.until for each in self._taken if each.low < high and low < each.high), default=0.0)


def _without(taken: Sequence[_Taken], new: Sequence[_Taken]) -> list[_Taken]:
    """What is left of bytes in use beside new ones."""
    left = list(taken)
    for low, high, _ in new:
        parts = [
            part
            for each in left
            for part in (each._replace(high=min(each.high, low)), each._replace(low=max(each.low, high)))
        ]
        left = [part for part in parts if part.low < part.high]
    return left
