"""Weights as codes into a book of short vectors: what a code stands for.

A code n is an integer from -127 to 127: 0 stands for a vector of zeros, n > 0 for entry n - 1 of the book, and -n for
the same entry negated. Codes are packed as dense weights are (see `isa.weights`): their signs, zeros among them, as
ternary coefficients, and their magnitudes by a Huffman code.

An entry has [span][depth] values and covers a patch of the weights [k][r][s][c]: `span` columns s of the window and
`depth` input channels, the channels innermost. Codes are ordered as the patches: [k][r][S/span][C/depth].
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

I8 = NDArray[np.int8]

MOST_ENTRIES = 127
"""Entries that codes of eight bits can name."""


def expand(codes: I8, book: I8, run: int) -> I8:
    """Weights int8 [n * span * depth] of codes int8 [n] and a book int8 [N, span, depth].

    `run` is the number of codes side by side in the order of the input channels; n is a multiple of it. Raises
    ValueError if a code names an entry that there is none of.
    """
    named = np.abs(codes.astype(np.int16))
    if named.size and (most := int(named.max())) > len(book):
        raise ValueError(f"a code names entry {most} of a book of {len(book)}")
    entries = np.concatenate([np.zeros((1, *book.shape[1:]), np.int8), book])
    vectors = np.where((codes < 0)[:, None, None], -entries[named], entries[named])
    return vectors.reshape(-1, run, *book.shape[1:]).transpose(0, 2, 1, 3).reshape(-1)


def weights(codes: I8, book: I8) -> I8:
    """Weights int8 [K, R, S, C] of codes int8 [K, R, S/span, C/depth] and a book int8 [N, span, depth]."""
    k, r, columns, run = codes.shape
    _, span, depth = book.shape
    return expand(codes.reshape(-1), book, run).reshape(k, r, columns * span, run * depth)


def compact(codes: I8, book: I8) -> tuple[I8, I8]:
    """The same weights with the entries that occur alone, the most frequent first; one entry at least is left."""
    named = np.abs(codes.astype(np.int64))
    used = np.bincount(named.reshape(-1), minlength=len(book) + 1)[1:]
    order = np.argsort(-used, kind="stable")[: max(1, int(np.count_nonzero(used)))]
    number = np.zeros(len(book) + 1, np.int64)
    number[order + 1] = np.arange(1, len(order) + 1)
    return (np.sign(codes) * number[named]).astype(np.int8), np.ascontiguousarray(book[order])
