"""Layers with the accelerator's arithmetic and straight-through gradients, as torch modules that know no IR.

Activations are float tensors [N, C, H, W] that hold the machine's integers (steps of their scale). A convolution and
its requantisation become one floating-point convolution whose weights and bias are in steps of the output, followed by
rounding and clamping: the machine's integers but for its fixed-point rounding of the factor, which shows only in ties.

Rounding, clamping and ternarising have no useful derivative, so the backward pass takes another one: the identity for
rounding and ternarising (Bengio et al., 2013), and for clamping the identity inside the range and 0 outside.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from escc.training.normalisation import Normalisation
from isa.levels import magnitudes

Array = NDArray[Any]

CELL = 0.5
"""Latent coefficients nearer to 0 than this are 0 whatever the price: the grid's own border."""
LATENT_LIMITS = {1: 1.5, 2: 2.5, 4: 5.0}
"""By greatest magnitude of a coefficient: latent coefficients stay within the outermost cells of the grid, so that none
is out of reach of its gradient.
"""
_NEAR = 0.45
"""Farthest that a latent coefficient which is brought near to a value of the grid lies from it. Less than half a step:
the value stays, and near ties flip first.
"""
_RIDGE = 0.1
"""Pull of real coefficients towards those of the grid, as a share of the mean energy of the bases."""
_LIMIT = 127


class _Round(torch.autograd.Function):
    """Nearest integer, ties to even; the gradient passes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.round(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0]


class _RoundClamp(torch.autograd.Function):
    """floor(z) clamped to [lo, hi] for z that already has its half; the gradient passes where z lies in the range."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, lo: float, hi: float) -> Tensor:
        ctx.save_for_backward(z)
        ctx.range = (lo, hi + 1.0)
        return torch.clamp(z, lo, hi).floor_()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (z,) = ctx.saved_tensors
        lo, hi = ctx.range
        return torch.ops.aten.hardtanh_backward(grads[0], z, lo, hi), None, None


class _GridGradient(torch.autograd.Function):
    """The nearest value of the grid to x where |x| exceeds its threshold, else 0; the gradient passes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, threshold: Tensor, level: int) -> Tensor:
        size = x.abs()
        nearest = torch.sign(x).mul_(size > threshold)
        for magnitude in magnitudes(level)[:-1]:
            nearest.mul_(1 + (size > 1.5 * magnitude).to(x.dtype))  # the next magnitude is twice as large
        return nearest

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return grads[0], None, None


class _Table(torch.autograd.Function):
    """table[x] for integers x in [low, low + len(table)); the gradient is the table's central difference."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, table: Tensor, low: int) -> Tensor:
        index = x.to(torch.int64).sub_(low)
        ctx.save_for_backward(index, table)
        return table[index]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        index, table = ctx.saved_tensors
        return grads[0] * torch.gradient(table)[0][index], None, None


def round_through(x: Tensor) -> Tensor:
    """Nearest integer (ties to even) with the gradient of the identity."""
    return cast(Any, _Round).apply(x)


def limited(x: Tensor, lo: float, hi: float) -> Tensor:
    """clamp(x, lo, hi); the gradient passes in the range and at its ends, where that of torch.clamp depends on the
    version of torch: the greatest weights of a layer lie there.
    """
    return torch.where((x < lo) | (x > hi), torch.clamp(x.detach(), lo, hi), x)


def round_clamp(z: Tensor, lo: int, hi: int) -> Tensor:
    """clamp(floor(z), lo, hi): give x + 0.5 to round x half up. The gradient passes where floor(z) is in the range."""
    return cast(Any, _RoundClamp).apply(z, float(lo), float(hi))


def on_grid(x: Tensor, threshold: Tensor, level: int) -> Tensor:
    """Coefficients of magnitudes up to `level` for latent ones: 0 unless |x| > threshold (of a shape that broadcasts to
    that of x), else the nearest of the others.
    """
    return cast(Any, _GridGradient).apply(x, threshold, level)


def look_up(x: Tensor, table: Tensor, low: int) -> Tensor:
    """table[x - low] for integer-valued x; the slope of the table is its derivative."""
    return cast(Any, _Table).apply(x, table, low)


def parameter(x: Array) -> nn.Parameter:
    """A parameter with these values, of torch's default type."""
    return nn.Parameter(torch.tensor(x, dtype=torch.get_default_dtype()))


@dataclass(frozen=True)
class ConvFrame:
    """What a convolution has beside its weights.

    `factor` float [K]: output steps for each step of the accumulator; `bias` float [K] in output steps, and `span` the
    unit in which it is learned, in such steps; `strides` [y, x]; `pads` [top, left, bottom, right].
    """

    factor: Array
    bias: Array
    span: float
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)


class Convolution(nn.Module, ABC):
    """What convolutions of all weight forms share: a factor and a bias of each output channel, the geometry.

    The parameters are relative (`gain` = ln(factor / initial factor), `offset` = bias / span) so that one learning rate
    fits all. A convolution may be normalised while it is trained: `gain` and `offset` are then those of its normalised
    sums, while `factor` and `bias` stay what the machine would multiply by and add.
    """

    normalisation: Normalisation | None

    def __init__(self, frame: ConvFrame):
        super().__init__()
        self.normalisation = None
        self.strides = frame.strides
        self.pads = frame.pads
        self.span = frame.span
        self.register_buffer("base", torch.tensor(frame.factor, dtype=torch.get_default_dtype()))
        self.base: Tensor
        self.gain = nn.Parameter(torch.zeros_like(self.base))
        self.offset = parameter(frame.bias / frame.span)

    @abstractmethod
    def integer_weight(self) -> Tensor:
        """Weights of the accumulator [K, C/groups, R, S], integer-valued in value, differentiable in the parameters."""

    @property
    def groups(self) -> int:
        return 1

    def alive(self) -> Tensor | float:
        """1 for each output channel that may depend on the input, else 0: [K], or 1 for all of them."""
        return 1.0

    def factor(self) -> Tensor:
        """Output steps for each step of the accumulator, [K]."""
        slope = torch.exp(self.gain) if self.normalisation is None else self.normalisation.slope(self.gain)
        return self.base * slope

    def bias(self) -> Tensor:
        """Bias in output steps, [K]; 0 for channels that are switched off as a whole, whose output is then 0."""
        bias = self.offset * self.span
        if self.normalisation is not None:
            bias = bias - self.normalisation.mean * self.normalisation.slope(self.gain)
        return bias * self.alive()

    @torch.no_grad()
    def normalise(self, mean: Tensor, variance: Tensor) -> None:
        """Normalise from now on in training, without a change of the results: sums have this mean and variance [K] in
        output steps, the bias apart.
        """
        self.fold()
        self.offset.add_(mean / self.span)
        self.normalisation = Normalisation(mean.to(self.base), variance.to(self.base))

    @torch.no_grad()
    def fold(self) -> None:
        """Make the normalisation, if there is one, a part of the factor and the bias."""
        factor, bias = self.factor(), self.bias()
        self.normalisation = None
        self.base.copy_(factor)
        self.gain.zero_()
        self.offset.copy_(bias / self.span)

    def forward(self, x: Tensor) -> Tensor:
        """Integers [N, C, H, W] to the output [N, K, OH, OW] in output steps, not rounded, plus one half."""
        if self.normalisation is not None and self.training:
            sums = self._convolve(x, self.base, None).to(self.base.dtype)
            return self.normalisation(sums, self.gain, self.offset * self.span * self.alive()) + 0.5
        if not torch.is_autocast_enabled(x.device.type):
            return self._convolve(x, self.factor(), self.bias() + 0.5)
        # The half comes after the rounding to few digits, which would round up again otherwise.
        return self._convolve(x, self.factor(), self.bias()).float() + 0.5

    def _convolve(self, x: Tensor, factor: Tensor, bias: Tensor | None) -> Tensor:
        weight = self.integer_weight() * factor[:, None, None, None]
        if x.is_contiguous(memory_format=torch.channels_last):
            weight = weight.contiguous(memory_format=torch.channels_last)
        top, left, bottom, right = self.pads
        if (top, left) != (bottom, right):
            x, top, left = F.pad(x, (left, right, top, bottom)), 0, 0
        return F.conv2d(x, weight, bias, self.strides, (top, left), 1, self.groups)


class DenseConv(Convolution):
    """Convolution with int8 weights: the latent weights are in units of 127 and rounded in the forward pass."""

    def __init__(self, weight: Array, frame: ConvFrame, groups: int):
        """`weight` int8 [K, C/groups, R, S]."""
        super().__init__(frame)
        self._groups = groups
        self.weight = parameter(weight / _LIMIT)

    @property
    def groups(self) -> int:
        return self._groups

    def integer_weight(self) -> Tensor:
        return round_through(limited(self.weight * _LIMIT, -_LIMIT - 1, _LIMIT))


class Projected(Convolution):
    """Convolution whose weights are a point of a weight form: the one next to the real numbers `latent`.

    While `relaxed`, it computes with these numbers themselves, which is how ADMM trains.
    """

    latent: nn.Parameter
    relaxed = False

    @abstractmethod
    def projected(self, latent: Tensor) -> Tensor:
        """The point of the form next to real numbers, both of the shape of `latent`."""

    def adapt(self, latent: Tensor) -> None:
        """Bring what the weights share nearer to real numbers that are about to be projected; by default nothing."""

    @abstractmethod
    def settle(self, point: Tensor) -> None:
        """Let the weights be a point of the form, and the latent numbers be where that is the next one."""

    @abstractmethod
    def approach(self, weight: Array) -> None:
        """Move latent numbers towards real weights [K, C, R, S] in output steps, as far as their point stays."""

    def confine(self) -> None:
        """Put latent numbers back that went too far from every point; by default nothing."""

    def in_steps(self, weight: Array) -> Tensor:
        """Weights [K, C, R, S] in output steps as those of the accumulator."""
        steps = self.factor().detach().clamp_min(1e-30)[:, None, None, None]
        return torch.tensor(weight, dtype=steps.dtype) / steps


def coefficients_towards(missing: Tensor, bases: Tensor) -> Tensor:
    """What to add to coefficients [..., V] of bases [V, D] so that `missing` [..., D] is made up for, nearly, by less
    than half a step of each.
    """
    b = bases.double()
    gram = b @ b.T
    ridge = _RIDGE * float(gram.trace()) / len(gram) or 1.0  # bases that are all zero make up for nothing
    solved: Tensor = cast(Any, torch.linalg).inv(gram + ridge * torch.eye(len(gram), dtype=gram.dtype))
    return (missing.double() @ b.T @ solved).clamp(-_NEAR, _NEAR)


class DecomposedConv(Projected):
    """Convolution with weights sum_v T[k,c,v] * B[v], T of 0 and magnitudes up to `level`, and B int8.

    `latent` float [K, C, V] holds real coefficients. T is the nearest value to those beyond `threshold` [K, C, V]
    (never below CELL; infinite for coefficients that may not be used), and 0 for the others; `basis` float [V, R, S] is
    in units of 127. While `relaxed`, the latent coefficients themselves are used, which is how ADMM trains.
    """

    def __init__(self, latent: Array, basis: Array, frame: ConvFrame, level: int = 1):
        """`latent` float [K, V, C]; `basis` int8 [V, R, S]."""
        super().__init__(frame)
        self.latent = parameter(np.ascontiguousarray(latent.transpose(0, 2, 1)))
        self.basis = parameter(basis / _LIMIT)
        self.register_buffer("threshold", torch.full_like(self.latent, CELL))
        self.threshold: Tensor
        self.level = level

    @property
    def taps(self) -> int:
        """Bytes that a base in use takes."""
        return self.basis[0].numel()

    def coefficients(self) -> Tensor:
        """Coefficients in use [K, C, V]: those of the grid, or the latent ones while relaxed."""
        return self.latent if self.relaxed else self.projected(self.latent)

    def projected(self, latent: Tensor) -> Tensor:
        """Coefficients [K, C, V] of the grid for any latent ones."""
        return on_grid(latent, self.threshold, self.level)

    def integer_basis(self) -> Tensor:
        """Bases [V, R, S], integers of int8 in value."""
        return round_through(limited(self.basis * _LIMIT, -_LIMIT, _LIMIT))

    def integer_weight(self) -> Tensor:
        k, c, v = self.latent.shape
        _, r, s = self.basis.shape
        with torch.autocast(self.latent.device.type, enabled=False):
            product = self.coefficients().reshape(k * c, v) @ self.integer_basis().reshape(v, r * s)
        return product.reshape(k, c, r, s)

    def alive(self) -> Tensor:
        """See `Convolution.alive`: channels that may have coefficients."""
        return torch.isfinite(self.threshold).any(dim=2).any(dim=1).to(self.base.dtype)

    @torch.no_grad()
    def settle(self, point: Tensor) -> None:
        """See `Projected.settle`; thresholds become the grid's own."""
        self.latent.copy_(point + (self.latent - point).clamp_(-_NEAR, _NEAR))
        self.threshold.masked_fill_(torch.isfinite(self.threshold), CELL)

    @torch.no_grad()
    def approach(self, weight: Array) -> None:
        """See `Projected.approach`: towards the real coefficients that represent the weights best."""
        missing = (self.in_steps(weight) - self.integer_weight()).flatten(2)
        self.latent.add_(coefficients_towards(missing, self.integer_basis().flatten(1)))

    @torch.no_grad()
    def confine(self) -> None:
        """Put latent coefficients that left the neighbourhood of the grid back to its border."""
        limit = LATENT_LIMITS[self.level]
        self.latent.clamp_(-limit, limit)


class Requantise(nn.Module):
    """Round and clamp, then the table, then the residual addition; as `isa.reference.requantize` in output steps.

    `table` holds the outputs of the integers lo..hi. `addition` is (factor of the value, factor of the residual, lo,
    hi).
    """

    def __init__(
        self, lo: int, hi: int, table: Array | None = None, addition: tuple[float, float, int, int] | None = None
    ):
        super().__init__()
        self.lo, self.hi, self.addition = lo, hi, addition
        values = None if table is None else torch.tensor(table, dtype=torch.get_default_dtype())
        self.register_buffer("table", values, persistent=False)
        self.table: Tensor | None

    def forward(self, z: Tensor, residual: Tensor | None = None) -> Tensor:
        """`z` with its half [N, K, H, W]; `residual` integers of the same shape."""
        q = round_clamp(z, self.lo, self.hi)
        if self.table is not None:
            q = look_up(q, self.table, self.lo)
        if residual is None or self.addition is None:
            return q
        a, b, lo, hi = self.addition
        return add(q, residual, a, b, lo, hi)


def multiply(x: Tensor, y: Tensor, m: float, lo: int, hi: int) -> Tensor:
    """clamp(round_half_up(m * x * y), lo, hi)."""
    return round_clamp(x * y * m + 0.5, lo, hi)


def add(x: Tensor, y: Tensor, a: float, b: float, lo: int, hi: int) -> Tensor:
    """clamp(round_half_up(a * x + b * y), lo, hi)."""
    return round_clamp(torch.add(x * a + 0.5, y, alpha=b), lo, hi)
