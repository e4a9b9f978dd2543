"""Activation tensors as bytes: the plain reference of the layouts in `isa.layout`.

Values are uint8 arrays [h, w, c] of stored bytes (`.view(np.uint8)` of int8 tensors). Undefined bytes are written as 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from isa.formats import TensorFormat
from isa.layout import RecordLayout, TensorLayout

_U8 = NDArray[np.uint8]


def pack_tensor(tensor: _U8, layout: TensorLayout) -> _U8:
    """Lay out a tensor [h, w, c] as in DRAM; returns `layout.nbytes` bytes."""
    out = np.zeros(layout.nbytes, np.uint8)
    if layout.format is TensorFormat.RAW:
        out[: tensor.size] = tensor.reshape(-1)
        return out
    records = layout.records
    slots = _chunked(tensor, records)
    lines = out.reshape(layout.h, records.chunks, layout.segments, layout.line_bytes)
    for s in range(layout.segments):
        part = slots[:, s * layout.segment : (s + 1) * layout.segment]
        positions = part.shape[1]
        by_line = part.transpose(0, 2, 1, 3).reshape(layout.h * records.chunks, positions, records.slot)
        lines[:, :, s] = _pack_lines(by_line, layout.line_bytes).reshape(layout.h, records.chunks, layout.line_bytes)
    return out


def unpack_tensor(data: _U8, layout: TensorLayout) -> _U8:
    """The tensor [h, w, c] that the bytes from `data[0]` on hold."""
    h, w, c = layout.h, layout.w, layout.c
    if layout.format is TensorFormat.RAW:
        return data[: h * w * c].reshape(h, w, c).copy()
    records = layout.records
    lines = data[: layout.nbytes].reshape(h, records.chunks, layout.segments, layout.line_bytes)
    tensor = np.empty((h, w, records.chunks * records.slot), np.uint8)
    for s in range(layout.segments):
        positions = min(layout.segment, w - s * layout.segment)
        part = _unpack_lines(lines[:, :, s].reshape(h * records.chunks, -1), positions, records.slot)
        by_position = part.reshape(h, records.chunks, positions, records.slot).transpose(0, 2, 1, 3)
        tensor[:, s * layout.segment : s * layout.segment + positions] = by_position.reshape(h, positions, -1)
    return np.ascontiguousarray(tensor[:, :, :c])


def _chunked(tensor: _U8, layout: RecordLayout) -> _U8:
    """[h, w, c] padded with zeros to [h, w, chunks, slot]."""
    h, w, c = tensor.shape
    padded = np.zeros((h, w, layout.chunks * layout.slot), np.uint8)
    padded[:, :, :c] = tensor
    return padded.reshape(h, w, layout.chunks, layout.slot)


def _pack_lines(slots: _U8, line_bytes: int) -> _U8:
    """[lines, positions, slot] to [lines, line_bytes]: the bitmaps of all positions, then their non-zeros."""
    lines, positions, slot = slots.shape
    bitmaps = np.packbits(slots != 0, axis=2, bitorder="little").reshape(lines, -1)
    values = slots.reshape(lines, positions * slot)
    order = np.argsort(values == 0, axis=1, kind="stable")
    out = np.zeros((lines, line_bytes), np.uint8)
    out[:, : bitmaps.shape[1]] = bitmaps
    out[:, bitmaps.shape[1] : bitmaps.shape[1] + values.shape[1]] = np.take_along_axis(values, order, axis=1)
    return out


def _unpack_lines(lines: _U8, positions: int, slot: int) -> _U8:
    """[lines, line_bytes] to [lines, positions, slot]."""
    bitmap_bytes = -(-slot // 8)
    bitmaps = np.ascontiguousarray(lines[:, : positions * bitmap_bytes]).reshape(len(lines), positions, bitmap_bytes)
    marks = np.unpackbits(bitmaps, axis=2, count=slot, bitorder="little").reshape(len(lines), positions * slot)
    where = np.maximum(np.cumsum(marks, axis=1, dtype=np.int64) - 1, 0)
    values = np.take_along_axis(lines[:, positions * bitmap_bytes :], where, axis=1)
    return np.where(marks != 0, values, 0).astype(np.uint8).reshape(len(lines), positions, slot)
