"""Steps of latent coefficients: they go where the loss is least, and never far at once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from escc.compress.straight_through import DecomposedConv  # noqa: E402
from escc.training.sparsity import Sparsity  # noqa: E402

SAMPLES = 64


def single(latent: float) -> tuple[Sparsity, DecomposedConv]:
    """A network of one layer with 8 * 4 * 9 latent coefficients, all of the same value."""
    shape = (8, 9, 4)
    basis, ones = np.ones((9, 3, 3)), np.ones(8)
    module = DecomposedConv(np.full(shape, latent), basis, ones, 0 * ones, 8.0, (1, 1), (0, 0, 0, 0))
    layer = SimpleNamespace(module=module)
    return Sparsity(cast(Any, SimpleNamespace(decomposed=[layer], layers=[layer]))), module


@pytest.mark.parametrize("latent", [0.0, 0.4, 1.0])
def test_coefficients_go_to_the_least_loss(latent: float) -> None:
    """Of a loss h/2 * (a - 0.7)^2 whose curvature the probes tell."""
    sparsity, module = single(latent)
    h = 1e-3
    for _ in range(2000):
        gradient = h * (module.latent.detach() - 0.7)
        sparsity.observe([torch.full_like(module.latent, (h / SAMPLES) ** 0.5)], SAMPLES)
        module.latent.grad = gradient
        sparsity.move(1.0, SAMPLES, [torch.zeros_like(module.latent)])
    assert torch.allclose(module.latent, torch.tensor(0.7), atol=1e-2)


@pytest.mark.parametrize("curvature", [0.0, 1e-20, 1e-3, 1e3])
@pytest.mark.parametrize("gradient", [-1e6, 1e6])
def test_no_gradient_moves_a_coefficient_far(curvature: float, gradient: float) -> None:
    sparsity, module = single(0.3)
    sparsity.observe([torch.full_like(module.latent, (curvature / SAMPLES) ** 0.5)], SAMPLES)
    module.latent.grad = torch.full_like(module.latent, gradient)
    sparsity.move(1.0, SAMPLES, [torch.zeros_like(module.latent)])
    moved = (module.latent.detach() - 0.3) * -np.sign(gradient)
    assert (moved > 0).all() and (moved <= 0.1 + 1e-6).all()
