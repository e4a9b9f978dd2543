"""Values that the coefficients of a decomposed layer may have: 0 and signed powers of two.

Target files are read without NumPy, so this module imports it where arrays come in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVELS = (1, 2, 4)
"""Greatest magnitudes that the coefficients of a layer may have."""
COEFFICIENT_VALUES = "0 or of magnitude 1, 2 or 4"
"""The values, as messages say it."""


def magnitudes(level: int) -> tuple[int, ...]:
    """Magnitudes of the non-zero coefficients of a layer of which `level` is the greatest, in ascending order."""
    return LEVELS[: LEVELS.index(level) + 1]


def wrong_coefficients(t: NDArray[Any]) -> list[int]:
    """The values of int8 coefficients of any shape that no coefficient may have, each once, in ascending order."""
    import numpy as np

    values = np.unique(t)
    return [int(x) for x in values if abs(int(x)) not in (0, *LEVELS)]


def greatest_level(t: NDArray[Any]) -> int:
    """The greatest magnitude of int8 coefficients of any shape; 1 where all are 0."""
    return max(1, int(t.max()), -int(t.min())) if t.size else 1
