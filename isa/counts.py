"""The events that instructions share: energy and statistics count them whoever causes them.

What one instruction alone counts is declared in its file (`isa.events`).
"""

from __future__ import annotations

from enum import IntEnum


class Count(IntEnum):
    """What an instruction adds to; bytes, values or operations."""

    MULTIPLICATIONS = 0
    MATCHES = 1
    ACT_READ = 2
    ACT_WRITE = 3
    COEF_READ = 4
    COEF_WRITE = 5
    PAR_READ = 6
    PAR_WRITE = 7
    PSUM_READ = 8
    PSUM_WRITE = 9
    DRAM_ACTIVATIONS_IN = 10
    DRAM_ACTIVATIONS_OUT = 11
    DRAM_WEIGHTS = 12
    DRAM_PARAMETERS = 13
    CA_ADD_INT8 = 14
    CA_ADD_INT32 = 15
    MAC_MUL_INT8 = 16
    MAC_ADD_INT32 = 17
    POST_ADD_INT8 = 18
    POST_ADD_INT32 = 19
    POST_MUL_INT32 = 20
    INPUT_NONZEROS = 21
    INPUT_VALUES = 22
    WEIGHT_NONZEROS = 23
    WEIGHT_VALUES = 24
    REGISTERS_READ = 25
    REGISTERS_WRITE = 26
    FIFO_READ = 27
    FIFO_WRITE = 28
