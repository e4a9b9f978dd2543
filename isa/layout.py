"""Where every byte of an activation lies: tiles in ACT, lines in DRAM, parameter blocks in PAR.

A tile in ACT is plain bytes [h][w][c], with strides of its own between rows and between positions: a part of a tile or
of a whole tensor is a tile too.

Vocabulary of DRAM. A *chunk* is the run of channels that share one bitmap (target parameter `chunk`, 64). A *line* is
the unit of a BITMAP tensor: `segment` consecutive positions of one row and one chunk: all bitmaps, then all non-zeros
of the line packed in position-then-channel order. The last line of a row holds fewer positions where `segment` does not
divide the width. A line owns a fixed slot of worst-case size, so that its address is static while the bytes moved are
data-dependent; what follows its last non-zero is undefined. Bit i of a bitmap (bit i % 8 of byte i // 8) is channel i
of the chunk. A *record* is what one position takes of a line at most: a bitmap, and a slot of a byte a channel.
"""

from __future__ import annotations

from dataclasses import dataclass

from isa.formats import TensorFormat
from isa.integers import ceil_div, least

DRAM_ALIGN = 64
"""Tensors and lines in DRAM begin at multiples of this (one LPDDR4 x32 BL16 burst); constants lie without gaps."""


def align(n: int, to: int = DRAM_ALIGN) -> int:
    """Smallest multiple of `to` not below n."""
    return ceil_div(n, to) * to


@dataclass(frozen=True)
class RecordLayout:
    """Geometry of the records of `c` channels."""

    c: int
    chunk: int

    @property
    def chunks(self) -> int:
        """Records per position."""
        return ceil_div(self.c, self.chunk)

    @property
    def slot(self) -> int:
        """Value bytes reserved per record."""
        return least(self.c, self.chunk)

    @property
    def bitmap_bytes(self) -> int:
        """Bytes of one bitmap."""
        return ceil_div(self.slot, 8)

    @property
    def record_bytes(self) -> int:
        """Bytes of one record."""
        return self.bitmap_bytes + self.slot


@dataclass(frozen=True)
class TensorLayout:
    """An activation tensor [h][w][c] of bytes in DRAM. `segment` and `chunk` matter for BITMAP only.

    RAW: plain NHWC bytes. BITMAP: lines ordered [row][chunk][segment], each in a slot of `line_bytes`.
    """

    h: int
    w: int
    c: int
    format: TensorFormat
    segment: int
    chunk: int

    @property
    def records(self) -> RecordLayout:
        """Records of all channels; their bitmaps and slots are those of the lines."""
        return RecordLayout(self.c, self.chunk)

    @property
    def segments(self) -> int:
        """Lines per row and chunk."""
        return ceil_div(self.w, self.segment)

    @property
    def line_bytes(self) -> int:
        """Slot of one line: worst case, aligned."""
        return align(self.segment * self.records.record_bytes)

    @property
    def nbytes(self) -> int:
        """Bytes that the tensor reserves in DRAM."""
        if self.format is TensorFormat.RAW:
            return align(self.h * self.w * self.c)
        return self.h * self.records.chunks * self.segments * self.line_bytes

    def line_offset(self, y: int, chunk: int, segment: int) -> int:
        """Offset of a line from the tensor's address."""
        return ((y * self.records.chunks + chunk) * self.segments + segment) * self.line_bytes


def requant_block_bytes(kn: int) -> int:
    """PAR bytes of int32 bias[kn], int32 mult[kn], uint8 shift[kn]."""
    return 9 * kn


ADD_BLOCK_BYTES = 13
"""PAR bytes of int32 ma, int32 mb, int16 lo, int16 hi, uint8 shift (little-endian, packed)."""

TABLE_BYTES = 256
"""PAR bytes of a lookup table, indexed by the stored byte."""

WEIGHT_LANES = 16
"""Streams of packed weights that a decoder reads at once (see `isa.weights`)."""

WEIGHT_MAGNITUDES = 128
"""Magnitudes of packed weights that have a code: 1 to 128."""

LONGEST_WEIGHT_CODE = 15
"""Bits of the longest code of a magnitude."""

WEIGHT_TABLE_BYTES = 64
"""DRAM bytes of the code lengths of packed weights (see `isa.weights`)."""
