"""How far a long pass has come, for whoever listens."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar

_LISTENER: ContextVar[Callable[[str], None] | None] = ContextVar("listener", default=None)

_ENOUGH = 0.05
"""Part of the work after which its pace is known: before, the time in which loops are compiled would count for it."""


@contextmanager
def listening(listener: Callable[[str], None]) -> Generator[None]:
    """Within the context, what passes tell goes to the listener, a line of text each."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


class Progress:
    """Tells which of several pieces of work begins, and how long all that are left may take.

    `work` is the work of each piece in any unit, as far as that can be said before.
    """

    def __init__(self, work: list[float], clock: Callable[[], float] = time.monotonic):
        self._work = work
        self._clock = clock
        self._begin = clock()
        self._number = 0

    def next(self, what: str) -> None:
        """The next piece begins."""
        done, total = sum(self._work[: self._number]), sum(self._work)
        self._number += 1
        if (listener := _LISTENER.get()) is None:
            return
        text = f"{what} ({self._number} of {len(self._work)})"
        if done > 0 and done >= _ENOUGH * total:
            left = (self._clock() - self._begin) * (total - done) / done
            text = f"{text}, about {_duration(left)} left"
        listener(text)


def _duration(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole} s" if whole < 120 else f"{round(whole / 60)} min"
