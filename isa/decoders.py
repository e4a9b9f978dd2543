"""Logic that reads coded streams, as pieces of a machine: what a decoder of some symbols a cycle is made of.

The codes are those of `isa.coefficients`, `isa.packing`, `isa.weights` and `isa.gather`. A symbol is cut out of a
window of the next bits of its stream by a barrel shifter, which is a multiplexer a bit and stage. A number in unary
code is found by the ones before it: each bit of the window adds to a running sum, and a tree of multiplexers picks the
place.
"""

from __future__ import annotations

from isa.cells import ADD_INT8, FLIP_FLOP, MULTIPLEXER
from isa.events import EnergyComponent

DECODERS = EnergyComponent("decoders", "decoders of weights and coefficients")
"""The part of the machine that has the energy of all decoders: that of their logic which switches."""

WINDOW_BITS = 64
"""Bits of a stream that a decoder looks at in a cycle."""
_FULL_ADDER = ADD_INT8 / 8


def bits_of(n: int) -> int:
    """Bits of a number below n, one at least."""
    return max(1, (n - 1).bit_length())


def shifter_um2(width: int, places: int) -> float:
    """A barrel shifter whose result has `width` bits, from any of `places`."""
    return width * bits_of(places) * MULTIPLEXER


def window_um2(streams: int) -> float:
    """Registers of the windows of streams that are read at once, and what refills them at any bit."""
    return streams * (WINDOW_BITS * FLIP_FLOP + shifter_um2(WINDOW_BITS, WINDOW_BITS))


def ones_um2() -> float:
    """What counts the ones of a window up to each of its bits: an adder of a few bits a bit."""
    return WINDOW_BITS * bits_of(WINDOW_BITS) * _FULL_ADDER


def gap_um2(low_bits: int, places: int) -> float:
    """One gap of a Rice or Golomb code whose parts are in streams of their own: the low bits, the place of its one in
    the window of the rest, and the sum that makes a place below `places` of it.
    """
    one = WINDOW_BITS * MULTIPLEXER
    return shifter_um2(low_bits, WINDOW_BITS) + one + bits_of(places) * 2 * _FULL_ADDER


def look_up_um2(entries: int, width: int) -> float:
    """A read port of a table in registers: a tree of multiplexers a bit."""
    return (entries - 1) * width * MULTIPLEXER


def compare_um2(width: int) -> float:
    """A comparator of two numbers."""
    return width * _FULL_ADDER


def canonical_um2(longest: int, symbols: int) -> float:
    """One symbol of a canonical prefix code with codes of up to `longest` bits: its bits are compared with the first
    code of every length at once, and the length, the first code and the number of the symbol follow.
    """
    compared = longest * compare_um2(longest)
    of_length = look_up_um2(longest, longest + bits_of(symbols)) + compare_um2(bits_of(symbols))
    return shifter_um2(longest, WINDOW_BITS) + compared + of_length + look_up_um2(symbols, bits_of(symbols))


def canonical_table_um2(longest: int, symbols: int) -> float:
    """The table of such a code: the symbols in the order of their codes, and of each length the first code and where
    its symbols begin.
    """
    return (symbols * bits_of(symbols) + longest * (longest + bits_of(symbols))) * FLIP_FLOP
