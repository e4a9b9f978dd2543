"""Coefficients of a layer, in DRAM as in COEF: the streams of its output channels, one after the other.

A stream holds the coefficients T[v][c] of an output channel, row-major. It begins at the bit after the last one of the
stream before it; only the first one of a transfer begins at a byte. Bit i is bit i % 8 of byte i // 8. The bits after
the last stream of a transfer are 0. A stream of n coefficients has these parts, numbers least significant bit first:

- the number of non-zeros: its `count_bits` low bits after the rest in unary code, which is so many zeros and a one;
- the b low bits of every gap. A gap is the number of coefficients before a mark, and the marks are the non-zeros or,
  if more than half of the coefficients are non-zeros, the zeros. With m marks, b is the greatest number for which
  8 (m + 1) (2^(b+1) + 1) is at most 15 n, and 0 if there is none above it;
- a bit for the sign of every non-zero, 1 for a negative one;
- the magnitudes. Those up to 1 take no bits. Others take a bit for every non-zero, 0 for the magnitude 2^`common`; with
  magnitudes up to 4, the other two magnitudes in ascending order take another bit each, and these bits stand together;
- the rest of every gap in unary code.

So the count tells how many bits the parts take, but for the other two magnitudes, of which there are as many as ones
before them, and for the last part, which ends with its m-th one. Counting ones finds the next stream: no code is read.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from isa.bitstream import PackingError
from isa.layout import ceil_div
from isa.levels import COEFFICIENT_VALUES, LEVELS, wrong_coefficients

MAX_COEFFICIENTS = 1 << 26
"""Coefficients of the streams of a transfer: what the largest scratchpad (16 MiB, two bits each) can hold."""

_WHAT = "streams of coefficients"
COUNT_BITS = range(27)
"""Low bits of counts that a code may have."""


class StreamCode(NamedTuple):
    """What the streams of a layer have in common: low bits of counts, and the binary logarithms of the greatest and of
    the most common magnitude.
    """

    count_bits: int
    level: int
    common: int

    @property
    def coding(self) -> int:
        """The three as one number, as the transfers of a constant hold it."""
        return self.count_bits | self.level << 5 | self.common << 7

    @classmethod
    def of(cls, coding: int) -> StreamCode:
        """The inverse of `coding`. Raises `PackingError` if no code has this number."""
        code = cls(coding & 31, coding >> 5 & 3, coding >> 7)
        if coding < 0 or code.count_bits not in COUNT_BITS or not code.common <= code.level < len(LEVELS):
            raise PackingError(f"{_WHAT}: code {coding} is undefined")
        return code


def stream_code(t: NDArray[np.int8]) -> StreamCode:
    """The code that suits coefficients int8 [K, V, C] of a layer. Raises ValueError if there are others among them."""
    if wrong_coefficients(t):
        raise ValueError(f"coefficients must be {COEFFICIENT_VALUES}")
    found = np.bincount(np.abs(t[t != 0]), minlength=LEVELS[-1] + 1)[list(LEVELS)]
    level = int(np.flatnonzero(found).max(initial=0))
    common = int(np.argmax(found)) if level == 2 else 0
    counts = np.count_nonzero(t, axis=(1, 2))
    bits = np.array(COUNT_BITS)
    sizes = (counts >> bits[:, None]).sum(axis=1) + len(counts) * bits
    return StreamCode(int(np.argmin(sizes)), level, common)


def stream_bits(t: NDArray[np.int8], code: StreamCode | None = None) -> NDArray[np.int64]:
    """Bits of the stream of each output channel of int8 [K, V, C], in the code that suits them unless one is given."""
    from isa.streamloops import stream_sizes

    k, n = len(t), t[0].size if len(t) else 0
    bits = np.zeros(k, np.int64)
    flat = np.ascontiguousarray(t, np.int8).reshape(k, n)
    flat.flags.writeable = False  # Numba would compile the kernel for either kind of array
    stream_sizes(flat, code or stream_code(t), bits)
    return bits


def stream_bytes(bits: NDArray[np.int64]) -> int:
    """Bytes of a transfer of streams of so many bits."""
    return ceil_div(int(bits.sum()), 8)


def pack_streams(t: NDArray[np.int8], code: StreamCode) -> bytes:
    """The streams of the output channels of int8 [K, V, C] as one transfer. The code must be one of a layer that these
    channels belong to.
    """
    from isa.streamloops import write_streams

    k, v, c = t.shape
    data = np.zeros(stream_bytes(stream_bits(t, code)), np.uint8)
    write_streams(np.ascontiguousarray(t, np.int8).reshape(k, v * c), code, data)
    return data.tobytes()


class Channels(NamedTuple):
    """Unpacked streams: coefficients int8 [kn, v, c], and the bits of each stream, int64 [kn]."""

    t: NDArray[np.int8]
    sizes: NDArray[np.int64]


def unpack_streams(data: bytes, first: int, code: StreamCode, shape: tuple[int, int, int]) -> Channels:
    """Unpack the streams of `shape`, (kn, v, c), which begin at the bit `first` and end in the last byte of `data`.

    Raises `PackingError` if `data` do not hold exactly these. The bits after them may be another stream.
    """
    kn, v, c = shape
    if kn * v * c > MAX_COEFFICIENTS:
        raise PackingError(f"{_WHAT}: [{kn}, {v}, {c}] are more than {MAX_COEFFICIENTS} coefficients")
    t = np.empty((kn, v * c), np.int8)
    return Channels(t.reshape(shape), np.diff(_read(data, first, code, t), prepend=first))


def measure_streams(data: bytes, code: StreamCode, shape: tuple[int, int, int]) -> NDArray[np.int64]:
    """Bits of each stream, int64 [kn], of a transfer of `shape`, (kn, v, c).

    Raises `PackingError` if `data` are not exactly these streams with zeros to the end of the last byte.
    """
    sizes = unpack_streams(data, 0, code, shape).sizes
    end = int(sizes.sum())
    if end % 8 and data[end // 8] >> end % 8:
        raise PackingError(f"{_WHAT}: bits are set after the last one")
    return sizes


def _read(data: bytes, first: int, code: StreamCode, t: NDArray[np.int8]) -> NDArray[np.int64]:
    """Unpack to `t` [kn, n]; the bit after the last one of each stream, int64 [kn]."""
    from isa.streamloops import BEYOND, COUNT, read_streams

    kn, n = t.shape
    ends = np.empty(kn, np.int64)
    failed = read_streams(np.frombuffer(data, np.uint8), first, code, t, ends)
    if failed:
        why = {COUNT: f"a count exceeds {n} coefficients", BEYOND: f"a mark lies beyond the last of {n} coefficients"}
        raise PackingError(f"{_WHAT}: {why.get(failed, f'{len(data)} bytes are too few')}")
    end = int(ends[-1]) if kn else first
    if ceil_div(end, 8) != len(data):
        raise PackingError(f"{_WHAT}: {len(data) - ceil_div(end, 8)} bytes follow the last one")
    return ends
