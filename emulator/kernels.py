"""Compiled inner loops that several units share: regions, lines and window patches.

Every memory is an array `uint8 [N, bytes]`, one row per image of the batch (partial sums: `int32 [N, words]`); offsets
are validated before the first instruction runs (`isa.validity`), so kernels check only what depends on data.
Kernels that can meet malformed data return whether it is well formed.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from emulator.geometry import (
    BEHIND_REGION,
    BEHIND_REGION_AND_TILE,
    BEHIND_TILE,
    region_in,
    tile_in,
    window_in,
)
from isa.jit import borrowing

Bytes: TypeAlias = NDArray[np.uint8]
Words: TypeAlias = NDArray[np.int32]
Longs: TypeAlias = NDArray[np.int64]
Bitmaps: TypeAlias = NDArray[np.uint64]
Floats: TypeAlias = NDArray[np.float32]
Sums: TypeAlias = NDArray[np.float32] | NDArray[np.float64] | NDArray[np.int32]


@borrowing
def load_raw(dram: Bytes, act: Bytes, numbers: Longs) -> None:
    """Copy a RAW region to a tile. `numbers`: region and tile, packed."""
    region, tile = region_in(numbers, 0), tile_in(numbers, BEHIND_REGION)
    row_stride = region.tensor_w * region.tensor_c
    source = region.tensor + region.y * row_stride + region.x * region.tensor_c + region.c
    for n in range(dram.shape[0]):
        for y in range(region.h):
            for x in range(region.w):
                at = source + y * row_stride + x * region.tensor_c
                to = tile.at + y * tile.row_stride + x * tile.position_stride
                for i in range(region.cn):
                    act[n, to + i] = dram[n, at + i]


@borrowing
def load_bitmap(dram: Bytes, act: Bytes, numbers: Longs, moved: Longs) -> bool:
    """Expand the lines of a region into a tile. `moved` [lines] receives the bytes of each line of image 0.

    `numbers`: region, tile and form of the lines, packed. Returns False on a bitmap with bits beyond its channels.
    """
    tensor, tensor_w, tensor_c, segment, y, x, c, h, w, cn = region_in(numbers, 0)
    tile = tile_in(numbers, BEHIND_REGION)
    chunk, line_bytes = numbers[BEHIND_REGION_AND_TILE], numbers[BEHIND_REGION_AND_TILE + 1]
    bitmap_bytes = (min(tensor_c, chunk) + 7) >> 3
    tensor_chunks = (tensor_c + chunk - 1) // chunk
    segments = (tensor_w + segment - 1) // segment
    chunks = (cn + chunk - 1) // chunk
    first_segment = x // segment
    last_segment = (x + w - 1) // segment
    for n in range(dram.shape[0]):
        index = 0
        for row in range(h):
            for j in range(chunks):
                have = min(chunk, tensor_c - c - j * chunk)
                want = min(chunk, cn - j * chunk)
                for g in range(first_segment, last_segment + 1):
                    line = tensor + (((y + row) * tensor_chunks + c // chunk + j) * segments + g) * line_bytes
                    positions = min(segment, tensor_w - g * segment)
                    values = line + positions * bitmap_bytes
                    for p in range(positions):
                        bitmap = line + p * bitmap_bytes
                        column = g * segment + p - x
                        wanted = want if 0 <= column < w else 0
                        to = tile.at + row * tile.row_stride + column * tile.position_stride + j * chunk
                        for byte in range(bitmap_bytes):
                            bits = np.int64(dram[n, bitmap + byte])
                            room = have - byte * 8
                            if room < 8 and bits >> max(room, 0):
                                return False
                            for i in range(byte * 8, byte * 8 + 8):
                                bit = bits & 1
                                if i < wanted:
                                    act[n, to + i] = dram[n, values] * bit
                                values += bit
                                bits >>= 1
                    if n == 0:
                        moved[index] = values - line
                    index += 1
    return True


@borrowing
def gather(act: Bytes, numbers: Longs, flip: int, cs: int, cn: int, out: Floats) -> None:
    """Window patches `out` [N, oh, ow, r, s, cn] of channels [cs, cs+cn) of a tile.

    `numbers`: tile and windows, packed; `flip`: 128 if signed. Columns that lie side by side are copied in one run.
    """
    tile = tile_in(numbers, 0)
    ih, iw, _, r, s, sy, sx, pt, pl, oh, ow = window_in(numbers, BEHIND_TILE)
    sign, flat, size = np.int32(flip), out.reshape(-1), s * cn
    whole = tile.position_stride == cn
    to = 0
    for n in range(act.shape[0]):
        for y in range(oh):
            for x in range(ow):
                left = x * sx - pl
                begin, end = min(max(0, -left), s), max(0, min(s, iw - left))
                for i in range(r):
                    row = y * sy - pt + i
                    if row < 0 or row >= ih or end <= begin:
                        flat[to : to + size] = 0
                    else:
                        flat[to : to + begin * cn] = 0
                        at = tile.at + row * tile.row_stride + (left + begin) * tile.position_stride + cs
                        if whole:
                            _convert(act[n, at : at + (end - begin) * cn], sign, flat[to + begin * cn : to + end * cn])
                        else:
                            for j in range(begin, end):
                                _convert(act[n, at : at + cn], sign, flat[to + j * cn : to + (j + 1) * cn])
                                at += tile.position_stride
                        flat[to + end * cn : to + size] = 0
                    to += size


@borrowing
def _convert(stored: Bytes, sign: np.int32, out: Floats) -> None:
    for k in range(out.size):
        out[k] = (np.int32(stored[k]) ^ sign) - sign


@borrowing
def convert(act: Bytes, numbers: Longs, flip: int, out: Floats) -> None:
    """The values `out` [N, h, w, channels] of a tile; `numbers` and `flip` as in `gather`."""
    tile = tile_in(numbers, 0)
    sign = np.int32(flip)
    for n in range(act.shape[0]):
        for y in range(tile.h):
            at = tile.at + y * tile.row_stride
            for x in range(tile.w):
                _convert(act[n, at : at + tile.channels], sign, out[n, y, x])
                at += tile.position_stride


@borrowing
def renew(act: Bytes, numbers: Longs, kept: Bytes) -> bool:
    """Whether `kept` [N, h, w, channels] differs from the stored bytes of a tile; holds them afterwards."""
    tile = tile_in(numbers, 0)
    differs = False
    for n in range(act.shape[0]):
        for y in range(tile.h):
            for x in range(tile.w):
                at = tile.at + y * tile.row_stride + x * tile.position_stride
                row, stored = kept[n, y, x], act[n, at : at + tile.channels]
                for k in range(tile.channels):
                    differs |= row[k] != stored[k]
                    row[k] = stored[k]
    return differs


@borrowing
def nonzeros(act: Bytes, numbers: Longs) -> int:
    """Values of a tile of image 0 that are not zero."""
    tile = tile_in(numbers, 0)
    whole = tile.position_stride == tile.channels
    runs, run = (1, tile.w * tile.channels) if whole else (tile.w, tile.channels)
    found = 0
    for y in range(tile.h):
        for x in range(runs):
            at = tile.at + y * tile.row_stride + x * tile.position_stride
            stored = act[0, at : at + run]
            some = np.int32(0)
            for k in range(run):
                some += np.int32(stored[k] != 0)
            found += int(some)
    return found


@borrowing
def mark(act: Bytes, numbers: Longs, chunk: int, bits: Bitmaps) -> None:
    """Bitmaps `bits` [positions, chunks] of the values of a tile of image 0 that are not zero, as the read port makes
    them.
    """
    tile = tile_in(numbers, 0)
    for y in range(tile.h):
        for x in range(tile.w):
            at = tile.at + y * tile.row_stride + x * tile.position_stride
            for c in range(bits.shape[1]):
                found = np.uint64(0)
                for k in range(min(chunk, tile.channels - c * chunk)):
                    found |= np.uint64(act[0, at + c * chunk + k] != 0) << np.uint64(k)
                bits[y * tile.w + x, c] = found


@borrowing
def add_sums(values: Sums, psum: Words, at: int, kt: int, accumulate: bool, certain: bool) -> bool:
    """Write sums [N, positions, kn] to words `at`, `at` + kt, ... of PSUM, added to the old ones if `accumulate`.

    Returns whether all fit int32; `certain`: sums that are not added to anything do.
    """
    fits = True
    for n in range(psum.shape[0]):
        to = at
        for p in range(values.shape[1]):
            if certain and not accumulate:
                for k in range(values.shape[2]):
                    psum[n, to + k] = np.int32(values[n, p, k])
            else:
                for k in range(values.shape[2]):
                    total = np.int64(values[n, p, k]) + (np.int64(psum[n, to + k]) if accumulate else 0)
                    fits &= -(1 << 31) <= total < 1 << 31
                    psum[n, to + k] = np.int32(total)
            to += kt
    return bool(fits)


@borrowing
def store_raw(act: Bytes, dram: Bytes, numbers: Longs) -> None:
    """Copy a tile to a RAW region. `numbers`: region and tile, packed."""
    region, tile = region_in(numbers, 0), tile_in(numbers, BEHIND_REGION)
    row_stride = region.tensor_w * region.tensor_c
    target = region.tensor + region.y * row_stride + region.x * region.tensor_c + region.c
    for n in range(act.shape[0]):
        for y in range(region.h):
            for x in range(region.w):
                at = tile.at + y * tile.row_stride + x * tile.position_stride
                to = target + y * row_stride + x * region.tensor_c
                for i in range(region.cn):
                    dram[n, to + i] = act[n, at + i]


@borrowing
def store_bitmap(act: Bytes, dram: Bytes, numbers: Longs, moved: Longs) -> None:
    """Compress a tile into the lines of a region; `moved` [lines]: bytes of each line of image 0.

    `numbers`: region, tile and form of the lines, packed.
    """
    tensor, tensor_w, tensor_c, segment, y, x, c, h, w, cn = region_in(numbers, 0)
    tile = tile_in(numbers, BEHIND_REGION)
    chunk, line_bytes = numbers[BEHIND_REGION_AND_TILE], numbers[BEHIND_REGION_AND_TILE + 1]
    bitmap_bytes = (min(tensor_c, chunk) + 7) >> 3
    tensor_chunks = (tensor_c + chunk - 1) // chunk
    segments = (tensor_w + segment - 1) // segment
    chunks = (cn + chunk - 1) // chunk
    for n in range(act.shape[0]):
        index = 0
        for row in range(h):
            for j in range(chunks):
                count = min(chunk, cn - j * chunk)
                for g in range(x // segment, (x + w - 1) // segment + 1):
                    line = tensor + (((y + row) * tensor_chunks + c // chunk + j) * segments + g) * line_bytes
                    positions = min(segment, tensor_w - g * segment)
                    k = line + positions * bitmap_bytes
                    for p in range(positions):
                        at = tile.at + row * tile.row_stride + (g * segment + p - x) * tile.position_stride + j * chunk
                        bitmap = line + p * bitmap_bytes
                        bits = 0
                        for i in range(count):
                            v = act[n, at + i]
                            dram[n, k] = v
                            some = np.int64(v != 0)
                            k += some
                            bits |= some << (i & 7)
                            if i & 7 == 7:
                                dram[n, bitmap + (i >> 3)] = bits
                                bits = 0
                        if count & 7:
                            dram[n, bitmap + (count >> 3)] = bits
                        for i in range((count + 7) >> 3, bitmap_bytes):
                            dram[n, bitmap + i] = 0
                    if n == 0:
                        moved[index] = k - line
                    index += 1
