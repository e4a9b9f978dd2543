"""What functions of a declaration must answer: amounts, and sequences of what they describe."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np


def is_amount(value: object) -> bool:
    """Whether it is a finite number not below 0, or an array of such."""
    if not isinstance(value, int | float | np.integer | np.floating | np.ndarray):
        return False
    array = np.asarray(cast(Any, value))
    return array.dtype.kind in "iuf" and bool((np.isfinite(array) & (array >= 0)).all())


def is_amounts(value: object) -> bool:
    """Whether it is a mapping whose values are such amounts."""
    return isinstance(value, Mapping) and all(map(is_amount, cast("Mapping[object, object]", value).values()))


def is_sequence_of(kind: type) -> Callable[[object], bool]:
    """Whether something is a sequence of instances of a class."""
    return lambda value: (
        isinstance(value, Sequence) and all(isinstance(part, kind) for part in cast("Sequence[object]", value))
    )
