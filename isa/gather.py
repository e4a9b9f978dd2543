"""Streams of sparse weights for `conv.gather`: packer and unpacker side by side.

A stream holds the non-zeros of weights [kn][taps][c] of some output channels. The window of a position lies in banks:
its value at (tap, channel) is in bank (`bank` + tap * `step` + channel) mod `banks`, and all banks are read in the same
cycle. `rows` output channels make up a bundle; the last bundle may have fewer. The entries of a bank in a bundle are in
the order of their keys: with L places of the window in the bank, the entry at place i of the n-th output channel has
the key n * L + i. A group is one entry of each bank that has one left. So a bundle takes as many groups as its fullest
bank has entries.

The bits of a stream, numbers least significant bit first, bit i being bit i % 8 of byte i // 8:

- 4 bits g, 3 bits m: parameters of Rice codes. A number n in a Rice code of parameter p is n >> p in unary code, which
  is so many zeros and a one, and then the p low bits of n;
- a bit: 1 if output channels are in an order of their own. Then the numbers of all kn channels follow, each of as many
  bits as kn - 1 has;
- every bundle: 16 bits the number of groups, 4 bits d, and for every bank the number of groups in which it has no
  entry, in a Rice code of parameter d. Then its groups in order, and in a group the entries in the order of their
  banks: the number of keys between the key and the one before it in the bank (Rice code of parameter g), a bit for the
  sign (1: negative), and the magnitude less 1 (Rice code of parameter m).

The bits after the last bundle are 0, less than a byte of them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from isa.bitstream import PackingError
from isa.integers import ceil_div

I8 = NDArray[np.int8]
Longs = NDArray[np.int64]

MOST_GROUPS = (1 << 16) - 1
"""Groups of a bundle that a stream can count."""
_WHAT = "stream of sparse weights"
_NO_NUMBERS = np.empty(0, np.int64)


class Gathering(NamedTuple):
    """How a window lies in banks, and how many output channels share a bundle: fields of `conv.gather` of these names.

    Those of a part of the input channels, from `first` on, of a layer of C are `of(banks, rows, C, first)`, so that a
    value of the window is in the same bank however the channels are split.
    """

    banks: int
    rows: int
    bank: int
    step: int

    @classmethod
    def of(cls, banks: int, rows: int, channels: int, first: int = 0) -> Gathering:
        """The banks of a window in which values are numbered [R][S][C], the channels from `first` on."""
        return cls(banks, rows, first % banks, channels % banks)


class Banking(NamedTuple):
    """How a convolution is gathered, whatever part of it: banks of a window, output channels of a bundle, and 1 if
    these are in an order of their own.
    """

    banks: int
    bundle: int
    spread: int


class Places(NamedTuple):
    """Places of a window [taps * c], bank after bank: those of bank b are `places[starts[b] : starts[b + 1]]`."""

    places: Longs
    starts: Longs


class Unpacked(NamedTuple):
    """Weights int8 [kn, taps, c], and what the bundles take: groups [bundles] and entries [bundles]."""

    weights: I8
    groups: Longs
    entries: Longs


@lru_cache(maxsize=256)
def places_of(taps: int, c: int, how: Gathering) -> Places:
    """The places of a window of `c` channels at each tap, in the order of their banks."""
    index = how.bank + np.arange(taps)[:, None] * how.step + np.arange(c)
    bank: Longs = (index % how.banks).reshape(-1)
    starts = np.concatenate([[0], np.cumsum(np.bincount(bank, minlength=how.banks))])
    return Places(np.argsort(bank, kind="stable"), starts)


def bundles(kn: int, rows: int) -> Longs:
    """The first output channel of each bundle, and kn."""
    return np.array([*range(0, kn, rows), kn], np.int64)


def bank_loads(weights: I8, how: Gathering) -> Longs:
    """Entries of each bank in each bundle of weights [kn, taps, c], whose channels are in order: [bundles, banks]."""
    kn, taps, c = weights.shape
    where = places_of(taps, c, how)
    marks = (weights.reshape(kn, -1) != 0)[:, where.places]
    ends = np.concatenate([np.zeros((kn, 1), np.int64), np.cumsum(marks, axis=1)], axis=1)
    of_rows = np.diff(ends[:, where.starts], axis=1)
    return np.add.reduceat(of_rows, bundles(kn, how.rows)[:-1], axis=0)


def spread(weights: I8, how: Gathering) -> Longs:
    """An order of output channels in which the banks of a bundle have more equal numbers of entries: [kn].

    Those with most entries choose first, each the bundle with room whose fullest bank grows least, and of these the one
    with the fewest entries.
    """
    kn = len(weights)
    loads = bank_loads(weights, how._replace(rows=1))
    firsts = bundles(kn, how.rows)
    room = np.diff(firsts)
    filled = np.zeros((len(room), how.banks), np.int64)
    chosen: list[list[int]] = [[] for _ in room]
    for k in np.argsort(-loads.sum(axis=1), kind="stable"):
        free = np.flatnonzero(room)
        grown = (filled[free] + loads[k]).max(axis=1) - filled[free].max(axis=1)
        at = free[np.lexsort((filled[free].sum(axis=1), grown))[0]]
        filled[at] += loads[k]
        room[at] -= 1
        chosen[at].append(int(k))
    return np.array([k for some in chosen for k in sorted(some)], np.int64)


def order_of(weights: I8, how: Gathering, spread_out: bool) -> Longs | None:
    """The order of their own of output channels that are spread; None if they are not, or if it saves no group."""
    if not spread_out:
        return None
    order = spread(weights, how)
    before, after = (bank_loads(w, how).max(axis=1).sum() for w in (weights, weights[order]))
    return order if after < before else None


def pack_gather(weights: I8, how: Gathering, order: Longs | None = None) -> bytes:
    """The stream of int8 weights [kn, taps, c] from -127 to 127, its output channels in an order of their own if given.

    Raises ValueError if a weight is -128, or a bank has more entries in a bundle than a stream can count.
    """
    from isa.gatherloops import GROUPS, packed_stream

    kn, taps, c = weights.shape
    where = places_of(taps, c, how)
    arranged = np.take(weights.reshape(kn, taps * c), where.places, axis=1)
    if order is not None:
        arranged = arranged[order]
    numbers = _NO_NUMBERS if order is None else order
    bits, data = packed_stream(arranged, where.starts, how.rows, numbers, _width(kn), MOST_GROUPS)
    if bits < 0:
        groups = f"a bundle takes more than {MOST_GROUPS} groups"
        raise ValueError(groups if bits == GROUPS else "weights must be from -127 to 127")
    return data[: ceil_div(bits, 8)].tobytes()


def unpack_gather(data: bytes, how: Gathering, shape: tuple[int, int, int]) -> Unpacked:
    """The inverse of `pack_gather` for a `shape` [kn, taps, c].

    Raises `PackingError` if `data` is not exactly one stream of such weights.
    """
    from isa.gatherloops import read_stream

    kn, taps, c = shape
    where = places_of(taps, c, how)
    weights = np.zeros((kn, taps * c), np.int8)
    taken = np.zeros((2, ceil_div(kn, how.rows)), np.int64)
    raw = np.frombuffer(data, np.uint8)
    end = read_stream(raw, where.places, where.starts, how.rows, _width(kn), weights, taken)
    if end < 0:
        raise PackingError(f"{_WHAT}: {_FAULTS[-end]}")
    if ceil_div(end, 8) != len(data) or (end % 8 and int(raw[-1]) >> end % 8):
        raise PackingError(f"{_WHAT}: {len(data)} bytes do not end with the last bundle")
    return Unpacked(weights.reshape(shape), taken[0], taken[1])


_FAULTS = (
    "",
    "it ends too early",
    "a bank lacks more entries than its bundle has groups",
    "an entry lies outside of its bundle",
    "a magnitude exceeds 127",
    "a bundle has more groups than its fullest bank has entries",
    "the order of the output channels names one of them twice",
)


def _width(kn: int) -> int:
    """Bits of the number of an output channel."""
    return (kn - 1).bit_length()
