"""Whether signs apart from the codebook (SSVQ) pay: error against bits, on the rows of the kernels of a model.

A code of `kmeans` names a vector or its negative. SSVQ names a vector of magnitudes, and each weight has a sign of its
own. Both books are made by k-means on the weights, scaled by the largest of each output channel; bits are those of an
ideal code of the codes, of one bit a separate sign, and of books of int8.

    python benchmarks/compression/separate_signs.py $ESCC_DATA/models/resnet20_cifar10.onnx
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

F = NDArray[np.float64]

ROUNDS = 12
SIGNED_BOOKS = (31, 63, 127)
MAGNITUDE_BOOKS = (4, 8, 16, 32, 64)


class SignedFit(NamedTuple):
    """Squared error and bits of the vectors of a layer."""

    error: float
    bits: float


def rows_of(path: str) -> Iterator[F]:
    """Rows [N, 3] of the 3x3 kernels of every layer of 16 input channels or more."""
    for initializer in cast(Any, onnx).load(path).graph.initializer:
        w = numpy_helper.to_array(initializer).astype(np.float64)
        if w.ndim == 4 and w.shape[1] >= 16 and w.shape[3] == 3:
            largest = np.abs(w).max(axis=(1, 2, 3), keepdims=True)
            yield (w / np.where(largest > 0, largest, 1.0)).reshape(-1, 3)


def fit(x: F, entries: int, either_sign: bool, rng: np.random.Generator) -> SignedFit:
    """k-means of vectors [N, D]; `either_sign`: a vector may stand for its negative. Zeros have a code of their own."""
    book = x[rng.choice(len(x), min(entries, len(x)), replace=False)].copy()
    named, sign, zero = np.zeros(len(x), np.int64), np.ones(len(x)), np.zeros(len(x), np.bool_)
    for _ in range(ROUNDS):
        match = x @ book.T
        saved = (np.abs(match) if either_sign else match) - (book * book).sum(axis=1) / 2
        named, zero = saved.argmax(axis=1), saved.max(axis=1) <= 0
        if either_sign:
            sign = np.sign(match[np.arange(len(x)), named])
        for n in range(len(book)):
            mine = (named == n) & ~zero
            if mine.any():
                book[n] = (x[mine] * sign[mine, None]).mean(axis=0)
    rebuilt = np.where(zero[:, None], 0.0, book[named] * sign[:, None])
    _, counts = np.unique(np.where(zero, 0, (named + 1) * sign), return_counts=True)
    share = counts / len(x)
    each = float(-(share * np.log2(share)).sum())
    return SignedFit(float(((x - rebuilt) ** 2).sum()), each * len(x) + 8 * book.size)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="an ONNX file with 3x3 convolutions")
    layers = list(rows_of(parser.parse_args(argv).model))
    energy, weights = sum(float((x * x).sum()) for x in layers), sum(x.size for x in layers)
    print(f"{'signs':<10} {'entries':>7} {'error':>8} {'bits a weight':>13}")
    for apart, sizes in ((False, SIGNED_BOOKS), (True, MAGNITUDE_BOOKS)):
        for entries in sizes:
            rng = np.random.default_rng(0)
            fits = [fit(np.abs(x) if apart else x, entries, not apart, rng) for x in layers]
            bits = sum(found.bits for found in fits) + (weights if apart else 0)
            error = sum(found.error for found in fits) / energy
            print(f"{'a weight' if apart else 'a vector':<10} {entries:>7} {error:>8.4f} {bits / weights:>13.2f}")


if __name__ == "__main__":
    main()
