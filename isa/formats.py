"""The ground floor of the instruction set: queues, memories, data formats and the reductions that fields can name."""

from __future__ import annotations

from enum import IntEnum


class Queue(IntEnum):
    """The four in-order instruction queues."""

    LOAD = 0
    COMPUTE = 1
    POST = 2
    STORE = 3


class Space(IntEnum):
    """A memory that instructions read or write. DRAM is two of them: constants, and the arena of activations."""

    ACT = 0
    COEF = 1
    PAR = 2
    PSUM = 3
    ARENA = 4
    CONSTANTS = 5

    @property
    def address_space(self) -> str:
        """The name of the addresses: each scratchpad has its own, and both parts of DRAM share `dram`."""
        return self.name.lower() if self < Space.ARENA else "dram"


class TensorFormat(IntEnum):
    """How an activation tensor lies in DRAM (see `isa.layout`)."""

    RAW = 0
    BITMAP = 1


class SignFormat(IntEnum):
    """How packed signs of weights lie in DRAM (see `isa.packing`)."""

    FLAT = 0
    TWO_LEVEL = 1
    DELTA = 2


class Scratchpad(IntEnum):
    """Destination of a linear load."""

    COEF = 0
    PAR = 1
    ACT = 2


class PoolKind(IntEnum):
    """How the post unit reduces a window."""

    MAX = 0
    AVERAGE = 1
