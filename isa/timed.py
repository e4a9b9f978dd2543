"""Instructions as the timing of the machine sees them: their queues, what they wait for, and what they take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Longs: TypeAlias = NDArray[np.int64]


class TimedInstructions(NamedTuple):
    """Columns of n instructions in the order of their program.

    `queue` [n]; `signal` [n], 1 if the instruction raises the semaphore of its queue when it ends; `waits` [n, queues],
    the count that each semaphore must have reached before it starts (0: it does not wait). `cycles` [n]: of the unit,
    for a DMA instruction those of its scratchpad side without its issue. `requests`: for each instruction the DRAM
    requests [m, 2] (address, bytes), in order. `text`: DRAM address of the first instruction word.

    `expansion` [n]: cycles in which a compute instruction fills the registers of its first step, not among `cycles`;
    `released` [n]: cycles before its end from which those of the next instruction may be filled. None: all are 0.
    """

    queue: Longs
    signal: Longs
    waits: Longs
    cycles: Longs
    requests: Sequence[Longs]
    text: int = 0
    expansion: Longs | None = None
    released: Longs | None = None
