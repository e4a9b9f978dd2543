"""When to stop choosing which coefficients are used: as soon as the choice no longer changes.

Networks settle on what they will keep long before they are trained (You et al., "Drawing early-bird tickets", 2020).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor

_SUCCESSIVE = 5
"""Masks that must agree."""
_CLOSE = 0.1
"""Largest distance of any two of them."""


def distance(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    """Share of the coefficients that either of two masks keeps and the other does not; bool tensors, one a layer."""
    differ = sum(int(torch.count_nonzero(x ^ y)) for x, y in zip(a, b, strict=True))
    either = sum(int(torch.count_nonzero(x | y)) for x, y in zip(a, b, strict=True))
    return differ / max(1, either)


class EarlyBird:
    """The last masks that the budget would choose, one after another."""

    def __init__(self) -> None:
        self.masks: deque[list[Tensor]] = deque(maxlen=_SUCCESSIVE)

    def settled(self, mask: list[Tensor]) -> bool:
        """Take in a mask; whether it and those before it are as good as equal."""
        self.masks.append(mask)
        if len(self.masks) < _SUCCESSIVE:
            return False
        return all(distance(a, b) <= _CLOSE for a, b in combinations(self.masks, 2))
