"""Whether signs apart from the codebook (SSVQ) pay: error against bits, on the rows of the kernels of a model.

A code of `kmeans` names a vector or its negative. SSVQ names a vector of magnitudes, and each weight has a sign of its
own. Both books are made by k-means on the weights, scaled by the largest of each output channel; bits are those of an
ideal code of the codes, of one bit a separate sign, and of books of int8.

    python benchmarks/compression/separate_signs.py $ESCC_DATA/models/resnet20_cifar10.onnx

With calibration data, the errors are those of the outputs of layers, and the fit is that of `kmeans` at several prices
of a bit. A vector of magnitudes then stands in the book with every choice of its signs, so that signs are chosen for
the outputs too; the book is refitted as one of magnitudes. A vector of zeros has no signs to pay for.

    python benchmarks/compression/separate_signs.py $ESCC_DATA/models/resnet20_cifar10.onnx --calibration cal.npz
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from itertools import product as choices
from typing import Any, NamedTuple, cast

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from escc.cli.common import script
from escc.compress import quantise_vectors as vectors
from escc.compress.metric import Metric
from escc.compress.patches import Cut, Patch
from escc.driver import load, run_passes
from escc.irtext import make_context
from escc.universe import ESCC_UNIVERSE
from passes.decompose_conv import DecomposeConvPass
from passes.decomposition.scheme import ConvLayer, SchemeOptions
from passes.pipelines import PipelineOptions, build

F = NDArray[np.float64]

ROUNDS = 12
SIGNED_BOOKS = (31, 63, 127)
MAGNITUDE_BOOKS = (4, 8, 16, 32, 64)
DATA_BOOKS = {False: (31, 63, 127), True: (4, 8, 16, 32)}
PRICES = (0.01, 0.03, 0.1, 0.3)
"""Relative error of a layer's output that is worth a bit of every weight."""


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


class LayerRecorder:
    """A scheme that keeps the layers with rows of three weights and decomposes none."""

    def __init__(self) -> None:
        self.layers: list[ConvLayer] = []

    def __call__(self, layer: ConvLayer, options: SchemeOptions) -> None:
        patch = Patch.of(layer.weights.shape)
        if patch is not None and patch.width == 3:
            self.layers.append(layer)


def layers_of(path: str, calibration: str) -> list[ConvLayer]:
    """The layers of a network with the moments of the calibration data."""
    context, recorder = make_context(), LayerRecorder()
    module = load(context, path)
    passes = build(ESCC_UNIVERSE.all_passes, PipelineOptions(calibration=calibration, samples=512))
    at, step = next((i, step) for i, step in enumerate(passes) if isinstance(step, DecomposeConvPass))
    run_passes(context, module, passes[:at])
    step.visit(context, module, recorder)
    return recorder.layers


def fit_outputs(w: F, metric: Metric, entries: int, per_bit: float, apart: bool) -> SignedFit:
    """As `quantise_vectors`, of a book of real numbers; `apart`: one of magnitudes with every choice of signs."""
    problem = vectors._VectorProblem.of(w, metric, per_bit)  # the steps of the fit that the scheme takes
    signs = np.array([(1.0, *rest) for rest in choices((1.0, -1.0), repeat=metric.width - 1)] if apart else [[1.0] * 3])
    seen = vectors._VectorProblem.of(np.abs(w), metric, per_bit) if apart else problem
    book, s = vectors._first_book(seen, entries, np.random.default_rng(0))
    book = np.abs(book) if apart else book
    paid = np.full(len(book) + 1, float(np.log2(2 * len(book) + 1)))
    best = SignedFit(np.inf, np.inf)
    for _ in range(ROUNDS // 2):
        whole = (book[:, None] * signs).reshape(-1, metric.width)
        each = np.concatenate([paid[:1], np.repeat(paid[1:], len(signs))])
        codes = vectors._feed_forward(problem, whole, s, per_bit * each)
        s = vectors._scales(problem, codes, whole, s)
        codes = vectors._sweep(problem, codes, whole, s, per_bit * each)
        named = -(-np.abs(codes.astype(np.int64)) // len(signs))
        share = np.bincount(named.reshape(-1), minlength=len(book) + 1) / named.size
        paid = -np.log2(np.maximum(share, vectors._LEAST_SHARE))
        paid[1:] += metric.width if apart else 1
        error = problem.error(s[:, None] * vectors._vectors(codes, whole))
        bits = float(paid[named].sum()) + 8 * book.size
        if error + per_bit * bits < best.error + per_bit * best.bits:
            best = SignedFit(error, bits)
        fitted = vectors._refit(problem, codes, whole, s).reshape(len(book), len(signs), -1)
        used = np.bincount(np.abs(codes.astype(np.int64)).reshape(-1), minlength=len(whole) + 1)[1:]
        share_of = used.reshape(len(book), len(signs), 1)
        mean = (fitted * signs * share_of).sum(axis=1) / np.maximum(share_of.sum(axis=1), 1)
        book = np.where(share_of.sum(axis=1) > 0, mean, book)
    return best


def compare_outputs(path: str, calibration: str, every: int) -> None:
    """Print bits and errors of the outputs of every so many of the layers, at each price with the best of the books."""
    layers = layers_of(path, calibration)[::every]
    weights = sum(layer.weights.size for layer in layers)
    print(f"{len(layers)} layers\n{'signs':<10} {'price':>8} {'error':>8} {'bits a weight':>13}")
    for apart, books in DATA_BOOKS.items():
        for price in PRICES:
            bits, errors = 0.0, list[float]()
            for layer in layers:
                patch = Patch.of(layer.weights.shape)
                assert patch is not None
                w, metric = Cut.of(layer, patch)
                energy = float(metric.energies(w).sum())
                per_bit = price / w.size * energy
                fits = [fit_outputs(w, metric, entries, per_bit, apart) for entries in books]
                best = min(fits, key=lambda found: found.error + per_bit * found.bits)
                errors.append(best.error / energy)
                bits += best.bits
            name = "a weight" if apart else "a vector"
            print(f"{name:<10} {price:>8.1e} {np.mean(errors):>8.4f} {bits / weights:>13.2f}", flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="an ONNX file with 3x3 convolutions")
    parser.add_argument("--calibration", help="an .npz of inputs: compare errors of outputs")
    parser.add_argument("--every", type=int, default=1, help="with --calibration, take every N-th layer")
    args = parser.parse_args(argv)
    if args.calibration is not None:
        compare_outputs(args.model, args.calibration, args.every)
        return
    layers = list(rows_of(args.model))
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
    script(main)
