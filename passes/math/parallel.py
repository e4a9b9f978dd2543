"""Work on independent rows by all processors; what comes out does not depend on how many there are."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise

_LEAST_WORK = 1 << 23
"""Steps of a compiled loop that are worth a thread."""


@cache
def _pool() -> ThreadPoolExecutor:
    # Of its own: tasks here wait for no other, so that tasks of another pool may wait for them.
    return ThreadPoolExecutor(_processors())


@cache
def _processors() -> int:
    return os.cpu_count() or 1


def over_rows(task: Callable[[slice], object], rows: int, work: int) -> None:
    """Call the task for slices that cover the rows [0, rows), at once where `work`, the steps of all, is worth it.

    The task must release the interpreter lock, and must compute a row without reading what it writes of others.
    """
    parts = max(1, min(_processors(), rows, work // _LEAST_WORK))
    bounds = [rows * i // parts for i in range(parts + 1)]
    slices = [slice(first, end) for first, end in pairwise(bounds)]
    if parts == 1:
        task(slices[0])
    else:
        list(_pool().map(task, slices))
