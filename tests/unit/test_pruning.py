"""Pruning: saliency, exact refit, and networks pruned at a price."""

from __future__ import annotations

import numpy as np
import pytest
from sample_models import residual_model
from xdsl.dialects.builtin import ModuleOp

from dialects import esc
from dialects.interpreters.run import main_function, run_module
from escc.compress.pruning import Pruner
from passes.math.pruning import prune, refit, saliency

F = np.float64


def _problem(seed: int, k: int = 3, d: int = 12) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((60, d)) @ rng.standard_normal((d, d))
    return rng.standard_normal((k, d)), x.T @ x / 60 + 1e-3 * np.eye(d)


def _error(difference: np.ndarray, metric: np.ndarray) -> np.ndarray:
    return np.einsum("kd,de,ke->k", difference, metric, difference)


def test_refit_is_the_least_squares_solution() -> None:
    wanted, metric = _problem(0)
    kept = np.random.default_rng(1).random(wanted.shape) < 0.5
    kept[2] = False
    fitted, _ = refit(wanted, metric, kept)
    assert not fitted[~kept].any()
    root = np.linalg.cholesky(metric).T
    for k, row in enumerate(kept[:2]):
        best, *_ = np.linalg.lstsq(root[:, row], root @ wanted[k], rcond=None)
        np.testing.assert_allclose(fitted[k, row], best, rtol=1e-6)


def test_saliency_is_the_error_of_the_best_weights_without_one() -> None:
    wanted, metric = _problem(2)
    costs = saliency(wanted, metric)
    for j in (0, 5, 11):
        kept = np.ones(wanted.shape, bool)
        kept[:, j] = False
        fitted, _ = refit(wanted, metric, kept)
        np.testing.assert_allclose(costs[:, j], _error(fitted - wanted, metric), rtol=1e-6)


def test_costs_after_a_refit_are_those_among_the_kept_weights() -> None:
    wanted, metric = _problem(3)
    kept = np.random.default_rng(4).random(wanted.shape) < 0.6
    fitted, costs = refit(wanted, metric, kept)
    assert not costs[~kept].any()
    j = int(np.flatnonzero(kept[0])[1])
    fewer = kept.copy()
    fewer[0, j] = False
    without, _ = refit(wanted, metric, fewer)
    rise = _error(without - wanted, metric)[0] - _error(fitted - wanted, metric)[0]
    assert costs[0, j] == pytest.approx(rise)


def test_of_two_weights_that_replace_each_other_one_stays() -> None:
    metric = np.array([[1.0, 0.999, 0], [0.999, 1.0, 0], [0, 0, 1.0]])
    wanted = np.array([[1.0, 1.0, 0.01]])
    weights, kept = prune(wanted, metric, 0.1)
    assert kept.tolist()[0][2] is False and kept.sum() == 1
    assert weights[kept][0] == pytest.approx(2.0, rel=1e-2)
    _, at_once = prune(wanted, metric, 0.1, rounds=1)
    assert not at_once.any()


def test_a_higher_price_leaves_fewer_weights_and_price_0_the_wanted_ones() -> None:
    wanted, metric = _problem(5)
    weights, kept = prune(wanted, metric, 0.0)
    assert kept.all()
    np.testing.assert_allclose(weights, wanted, rtol=1e-6)
    left = [int(prune(wanted, metric, price)[1].sum()) for price in (0.01, 0.1, 1.0, 1e6)]
    assert left == sorted(left, reverse=True) and left[-1] == 0


@pytest.fixture(scope="module")
def network() -> tuple[ModuleOp, np.ndarray]:
    """A quantised network and float inputs."""
    from escc.driver import run_passes
    from escc.irtext import make_context
    from escc.onnx_import import import_model
    from escc.universe import multiverse
    from passes.pipelines import PipelineOptions, build

    context = make_context()
    module = import_model(residual_model(), "model.onnx")
    passes = build(multiverse().all_passes, PipelineOptions(scheme="dense"), level="esc")
    run_passes(context, module, passes[: [p.name for p in passes].index("decompose-conv")])
    x = np.random.default_rng(6).standard_normal((64, 3, 8, 8)).clip(-2, 2).astype(np.float32)
    return module, x


def _magnitude(module: ModuleOp, density: float) -> ModuleOp:
    """A copy with the smallest weights of every layer removed."""
    from dialects.blob import DenseAttr

    copy = module.clone()
    for op in main_function(copy).body.block.ops:
        if isinstance(op, esc.Conv2dOp):
            w = op.weight.array
            op.weight = DenseAttr.of(np.where(np.abs(w) >= np.quantile(np.abs(w), 1 - density), w, 0).astype(np.int8))
    return copy


def _distance(module: ModuleOp, reference: ModuleOp, x: np.ndarray) -> float:
    found, wanted = run_module(module, [x])[0], run_module(reference, [x])[0]
    return float(((found - wanted) ** 2).sum() / ((wanted - wanted.mean(axis=0)) ** 2).sum())


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_pruned_network_stays_nearer_than_one_pruned_by_magnitude(network: tuple[ModuleOp, np.ndarray]) -> None:
    module, x = network
    before = str(module)
    pruner = Pruner(module, [x[:48]])
    densities, errors = [], []
    for price in (0.0, 0.1, 1.0):
        pruned, left = pruner.at(price)
        pruned.verify()
        densities.append(left)
        errors.append(_distance(pruned, module, x[48:]))
    assert densities == sorted(densities, reverse=True) and densities[0] > 0.97 and densities[2] < 0.7
    assert errors[0] < 0.02 and errors == sorted(errors)
    assert errors[2] < 0.5 * _distance(_magnitude(module, densities[2]), module, x[48:])
    assert str(module) == before


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_density_is_that_of_the_module(network: tuple[ModuleOp, np.ndarray]) -> None:
    module, x = network
    pruned, left = Pruner(module, [x[:48]]).at(0.5)
    ops = [op for op in main_function(pruned).body.block.ops if isinstance(op, esc.Conv2dOp)]
    kept = sum(np.count_nonzero(op.weight.array) for op in ops)
    assert left == pytest.approx(kept / sum(op.weight.array.size for op in ops))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_network_without_weights_is_constant(network: tuple[ModuleOp, np.ndarray]) -> None:
    module, x = network
    pruned, left = Pruner(module, [x[:48]]).at(1e9)
    assert left == 0
    y = run_module(pruned, [x])[0]
    assert (y == y[0]).all()
    np.testing.assert_allclose(y[0], run_module(module, [x[:48]])[0].mean(axis=0), atol=0.5)
