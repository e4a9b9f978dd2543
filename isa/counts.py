"""The events that energy and statistics count, one column each in the emulator's records."""

from __future__ import annotations

from enum import IntEnum


class Count(IntEnum):
    """What an instruction adds to; bytes, values, operations or slice-cycles."""

    MULTIPLICATIONS = 0
    MATCHES = 1
    CA_WORK = 2
    CA_BROADCAST = 3
    CA_FIFO = 4
    CA_MAC = 5
    CA_ADDER_TREE = 6
    CA_IMBALANCE = 7
    CA_ISSUE = 8
    ACT_READ = 9
    ACT_WRITE = 10
    OUT_READ = 11
    OUT_WRITE = 12
    COEF_READ = 13
    COEF_WRITE = 14
    PAR_READ = 15
    PAR_WRITE = 16
    PSUM_READ = 17
    PSUM_WRITE = 18
    DRAM_ACTIVATIONS_IN = 19
    DRAM_ACTIVATIONS_OUT = 20
    DRAM_WEIGHTS = 21
    DRAM_PARAMETERS = 22
    CA_ADD_INT8 = 23
    CA_ADD_INT32 = 24
    MAC_MUL_INT8 = 25
    MAC_ADD_INT32 = 26
    POST_ADD_INT8 = 27
    POST_ADD_INT32 = 28
    POST_MUL_INT32 = 29
    INPUT_NONZEROS = 30
    INPUT_VALUES = 31
    WEIGHT_NONZEROS = 32
    WEIGHT_VALUES = 33
