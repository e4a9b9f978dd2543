"""Chains of reshapes and transposes as one: a reshape, a transpose, a reshape."""

from __future__ import annotations

import math
from collections.abc import Sequence


class Rearrangement:
    """What a chain of reshapes and transposes does to a tensor in row-major order, up to its latest shape.

    The tensor is seen as one of many axes, its pieces, of which each axis of the latest shape is a run. A reshape that
    cuts through an axis splits pieces; a transpose moves them.
    """

    def __init__(self, shape: Sequence[int]):
        self.shape = tuple(shape)
        self._extents: list[int] = [d for d in shape if d > 1]
        self._source: list[int] = list(range(len(self._extents)))
        """Numbers of the pieces in the order of the tensor that the chain starts from."""
        self._current: list[int] = list(self._source)
        self._marked: list[int] | None = None

    def reshape(self, shape: Sequence[int]) -> None:
        """Go on with a reshape. Raises ValueError if an axis would take parts of two axes drawn apart."""
        pending, pieces = list(self._current), list[int]()
        for extent in shape:
            while extent > 1:
                if not pending:
                    raise ValueError("other number of elements")
                piece = pending.pop(0)
                common = math.gcd(self._extents[piece], extent)
                if common != min(self._extents[piece], extent):
                    pending[:1] = [self._merge(piece, *pending[:1])]
                    continue
                if common < self._extents[piece]:
                    piece, rest = self._split(piece, common)
                    pending.insert(0, rest)
                pieces.append(piece)
                extent //= common
        if pending:
            raise ValueError("other number of elements")
        self.shape, self._current = tuple(shape), pieces

    def _merge(self, piece: int, following: int | None = None) -> int:
        """Make one piece of two. Raises ValueError if the second does not follow the first where the chain starts."""
        at = self._source.index(piece)
        if following is None or self._source[at + 1 : at + 2] != [following]:
            raise ValueError("an axis takes parts of two axes that were drawn apart")
        self._extents[piece] *= self._extents[following]
        if self._marked is not None and (piece in self._marked) != (following in self._marked):
            self._marked = None
        for order in (self._source, self._current, self._marked or []):
            if following in order:
                order.remove(following)
        return piece

    def _split(self, piece: int, outer: int) -> tuple[int, int]:
        """Split a piece into two, the outer one of the given extent."""
        rest = len(self._extents)
        self._extents.append(self._extents[piece] // outer)
        self._extents[piece] = outer
        for order in (self._source, self._current, self._marked or []):
            if piece in order:
                order.insert(order.index(piece) + 1, rest)
        return piece, rest

    def transpose(self, perm: Sequence[int]) -> None:
        """Go on with a transpose."""
        runs = [self._axis(i) for i in range(len(self.shape))]
        self._current = [piece for i in perm for piece in runs[i]]
        self.shape = tuple(self.shape[i] for i in perm)

    def mark(self, index: int) -> None:
        """Follow an axis of the latest shape from here on."""
        self._marked = self._axis(index)

    @property
    def marked(self) -> int | None:
        """The last axis of the latest shape that holds what the marked one held, in its order; None if none does."""
        axes = reversed(range(len(self.shape)))
        return next((i for i in axes if self._axis(i) == self._marked), None)

    def _axis(self, index: int) -> list[int]:
        """Pieces of an axis of the latest shape, none for an extent of 1."""
        start = self._after(self.shape[:index])
        return self._current[start : start + self._after(self.shape[index : index + 1], start)]

    def _after(self, extents: Sequence[int], start: int = 0) -> int:
        """Pieces that make up axes of the given extents, from a piece on."""
        size, count = math.prod(extents), 0
        while size > 1:
            size //= self._extents[self._current[start + count]]
            count += 1
        return count

    @property
    def view(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """(view, perm): the first shape reshaped to `view` and transposed by `perm` is the latest one, row by row.

        Both are empty if nothing is transposed.
        """
        if self._current == self._source:
            return (), ()
        position = {piece: i for i, piece in enumerate(self._source)}
        return tuple(self._extents[piece] for piece in self._source), tuple(position[piece] for piece in self._current)
