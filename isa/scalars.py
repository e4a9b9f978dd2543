"""Numbers of other libraries as Python's own; loads none of those libraries."""

from __future__ import annotations

from numbers import Integral, Real


def plain_number(value: object) -> object:
    """A Python int or float for a number of any library, such as a NumPy scalar; anything else as it is."""
    if isinstance(value, bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real) else value
