"""Convolutions with weights from a book of vectors as torch modules; forms as in `escc.training.forms.convolutions`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dialects import esc
from dialects.esc_codebook import CodebookConv2dOp
from escc.training.forms.convolutions import storable_scale, to_numpy
from escc.training.straight_through import ConvFrame, Projected, limited, parameter, round_through
from passes.decomposition.codebook import Codebook

Array = NDArray[Any]

_LIMIT = 127


class CodebookConv(Projected):
    """Convolution whose weights are vectors from a book, each of which stands for its negative too.

    `latent` float [P, D] holds real weights by patches in the order of the codes, D = span * depth, and `book` float
    [N, D] the vectors, both in units of 127. A patch takes the nearest vector, its negative included, or zeros. The
    gradient of a weight goes to the vector, and as that of the identity to the latent weight.
    """

    def __init__(self, codes: Array, book: Array, frame: ConvFrame):
        """`codes` int8 [K, R, S/span, C/depth]; `book` int8 [N, span, depth]."""
        super().__init__(frame)
        self.codes_shape, self.patch = codes.shape, book.shape[1:]
        self.book = parameter(book.reshape(len(book), -1) / _LIMIT)
        with torch.no_grad():
            self.latent = parameter(_named(self.book, torch.tensor(codes.reshape(-1).astype(np.int64))).numpy())

    def integer_book(self) -> Tensor:
        """The vectors [N, D], integers of int8 in value."""
        return round_through(limited(self.book * _LIMIT, -_LIMIT, _LIMIT))

    @torch.no_grad()
    def codes(self, latent: Tensor) -> Tensor:
        """Codes int64 [P] of the vectors next to real weights [P, D]; those of zeros and of the first of equals win."""
        book = torch.round(self.book.clamp(-1, 1) * _LIMIT) / _LIMIT
        match = latent @ book.T
        saved, entry = (match.abs() - book.square().sum(1) / 2).max(dim=1)  # of half the squared distance from zeros
        sign = torch.sign(match.gather(1, entry[:, None]).squeeze(1)).to(torch.int64)
        return torch.where(saved > 0, sign * (entry + 1), 0)

    def _ordered(self, patches: Tensor) -> Tensor:
        """Patches [P, D] as weights [K, C, R, S]."""
        k, r, columns, run = self.codes_shape
        span, depth = self.patch
        apart = patches.reshape(k, r, columns, run, span, depth).permute(0, 3, 5, 1, 2, 4)
        return apart.reshape(k, run * depth, r, columns * span)

    def _patches(self, weight: Tensor) -> Tensor:
        """Weights [K, C, R, S] as patches [P, D]."""
        k, r, columns, run = self.codes_shape
        span, depth = self.patch
        return weight.reshape(k, run, depth, r, columns, span).permute(0, 3, 4, 1, 5, 2).reshape(-1, span * depth)

    def integer_weight(self) -> Tensor:
        real = limited(self.latent * _LIMIT, -_LIMIT, _LIMIT)
        if self.relaxed:
            return self._ordered(real)
        vectors = _named(self.integer_book(), self.codes(self.latent))
        return self._ordered(vectors + (real - real.detach()))

    def projected(self, latent: Tensor) -> Tensor:
        """See `Projected.projected`."""
        return _named(self.integer_book(), self.codes(latent)) / _LIMIT

    @torch.no_grad()
    def adapt(self, latent: Tensor) -> None:
        """See `Projected.adapt`: every vector becomes the mean of the patches that are next to it."""
        codes = self.codes(latent)
        used = codes != 0
        entries = codes[used].abs() - 1
        sums = torch.zeros_like(self.book).index_add_(0, entries, latent[used] * torch.sign(codes[used])[:, None])
        counts = torch.bincount(entries, minlength=len(self.book))[:, None]
        self.book.copy_(torch.where(counts > 0, sums / counts.clamp_min(1), self.book))

    @torch.no_grad()
    def settle(self, point: Tensor) -> None:
        """See `Projected.settle`."""
        self._go_to(self.latent.clone(), self.codes(point))

    @torch.no_grad()
    def approach(self, weight: Array) -> None:
        """See `Projected.approach`: patches whose vector is the next one take their real weights."""
        self._go_to(self._patches(self.in_steps(weight)) / _LIMIT, self.codes(self.latent))

    def _go_to(self, real: Tensor, codes: Tensor) -> None:
        """Take real weights where their codes are these, else the vectors of the codes."""
        right = self.codes(real) == codes
        self.latent.copy_(torch.where(right[:, None], real, _named(self.integer_book(), codes) / _LIMIT))


def _named(book: Tensor, codes: Tensor) -> Tensor:
    """The vectors [P, D] of a book [N, D] that codes int64 [P] name."""
    return book[(codes.abs() - 1).clamp_min(0)] * torch.sign(codes)[:, None]


def codebook(op: CodebookConv2dOp, frame: ConvFrame) -> CodebookConv:
    """A convolution with weights from a book."""
    return CodebookConv(op.codes.array, op.book.array.astype(np.float64), frame)


def trained(op: CodebookConv2dOp, module: CodebookConv, requantize: esc.RequantizeOp) -> Codebook:
    """The codes and the book that training has reached."""
    codes = module.codes(module.latent).cpu().numpy().astype(np.int8).reshape(module.codes_shape)
    book = to_numpy(module.integer_book()).astype(np.int8).reshape(-1, *module.patch)
    factor = storable_scale(op.input, to_numpy(module.factor()), requantize)
    return Codebook.of(codes, book, factor, 0.0)
