"""Which row each layer takes so that a network keeps a limit: a dynamic programme over the layers.

A row is a pair of what it costs and the error that it adds. What matters of the layers so far are the sums of pairs
that no other pair beats in both. So the programme goes from layer to layer with that frontier alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F = NDArray[np.float64]
I64 = NDArray[np.int64]

MOST_SUMS = 20_000
"""Sums of a frontier; of more, so many at equal distances are kept, the first and the last among them."""


@dataclass(frozen=True)
class Frontier:
    """Sums over all layers that no others beat in cost and in error: float64 [N] both, costs ascending, errors
    descending. `steps` has for each layer the rows [N_i] that it takes, and the sums [N_i] of the layers before it that
    these are added to.
    """

    costs: F
    errors: F
    steps: tuple[tuple[I64, I64], ...]

    def within_cost(self, limit: float) -> int | None:
        """The sum of the least error among those that cost no more than `limit`; None if all cost more."""
        at = int(np.searchsorted(self.costs, limit, "right")) - 1
        return at if at >= 0 else None

    def within_error(self, limit: float) -> int | None:
        """The cheapest sum among those of no larger error than `limit`; None if all errors are larger."""
        at = int(np.searchsorted(-self.errors, -limit, "left"))
        return at if at < len(self.errors) else None

    def rows(self, at: int) -> tuple[int, ...]:
        """The row of each layer of a sum."""
        found: list[int] = []
        for rows, before in reversed(self.steps):
            found.append(int(rows[at]))
            at = int(before[at])
        return tuple(reversed(found))


def frontier(layers: Sequence[tuple[F, F]], most: int = MOST_SUMS) -> Frontier:
    """The frontier of layers, each with the costs and the errors of its rows: float64 [R] both, finite, R at least 1.

    It is exact unless a frontier has more than `most` sums; then the cheapest choice and that of the least error are.
    """
    costs, errors = np.zeros(1), np.zeros(1)
    steps: list[tuple[I64, I64]] = []
    for own_costs, own_errors in layers:
        cost = (costs[:, None] + own_costs).reshape(-1)
        error = (errors[:, None] + own_errors).reshape(-1)
        order = np.lexsort((error, cost))
        least = np.minimum.accumulate(error[order])
        better = np.concatenate([[True], least[1:] < least[:-1]])
        kept = order[better]
        if len(kept) > most:
            kept = kept[np.arange(most) * (len(kept) - 1) // (most - 1)]
        costs, errors = cost[kept], error[kept]
        steps.append((kept % len(own_costs), kept // len(own_costs)))
    return Frontier(costs, errors, tuple(steps))
