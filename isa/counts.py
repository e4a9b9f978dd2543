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
    COEF_READ = 11
    COEF_WRITE = 12
    PAR_READ = 13
    PAR_WRITE = 14
    PSUM_READ = 15
    PSUM_WRITE = 16
    DRAM_ACTIVATIONS_IN = 17
    DRAM_ACTIVATIONS_OUT = 18
    DRAM_WEIGHTS = 19
    DRAM_PARAMETERS = 20
    CA_ADD_INT8 = 21
    CA_ADD_INT32 = 22
    MAC_MUL_INT8 = 23
    MAC_ADD_INT32 = 24
    POST_ADD_INT8 = 25
    POST_ADD_INT32 = 26
    POST_MUL_INT32 = 27
    INPUT_NONZEROS = 28
    INPUT_VALUES = 29
    WEIGHT_NONZEROS = 30
    WEIGHT_VALUES = 31
    CA_EXPANSION = 32
    REGISTERS_READ = 33
    REGISTERS_WRITE = 34
    FIFO_READ = 35
    FIFO_WRITE = 36
    GATHER_WORK = 37
    GATHER_CONFLICT = 38
    GATHER_IMBALANCE = 39
    GATHER_PRODUCTS = 40
    GATHER_GROUPS = 41
