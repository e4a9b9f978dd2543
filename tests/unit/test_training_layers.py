"""Layers with straight-through gradients: gradients where they exist, the declared ones where they do not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = pytest.importorskip("torch")

from escc.training.forms.pools import average_pool, max_pool
from escc.training.normalisation import channel_statistics
from escc.training.straight_through import (
    CELL,
    LATENT_LIMITS,
    ConvFrame,
    DecomposedConv,
    DenseConv,
    Requantise,
    add,
    look_up,
    on_grid,
    round_clamp,
    round_through,
)


@pytest.fixture(autouse=True)
def doubles() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def decomposed(k: int = 3, v: int = 2, c: int = 4, stride: int = 1) -> DecomposedConv:
    rng = np.random.default_rng(0)
    latent = rng.uniform(-1.4, 1.4, (k, v, c))
    basis = rng.integers(-100, 100, (v, 3, 3))
    factor, bias = rng.uniform(0.001, 0.01, k), rng.standard_normal(k)
    return DecomposedConv(latent, basis, ConvFrame(factor, bias, 8.0, (stride, stride), (1, 1, 1, 1)))


def test_rounding_passes_the_gradient() -> None:
    x = torch.tensor([-1.5, -0.2, 0.5, 2.5], requires_grad=True)
    y = round_through(x)
    y.backward(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert y.tolist() == [-2, 0, 0, 2]
    assert x.grad.tolist() == [1, 2, 3, 4]


def test_rounding_and_clamping_pass_the_gradient_in_the_range_only() -> None:
    x = torch.tensor([-3.0, -0.6, -0.4, 1.49, 3.4, 3.6, 9.0], requires_grad=True)
    y = round_clamp(x + 0.5, 0, 3)
    y.sum().backward()
    assert y.tolist() == [0, 0, 0, 1, 3, 3, 3]
    assert x.grad.tolist() == [0, 0, 1, 1, 1, 0, 0]


def test_halves_are_rounded_up() -> None:
    assert round_clamp(torch.tensor([-1.5, -0.5, 0.5, 1.5]) + 0.5, -8, 8).tolist() == [-1, 0, 1, 2]


def test_ternary_values_and_gradient() -> None:
    x = torch.tensor([-2.0, -0.5, 0.4, 0.51, 0.7], requires_grad=True)
    y = on_grid(x, torch.tensor([CELL, CELL, CELL, CELL, 0.8]), 1)
    y.backward(torch.arange(5.0))
    assert y.tolist() == [-1, 0, 0, 1, 0]
    assert x.grad.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "level, wanted",
    [(1, [-1, -1, -1, 0, 0, 1, 1, 1, 1]), (2, [-2, -2, -1, 0, 0, 1, 2, 2, 2]), (4, [-4, -2, -1, 0, 0, 1, 2, 2, 4])],
)
def test_the_nearest_value_of_every_level_and_its_gradient(level: int, wanted: list[int]) -> None:
    x = torch.tensor([-9.0, -2.9, -1.4, -0.7, 0.3, 0.6, 1.6, 2.9, 3.1], requires_grad=True)
    threshold = torch.full_like(x, CELL)
    threshold[3] = 0.8
    y = on_grid(x, threshold, level)
    y.backward(torch.arange(9.0))
    assert y.tolist() == wanted
    assert x.grad.tolist() == list(range(9))


def test_latent_coefficients_stay_near_the_grid() -> None:
    for level, limit in LATENT_LIMITS.items():
        module = DecomposedConv(
            np.full((1, 1, 2), 9.0), np.ones((1, 1, 1)), ConvFrame(np.ones(1), np.zeros(1), 1.0), level
        )
        module.confine()
        assert module.latent.detach().unique().tolist() == [limit]
        assert module.coefficients().detach().unique().tolist() == [level]


def test_a_table_has_the_slope_of_its_entries() -> None:
    x = torch.tensor([-2.0, 0.0, 1.0], requires_grad=True)
    y = look_up(x, torch.tensor([4.0, 1.0, 0.0, 1.0, 4.0]), -2)
    y.sum().backward()
    assert y.tolist() == [4, 0, 1]
    assert x.grad.tolist() == [-3, 0, 2]


@pytest.mark.parametrize("stride", [1, 2])
def test_relaxed_convolution_has_exact_gradients(stride: int) -> None:
    """With real coefficients and bases on the grid, everything but the bases is differentiable."""
    module = decomposed(stride=stride)
    module.relaxed = True
    module.basis.requires_grad_(False)
    x = torch.randn(2, 4, 5, 5, generator=torch.Generator().manual_seed(0), requires_grad=True)
    parameters = [module.latent, module.gain, module.offset]

    def run(x: Tensor, *_: Tensor) -> Tensor:
        return module(x)

    assert torch.autograd.gradcheck(run, (x, *parameters))


def test_ternary_convolution_has_the_gradient_of_the_coefficients() -> None:
    module = decomposed()
    x = torch.randn(2, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    module(x).square().sum().backward()
    t = module.coefficients().detach()
    relaxed = decomposed()
    relaxed.relaxed = True
    with torch.no_grad():
        relaxed.latent.copy_(t)
    relaxed(x).square().sum().backward()
    assert set(t.unique().tolist()) == {-1, 0, 1}
    for name in ("latent", "basis", "gain", "offset"):
        torch.testing.assert_close(getattr(module, name).grad, getattr(relaxed, name).grad)


def test_bases_are_rounded_with_the_gradient_of_the_identity() -> None:
    module = decomposed()
    with torch.no_grad():
        module.basis.add_(0.3 / 127)
    b = module.integer_basis()
    b.sum().backward()
    assert torch.equal(b, torch.round(b))
    assert module.basis.grad is not None
    assert torch.equal(module.basis.grad, torch.full_like(module.basis, 127.0))


def test_dense_convolution_has_exact_gradients_but_for_its_weights() -> None:
    rng = np.random.default_rng(0)
    weight = rng.integers(-127, 128, (4, 1, 3, 3))
    module = DenseConv(weight, ConvFrame(np.full(4, 0.01), np.ones(4), 4.0, pads=(1, 0, 0, 1)), 2)
    x = torch.randn(1, 2, 5, 5, generator=torch.Generator().manual_seed(0), requires_grad=True)

    def run(x: Tensor, *_: Tensor) -> Tensor:
        return module(x)

    assert torch.equal(module.integer_weight(), torch.tensor(weight, dtype=torch.float64))
    assert torch.autograd.gradcheck(run, (x, module.gain, module.offset))


def test_channels_that_are_off_give_a_constant_zero() -> None:
    module = decomposed()
    module.threshold[1] = torch.inf
    y = Requantise(0, 255)(module(torch.ones(1, 4, 5, 5)))
    assert module.alive().tolist() == [1, 0, 1]
    assert not y[:, 1].any()
    assert not module.coefficients()[1].any()


def test_the_neighbourhood_of_the_grid_is_not_left() -> None:
    module = decomposed()
    with torch.no_grad():
        module.latent.mul_(100)
    module.confine()
    assert module.latent.detach().abs().max().item() == 1.5


def test_residual_addition_is_differentiable_within_the_range() -> None:
    x, y = torch.tensor([10.0, 200.0], requires_grad=True), torch.tensor([4.0, 100.0], requires_grad=True)
    out = add(x, y, 0.5, 2.0, 0, 255)
    out.sum().backward()
    assert out.tolist() == [13, 255]
    assert x.grad.tolist() == [0.5, 0] and y.grad.tolist() == [2, 0]


def test_pools_have_exact_gradients() -> None:
    x = torch.randn(1, 2, 5, 7, generator=torch.Generator().manual_seed(0), requires_grad=True)
    window = ((3, 2), (2, 2), (1, 0, 1, 1), (3, 4))
    assert torch.autograd.gradcheck(lambda x: average_pool(x, *window), (x,))
    assert torch.autograd.gradcheck(lambda x: max_pool(x, *window), (x,))


def normalised(module: DecomposedConv, x: Tensor) -> DecomposedConv:
    """The convolution, normalised from the statistics that it has on x."""
    with torch.no_grad():
        mean, variance = channel_statistics(module(x) - 0.5)
        module.normalise(mean - module.bias(), variance)
    return module


def test_a_normalised_convolution_is_one_before_a_batch_norm_layer() -> None:
    generator = torch.Generator().manual_seed(0)
    first, x = (10 * torch.randn(6, 4, 5, 5, generator=generator) for _ in range(2))
    module = normalised(decomposed(), first)
    reference = torch.nn.BatchNorm2d(3, eps=1e-2)
    with torch.no_grad():
        module.gain.copy_(torch.tensor([0.1, -0.2, 0.0]))
        raw = torch.nn.functional.conv2d(x, module.integer_weight() * module.base[:, None, None, None], padding=1)
        norm = module.normalisation
        assert norm is not None
        reference.weight.copy_(norm.spread * torch.exp(module.gain))
        reference.bias.copy_(module.offset * module.span)
        assert reference.running_mean is not None and reference.running_var is not None
        reference.running_mean.copy_(norm.mean)
        reference.running_var.copy_(norm.variance)
    torch.testing.assert_close(module.train()(x) - 0.5, reference.train()(raw))
    torch.testing.assert_close(module.eval()(x) - 0.5, reference.eval()(raw))


def test_normalising_and_folding_change_no_result() -> None:
    generator = torch.Generator().manual_seed(1)
    x, other = (10 * torch.randn(6, 4, 5, 5, generator=generator) for _ in range(2))
    module = decomposed().eval()
    wanted = module(other)
    torch.testing.assert_close(normalised(module, x)(other), wanted)
    module.train()(x)  # its statistics move
    moved = module.eval()(other)
    assert not torch.allclose(moved, wanted)
    module.fold()
    assert module.normalisation is None and not module.gain.any()
    torch.testing.assert_close(module(other), moved)
    torch.testing.assert_close(module.train()(other), moved)


def test_a_normalised_channel_without_coefficients_is_zero() -> None:
    x = torch.randn(2, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    module = normalised(decomposed(), x)
    with torch.no_grad():
        module.threshold[1] = torch.inf
    for mode in (True, False):
        y = module.train(mode)(x) - 0.5
        assert not y[:, 1].any() and y[:, 0].any() and y[:, 2].any()
    module.fold()
    assert not module.bias()[1] and module.bias()[0]
