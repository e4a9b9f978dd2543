"""Compiled inner loops that several units share: regions, lines and window patches.

Every memory is an array `uint8 [N, bytes]`, one row per image of the batch (partial sums: `int32 [N, words]`); offsets
are validated before the first instruction runs (`isa.validity`), so kernels check only what depends on data.
Kernels that can meet malformed data return whether it is well formed.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from emulator.geometry import Region, TilePlace, Window
from isa.jit import borrowing

Bytes: TypeAlias = NDArray[np.uint8]
Words: TypeAlias = NDArray[np.int32]
Longs: TypeAlias = NDArray[np.int64]


@borrowing
def load_raw(dram: Bytes, region: Region, act: Bytes, tile: TilePlace) -> None:
    """Copy a RAW region to a tile."""
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
def load_bitmap(
    dram: Bytes,
    region: Region,
    act: Bytes,
    tile: TilePlace,
    chunk: int,
    line_bytes: int,
    moved: Longs,
) -> bool:
    """Expand the lines of a region into a tile. `moved` [lines] receives the bytes of each line of image 0.

    Returns False on a bitmap with bits beyond its channels.
    """
    tensor, tensor_w, tensor_c, segment, y, x, c, h, w, cn = region
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
def gather(
    act: Bytes,
    tile: TilePlace,
    window: Window,
    flip: int,
    cs: int,
    cn: int,
    out: NDArray[np.float32],
) -> None:
    """Window patches `out` [N, oh, ow, r, s, cn] of a tile; `flip`: 128 if signed."""
    ih, iw, _, r, s, sy, sx, pt, pl, oh, ow = window
    for n in range(act.shape[0]):
        for y in range(oh):
            for x in range(ow):
                for i in range(r):
                    row = y * sy - pt + i
                    for j in range(s):
                        column = x * sx - pl + j
                        if 0 <= row < ih and 0 <= column < iw:
                            at = tile.at + row * tile.row_stride + column * tile.position_stride + cs
                            for k in range(cn):
                                out[n, y, x, i, j, k] = (np.int32(act[n, at + k]) ^ np.int32(flip)) - np.int32(flip)
                        else:
                            for k in range(cn):
                                out[n, y, x, i, j, k] = 0.0


@borrowing
def store_raw(act: Bytes, tile: TilePlace, dram: Bytes, region: Region) -> None:
    """Copy a tile to a RAW region."""
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
def store_bitmap(
    act: Bytes,
    tile: TilePlace,
    dram: Bytes,
    region: Region,
    chunk: int,
    line_bytes: int,
    moved: Longs,
) -> None:
    """Compress a tile into the lines of a region; `moved` [lines]: bytes of each line of image 0."""
    tensor, tensor_w, tensor_c, segment, y, x, c, h, w, cn = region
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
