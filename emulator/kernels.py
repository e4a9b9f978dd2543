"""Compiled inner loops that several units share: records, lines and window patches.

Every memory is an array `uint8 [N, bytes]`, one row per image of the batch (partial sums: `int32 [N, words]`); offsets
are validated before the first instruction runs (`isa.validity`), so kernels check only what depends on data.
Kernels that can meet malformed data return -1 (or a count that is never negative otherwise).
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from emulator.geometry import OutTile, Region, Window
from isa.jit import jit

Bytes: TypeAlias = NDArray[np.uint8]
Words: TypeAlias = NDArray[np.int32]
Longs: TypeAlias = NDArray[np.int64]


@jit
def load_raw(
    dram: Bytes,
    region: Region,
    act: Bytes,
    target: int,
    chunk: int,
) -> int:
    """Compress a RAW region into records; bytes written (bitmaps and values) for image 0."""
    cn = region.cn
    position_stride = region.tensor_c
    row_stride = region.tensor_w * region.tensor_c
    source = region.tensor + region.y * row_stride + region.x * position_stride + region.c
    slot = min(cn, chunk)
    bitmap_bytes = (slot + 7) >> 3
    written = 0
    record = bitmap_bytes + slot
    for n in range(dram.shape[0]):
        at = target
        for y in range(region.h):
            for x in range(region.w):
                position = source + y * row_stride + x * position_stride
                for first in range(0, cn, chunk):
                    count = min(chunk, cn - first)
                    values = at + bitmap_bytes
                    k = values
                    bits = 0
                    for i in range(count):
                        v = dram[n, position + first + i]
                        act[n, k] = v
                        some = np.int64(v != 0)
                        k += some
                        bits |= some << (i & 7)
                        if i & 7 == 7:
                            act[n, at + (i >> 3)] = bits
                            bits = 0
                    if count & 7:
                        act[n, at + (count >> 3)] = bits
                    for i in range((count + 7) >> 3, bitmap_bytes):
                        act[n, at + i] = 0
                    if n == 0:
                        written += bitmap_bytes + k - values
                    at += record
    return int(written)


@jit
def load_bitmap(
    dram: Bytes,
    region: Region,
    act: Bytes,
    target: int,
    chunk: int,
    line_bytes: int,
    moved: Longs,
) -> int:
    """Distribute the lines of a region over records. `moved` [lines] receives the bytes of each line of image 0.

    Returns the bytes written (bitmaps and values) for image 0, -1 on a bitmap with bits beyond its channels.
    """
    tensor, tensor_w, tensor_c, segment, y, x, c, h, w, cn = region
    source_bitmap = (min(tensor_c, chunk) + 7) >> 3
    slot = min(cn, chunk)
    bitmap_bytes = (slot + 7) >> 3
    record = bitmap_bytes + slot
    tensor_chunks = (tensor_c + chunk - 1) // chunk
    segments = (tensor_w + segment - 1) // segment
    chunks = (cn + chunk - 1) // chunk
    first_segment = x // segment
    last_segment = (x + w - 1) // segment
    written = 0
    for n in range(dram.shape[0]):
        index = 0
        for row in range(h):
            for j in range(chunks):
                have = min(chunk, tensor_c - c - j * chunk)
                want = min(chunk, cn - j * chunk)
                for g in range(first_segment, last_segment + 1):
                    line = tensor + (((y + row) * tensor_chunks + c // chunk + j) * segments + g) * line_bytes
                    positions = min(segment, tensor_w - g * segment)
                    values = line + positions * source_bitmap
                    for p in range(positions):
                        bitmap = line + p * source_bitmap
                        column = g * segment + p - x
                        keep = 0 <= column < w
                        at = target + ((row * w + column) * chunks + j) * record
                        k = at + bitmap_bytes
                        for byte in range(source_bitmap):
                            bits = np.int64(dram[n, bitmap + byte])
                            room = have - byte * 8
                            if room < 8 and bits >> max(room, 0):
                                return -1
                            if keep and byte < bitmap_bytes:
                                # Channels beyond the region are dropped.
                                cut = want - byte * 8
                                kept = bits if cut >= 8 else bits & ((1 << max(cut, 0)) - 1)
                                act[n, at + byte] = kept
                            else:
                                kept = 0
                            while bits:
                                if kept & 1:
                                    act[n, k] = dram[n, values]
                                    k += 1
                                values += bits & 1
                                bits >>= 1
                                kept >>= 1
                        if n == 0 and keep:
                            written += k - at
                    if n == 0:
                        moved[index] = values - line
                    index += 1
    return int(written)


@jit
def expand(
    act: Bytes, source: int, positions: int, c: int, chunk: int, slot: int, bitmap_bytes: int, out: Bytes
) -> int:
    """Decode the records of a tile into plain bytes `out` [N, positions * c]; -1 on bits beyond the channels."""
    record = bitmap_bytes + slot
    nonzero = 0
    for n in range(act.shape[0]):
        at = source
        to = 0
        for _ in range(positions):
            for first in range(0, c, chunk):
                count = min(chunk, c - first)
                k = at + bitmap_bytes
                for byte in range(bitmap_bytes):
                    bits = np.int64(act[n, at + byte])
                    room = min(8, count - byte * 8)
                    if room < 8 and bits >> max(room, 0):
                        return -1
                    for _ in range(room):
                        bit = bits & 1
                        out[n, to] = act[n, k] * bit
                        k += bit
                        to += 1
                        bits >>= 1
                if n == 0:
                    nonzero += k - at - bitmap_bytes
                at += record
    return int(nonzero)


@jit
def gather(
    tile: Bytes,
    window: Window,
    flip: int,
    cs: int,
    cn: int,
    out: NDArray[np.float32],
) -> None:
    """Window patches `out` [N, oh, ow, r, s, cn] of plain tiles `tile` [N, ih * iw * ic]; `flip`: 128 if signed."""
    ih, iw, ic, r, s, sy, sx, pt, pl, oh, ow = window
    for n in range(tile.shape[0]):
        for y in range(oh):
            for x in range(ow):
                for i in range(r):
                    row = y * sy - pt + i
                    for j in range(s):
                        column = x * sx - pl + j
                        if 0 <= row < ih and 0 <= column < iw:
                            at = (row * iw + column) * ic + cs
                            for k in range(cn):
                                out[n, y, x, i, j, k] = (np.int32(tile[n, at + k]) ^ np.int32(flip)) - np.int32(flip)
                        else:
                            for k in range(cn):
                                out[n, y, x, i, j, k] = 0.0


@jit
def store_raw(out: Bytes, tile: OutTile, dram: Bytes, region: Region) -> None:
    """Copy a tile of plain bytes to a RAW region."""
    row_stride = region.tensor_w * region.tensor_c
    target = region.tensor + region.y * row_stride + region.x * region.tensor_c + region.c
    for n in range(out.shape[0]):
        for y in range(region.h):
            for x in range(region.w):
                at = tile.at + y * tile.row_stride + x * tile.position_stride
                to = target + y * row_stride + x * region.tensor_c
                for i in range(region.cn):
                    dram[n, to + i] = out[n, at + i]


@jit
def store_bitmap(
    out: Bytes,
    tile: OutTile,
    dram: Bytes,
    region: Region,
    chunk: int,
    line_bytes: int,
    moved: Longs,
) -> None:
    """Compress a tile of plain bytes into the lines of a region; `moved` [lines]: bytes of each line of image 0."""
    tensor, tensor_w, tensor_c, segment, y, x, c, h, w, cn = region
    bitmap_bytes = (min(tensor_c, chunk) + 7) >> 3
    tensor_chunks = (tensor_c + chunk - 1) // chunk
    segments = (tensor_w + segment - 1) // segment
    chunks = (cn + chunk - 1) // chunk
    for n in range(out.shape[0]):
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
                            v = out[n, at + i]
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
