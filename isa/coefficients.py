"""Coefficients of a layer, in DRAM as in COEF: the streams of its output channels, one after the other.

The stream of an output channel begins with a number, of 7 bits a byte as in packed coefficients: four times the bytes
that follow it, plus the format of the packed coefficients T[v][c] that these bytes are. Streams are independent of one
another: every PE block can begin with the channel that it takes, and the number tells where the next stream begins.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from isa.bitstream import BitReader, PackingError, number
from isa.formats import CoefficientFormat
from isa.packing import MAX_COEFFICIENTS, best, packed_level, packed_size, unpack

_CODINGS = 4
"""What the number at the head of a stream counts bytes by."""
_READER = "streams of coefficients"


def channel_bytes(t: NDArray[np.int8]) -> NDArray[np.int64]:
    """Bytes of the stream of each output channel of int8[K, V, C]."""
    sizes = (packed_size(channel) for channel in t)
    return np.array([size + len(number(_CODINGS * size)) for size in sizes], np.int64)


def pack_channels(t: NDArray[np.int8]) -> list[bytes]:
    """The streams of the output channels of int8[K, V, C], each in its smallest format."""
    return [_stream(*best(channel)) for channel in t]


def _stream(coding: CoefficientFormat, data: bytes) -> bytes:
    return number(_CODINGS * len(data) + int(coding)) + data


class Channels(NamedTuple):
    """Unpacked streams: coefficients int8 [kn, v, c], and the bytes of each stream, int64 [kn]."""

    t: NDArray[np.int8]
    sizes: NDArray[np.int64]


def unpack_channels(data: bytes, kn: int, v: int, c: int) -> Channels:
    """Unpack the streams of `kn` output channels. Raises `PackingError` if `data` are not exactly these."""
    if kn * v * c > MAX_COEFFICIENTS:
        raise PackingError(f"{_READER}: [{kn}, {v}, {c}] are more than {MAX_COEFFICIENTS} coefficients")
    reader = BitReader(data, _READER)
    t, ends = np.empty((kn, v, c), np.int8), np.empty(kn, np.int64)
    for k in range(kn):
        size, coding = divmod(reader.number(), _CODINGS)
        t[k] = unpack(reader.take(size).tobytes(), CoefficientFormat(coding), 1, v, c)[0]
        ends[k] = reader.place
    reader.finish()
    return Channels(t, np.diff(ends, prepend=0))


class StreamHeads(NamedTuple):
    """Bytes of each stream, int64 [kn], and the greatest magnitude of its coefficients, int64 [kn]: 1, 2 or 4."""

    sizes: NDArray[np.int64]
    levels: NDArray[np.int64]


def measure_streams(data: bytes, kn: int) -> StreamHeads:
    """What the heads of the `kn` streams in `data` say. Raises `PackingError` if `data` hold another number of them."""
    reader = BitReader(data, _READER)
    ends, levels = np.empty(kn, np.int64), np.empty(kn, np.int64)
    for k in range(kn):
        size, coding = divmod(reader.number(), _CODINGS)
        levels[k] = packed_level(reader.take(size).tobytes(), CoefficientFormat(coding))
        ends[k] = reader.place
    reader.finish()
    return StreamHeads(np.diff(ends, prepend=0), levels)
