"""Steps of latent coefficients: they go where the loss is least, and never far at once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from escc.training.sparsity import Sparsity  # noqa: E402
from escc.training.straight_through import ConvFrame, DecomposedConv  # noqa: E402

SAMPLES = 64


def single(latent: float) -> tuple[Sparsity, DecomposedConv]:
    """A network of one layer with 8 * 4 * 9 latent coefficients, all of the same value."""
    shape = (8, 9, 4)
    basis, ones = np.ones((9, 3, 3)), np.ones(8)
    module = DecomposedConv(np.full(shape, latent), basis, ConvFrame(ones, 0 * ones, 8.0))
    layer = SimpleNamespace(module=module)
    return Sparsity(cast(Any, SimpleNamespace(decomposed=[layer], layers=[layer]))), module


def step(sparsity: Sparsity, module: DecomposedConv, relaxed: bool) -> None:
    if relaxed:
        sparsity.move_relaxed(1.0, [torch.zeros_like(module.latent)])
    else:
        sparsity.move(1.0)


@pytest.mark.parametrize("latent", [0.0, 0.4, 1.0])
def test_real_coefficients_go_to_the_least_loss(latent: float) -> None:
    """Of a loss h/2 * (a - 0.7)^2 whose curvature the probes tell."""
    sparsity, module = single(latent)
    h = 1e-3
    for _ in range(8000):
        sparsity.observe([torch.full_like(module.latent, (h / SAMPLES) ** 0.5)], SAMPLES)
        module.latent.grad = h * (module.latent.detach() - 0.7)
        step(sparsity, module, True)
    assert torch.allclose(module.latent, torch.tensor(0.7), atol=1e-2)


@pytest.mark.parametrize(("best", "ternary"), [(0.1, 0), (0.4, 0), (0.6, 1), (0.9, 1), (-0.7, -1)])
@pytest.mark.parametrize("latent", [0.0, 0.49, 1.0])
def test_ternary_coefficients_settle_at_the_better_value(latent: float, best: float, ternary: int) -> None:
    """The gradient is that of the ternary value; near ties neither switch for ever nor end at the worse one."""
    sparsity, module = single(latent)
    h = 1e-3
    seen: list[float] = []
    for _ in range(3000):
        sparsity.observe([torch.full_like(module.latent, (h / SAMPLES) ** 0.5)], SAMPLES)
        seen.append(float(module.coefficients().detach().flatten()[0]))
        module.latent.grad = h * (module.coefficients().detach() - best)
        step(sparsity, module, False)
    assert seen[-1000:] == [ternary] * 1000


@pytest.mark.parametrize("relaxed", [False, True])
@pytest.mark.parametrize("curvature", [0.0, 1e-20, 1e-3, 1e3])
@pytest.mark.parametrize("gradient", [-1e6, 1e6])
def test_no_gradient_moves_a_coefficient_far(curvature: float, gradient: float, relaxed: bool) -> None:
    sparsity, module = single(0.3)
    sparsity.observe([torch.full_like(module.latent, (curvature / SAMPLES) ** 0.5)], SAMPLES)
    module.latent.grad = torch.full_like(module.latent, gradient)
    step(sparsity, module, relaxed)
    moved = (module.latent.detach() - 0.3) * -np.sign(gradient)
    assert (moved >= 0).all() and (moved <= 0.1 + 1e-6).all()


@pytest.mark.parametrize("noise", [1.0, 4.0])
def test_noise_of_gradients_switches_no_coefficient(noise: float) -> None:
    """`noise` is the standard deviation over what the curvature predicts: 1 for a network that answers as its teacher
    does, several times that for one that does not yet.
    """
    sparsity, module = single(0.0)
    h = 1e-3
    rng = torch.Generator().manual_seed(0)
    most = 0.0
    for _ in range(1500):
        sparsity.observe([torch.full_like(module.latent, (h / SAMPLES) ** 0.5)], SAMPLES)
        random = torch.randn(module.latent.shape, generator=rng) * (noise * (h / SAMPLES) ** 0.5)
        module.latent.grad = h * module.coefficients().detach() + random
        step(sparsity, module, False)
        most = max(most, float((module.coefficients() != 0).double().mean()))
    assert most < 0.02
