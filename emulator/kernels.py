"""Compiled inner loops of the functional machine: formats, post unit, depthwise convolution.

Every memory is an array `uint8 [N, bytes]`, one row per image of the batch (partial sums: `int32 [N, words]`); offsets
are validated before the first instruction runs (`emulator.validity`), so kernels check only what depends on data.
Kernels that can meet malformed data return -1 (or a count that is never negative otherwise).
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from emulator.jit import jit

Bytes: TypeAlias = NDArray[np.uint8]
Words: TypeAlias = NDArray[np.int32]
Longs: TypeAlias = NDArray[np.int64]


@jit
def load_raw(
    dram: Bytes,
    source: int,
    row_stride: int,
    position_stride: int,
    h: int,
    w: int,
    cn: int,
    act: Bytes,
    target: int,
    chunk: int,
    slot: int,
    bitmap_bytes: int,
) -> int:
    """Compress a region [h][w][cn] of plain bytes into records; bytes written (bitmaps and values) for image 0."""
    written = 0
    record = bitmap_bytes + slot
    for n in range(dram.shape[0]):
        at = target
        for y in range(h):
            for x in range(w):
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
    tensor: int,
    tensor_w: int,
    tensor_c: int,
    segment: int,
    y: int,
    x: int,
    c: int,
    h: int,
    w: int,
    cn: int,
    act: Bytes,
    target: int,
    chunk: int,
    line_bytes: int,
    moved: Longs,
) -> int:
    """Distribute the lines of a region over records. `moved` [lines] receives the bytes of each line of image 0.

    Returns the bytes written (bitmaps and values) for image 0, -1 on a bitmap with bits beyond its channels.
    """
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
    ih: int,
    iw: int,
    ic: int,
    flip: int,
    r: int,
    s: int,
    sy: int,
    sx: int,
    pt: int,
    pl: int,
    oh: int,
    ow: int,
    cs: int,
    cn: int,
    out: NDArray[np.float32],
) -> None:
    """Window patches `out` [N, oh, ow, r, s, cn] of plain tiles `tile` [N, ih * iw * ic]; `flip`: 128 if signed."""
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
def depthwise(
    tile: Bytes,
    ih: int,
    iw: int,
    ic: int,
    flip: int,
    r: int,
    s: int,
    sy: int,
    sx: int,
    pt: int,
    pl: int,
    oh: int,
    ow: int,
    channels: Longs,
    weights: Words,
    psum: Words,
    target: int,
    kt: int,
    accumulate: bool,
) -> bool:
    """psum[target + (y*ow+x)*kt + i] (+)= sum weights[r, s, i] * tile[.., channels[i]]; whether all fit int32."""
    kn = channels.size
    fits = True
    sums = np.empty(kn, np.int64)
    for n in range(tile.shape[0]):
        for y in range(oh):
            for x in range(ow):
                to = target + (y * ow + x) * kt
                for k in range(kn):
                    sums[k] = psum[n, to + k] if accumulate else 0
                for i in range(max(0, pt - y * sy), min(r, ih + pt - y * sy)):
                    for j in range(max(0, pl - x * sx), min(s, iw + pl - x * sx)):
                        at = ((y * sy - pt + i) * iw + x * sx - pl + j) * ic
                        for k in range(kn):
                            v = (np.int64(tile[n, at + channels[k]]) ^ flip) - flip
                            sums[k] += v * weights[i, j, k]
                for k in range(kn):
                    fits &= -(1 << 31) <= sums[k] < 1 << 31
                    psum[n, to + k] = sums[k]
    return fits


@jit
def requantise(
    psum: Words,
    source: int,
    positions: int,
    kt: int,
    bias: Longs,
    mult: Longs,
    shift: Longs,
    lo: int,
    hi: int,
    lut: int,
    table: Longs,
    residual: Bytes,
    res_c: int,
    res_k: int,
    addition: Longs,
    out: Bytes,
    target: int,
    ow: int,
    out_w: int,
    out_c: int,
) -> None:
    """post.requant. `table` [256] holds the values q after the table; `residual` [N, positions * res_c] plain bytes.

    `addition`: ma, mb, alo, ahi, shift, 128 if the residual is signed else 0; empty without a residual.
    """
    kn = bias.size
    add = addition.size > 0
    if add:
        ma, mb, alo, ahi, ashift, flip = addition[0], addition[1], addition[2], addition[3], addition[4], addition[5]
        around = np.int64(1) << (ashift - 1)
    else:
        ma = mb = alo = ahi = ashift = flip = around = np.int64(0)
    for n in range(psum.shape[0]):
        for p in range(positions):
            at = source + p * kt
            to = target + ((p // ow) * out_w + p % ow) * out_c
            for k in range(kn):
                q = (
                    (np.int64(psum[n, at + k]) + bias[k]) * mult[k] + (np.int64(1) << (shift[k] - np.int64(1)))
                ) >> shift[k]
                q = min(max(q, lo), hi)
                if lut:
                    q = table[q & 255]
                if add:
                    b = (np.int64(residual[n, p * res_c + res_k + k]) ^ flip) - flip
                    q = min(max((q * ma + b * mb + around) >> ashift, alo), ahi)
                out[n, to + k] = q & 255


@jit
def add_tiles(
    a: Bytes,
    a_flip: int,
    b: Bytes,
    b_flip: int,
    positions: int,
    kn: int,
    addition: Longs,
    out: Bytes,
    target: int,
    ow: int,
    out_w: int,
    out_c: int,
) -> None:
    """post.add of plain tiles [N, positions * kn]; `addition` as in `requantise`."""
    ma, mb, alo, ahi, shift = addition[0], addition[1], addition[2], addition[3], addition[4]
    around = np.int64(1) << (shift - 1)
    for n in range(a.shape[0]):
        for p in range(positions):
            at = p * kn
            to = target + ((p // ow) * out_w + p % ow) * out_c
            for k in range(kn):
                va = (np.int64(a[n, at + k]) ^ a_flip) - a_flip
                vb = (np.int64(b[n, at + k]) ^ b_flip) - b_flip
                out[n, to + k] = min(max((va * ma + vb * mb + around) >> shift, alo), ahi) & 255


@jit
def map_tile(
    tile: Bytes,
    ih: int,
    iw: int,
    ic: int,
    sy: int,
    sx: int,
    dy: int,
    dx: int,
    dc: int,
    oh: int,
    ow: int,
    kn: int,
    table: Bytes,
    out: Bytes,
    target: int,
    out_w: int,
    out_c: int,
) -> None:
    """post.map; `table` [256] is the identity where the instruction has none."""
    for n in range(tile.shape[0]):
        for y in range(oh):
            row = y * sy + dy
            for x in range(ow):
                column = x * sx + dx
                to = target + (y * out_w + x) * out_c
                at = (row * iw + column) * ic + dc
                inside = 0 <= row < ih and 0 <= column < iw
                for k in range(kn):
                    if inside and 0 <= k + dc < ic:
                        out[n, to + k] = table[tile[n, at + k]]
                    else:
                        out[n, to + k] = table[0]


@jit
def pool(
    tile: Bytes,
    ih: int,
    iw: int,
    ic: int,
    flip: int,
    r: int,
    s: int,
    sy: int,
    sx: int,
    pt: int,
    pl: int,
    oh: int,
    ow: int,
    cs: int,
    kn: int,
    average: int,
    counted: Longs,
    mult: Longs,
    count0: int,
    shift: int,
    lo: int,
    hi: int,
    out: Bytes,
    target: int,
    out_w: int,
    out_c: int,
    sums: Longs,
) -> None:
    """post.pool. `counted`: first and end row, first and end column that count in an average; `sums` [kn]: scratch."""
    for n in range(tile.shape[0]):
        for y in range(oh):
            for x in range(ow):
                to = target + (y * out_w + x) * out_c
                top = y * sy - pt
                left = x * sx - pl
                for k in range(kn):
                    sums[k] = 0 if average else -256
                for row in range(max(top, 0), min(top + r, ih)):
                    for column in range(max(left, 0), min(left + s, iw)):
                        at = (row * iw + column) * ic + cs
                        if average:
                            for k in range(kn):
                                sums[k] += (np.int64(tile[n, at + k]) ^ flip) - flip
                        else:
                            for k in range(kn):
                                sums[k] = max(sums[k], (np.int64(tile[n, at + k]) ^ flip) - flip)
                if average:
                    rows = min(top + r, counted[1]) - max(top, counted[0])
                    columns = min(left + s, counted[3]) - max(left, counted[2])
                    m = mult[rows * columns - count0]
                    around = np.int64(1) << (shift - 1)
                    for k in range(kn):
                        out[n, to + k] = min(max((sums[k] * m + around) >> shift, lo), hi) & 255
                else:
                    for k in range(kn):
                        out[n, to + k] = sums[k] & 255


@jit
def store_raw(
    out: Bytes,
    source: int,
    source_row: int,
    source_position: int,
    h: int,
    w: int,
    cn: int,
    dram: Bytes,
    target: int,
    target_row: int,
    target_position: int,
) -> None:
    """Copy a tile of plain bytes between two strided regions."""
    for n in range(out.shape[0]):
        for y in range(h):
            for x in range(w):
                at = source + y * source_row + x * source_position
                to = target + y * target_row + x * target_position
                for i in range(cn):
                    dram[n, to + i] = out[n, at + i]


@jit
def store_bitmap(
    out: Bytes,
    source: int,
    out_w: int,
    out_c: int,
    h: int,
    w: int,
    cn: int,
    dram: Bytes,
    tensor: int,
    tensor_w: int,
    tensor_c: int,
    segment: int,
    y: int,
    x: int,
    c: int,
    chunk: int,
    line_bytes: int,
    moved: Longs,
) -> None:
    """Compress a tile of plain bytes into the lines of a region; `moved` [lines]: bytes of each line of image 0."""
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
                        at = source + (row * out_w + g * segment + p - x) * out_c + j * chunk
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
