"""The weight form of vector quantisation: codes into a book of short vectors that the layer shares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from xdsl.ir import SSAValue

from dialects import esc
from dialects.esc_codebook import CodebookConv2dOp
from isa.codebook import MOST_ENTRIES, compact, weights
from isa.layout import WEIGHT_TABLE_BYTES
from isa.weights import pack_weights, weight_table
from passes.decomposition.direct import DirectForm
from passes.decomposition.weight_form import ConvWindow, F

I8 = NDArray[np.int8]


@dataclass(frozen=True)
class Codebook(DirectForm):
    """weights[k] = scale[k] times the vectors that the codes of output channel k name.

    `codes` int8 [K, R, S/span, C/depth] from -N to N; `book` int8 [N, span, depth] from -127 to 127; what a code stands
    for is defined in `isa.codebook`. `scale` float64 [K], positive.
    """

    codes: I8
    book: I8
    scale: F
    relative_error: float = 0.0

    name = "codebook"
    layer_kind = "codebook"

    @classmethod
    def of(cls, codes: I8, book: I8, scale: F, relative_error: float) -> Codebook:
        """The form without entries that no code names."""
        return cls(*compact(codes, book), scale, relative_error)

    @property
    def integer_weights(self) -> NDArray[np.int64]:
        return weights(self.codes, self.book).astype(np.int64)

    def faults(self, shape: tuple[int, int, int, int]) -> list[str]:
        codes, book = np.asarray(self.codes), np.asarray(self.book)
        k, r, s, c = shape
        if book.dtype != np.int8 or book.ndim != 3 or book.size == 0 or len(book) > MOST_ENTRIES:
            return [
                f"book must be int8[N, span, depth], N at most {MOST_ENTRIES}, found {book.dtype}{list(book.shape)}"
            ]
        _, span, depth = book.shape
        wrong: list[str] = []
        want = (k, r, s // span, c // depth)
        if codes.dtype != np.int8 or codes.shape != want or s % span or c % depth:
            wrong.append(
                f"codes must be int8[{k}, {r}, {s}/{span}, {c}/{depth}], found {codes.dtype}{list(codes.shape)}"
            )
        elif int(np.abs(codes.astype(np.int16)).max(initial=0)) > len(book):
            wrong.append(f"codes must be from -{len(book)} to {len(book)}")
        if int(book.min()) < -127:
            wrong.append("book must be of values from -127 to 127")
        return wrong + self.scale_faults(k)

    def operations(self, x: SSAValue, ic_shift: int, geometry: ConvWindow) -> list[esc.EscOp]:
        return [CodebookConv2dOp(x, self.codes, self.book, geometry.strides, geometry.pads)]

    def packed_bytes(self) -> int:
        return WEIGHT_TABLE_BYTES + len(pack_weights(self.codes, weight_table(self.codes))) + self.book.size
