"""The scheme `smartexchange`: the fit in the metric of the data, the published rule, and what runs it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from escc.compress.patches import Patch
from escc.compress.published_exchange import exchange
from escc.schemes.smartexchange import SCHEME as smartexchange
from isa.errors import UserError
from isa.target import load_target
from passes.decomposition.scheme import ConvLayer, SchemeOptions, check
from passes.decomposition.smartexchange import SmartExchange
from passes.decomposition.ternary_basis import TernaryBasis
from passes.math.moments import Moments


def layer(weights: np.ndarray, moments: Moments | None = None) -> ConvLayer:
    k, r, _, c = weights.shape
    pad = r // 2
    return ConvLayer(
        "conv", weights, (1, 1), (16, 16, c), (16, 16, k), 0.5, moments, True, load_target("esc1"), pads=(pad, pad)
    )


def of_sums(shape: tuple[int, int, int, int], seed: int = 1) -> np.ndarray:
    """Weights that are sums of two vectors."""
    rng = np.random.default_rng(seed)
    patch = Patch.of(shape)
    assert patch is not None
    vectors = rng.integers(-127, 128, (1, 2, *patch)).astype(np.int8)
    t = rng.choice([0, 0, 1, -1, 2, -2, 4], (shape[0], 2, *patch.groups(shape))).astype(np.int8)
    return SmartExchange.of(t, vectors, rng.uniform(0.01, 0.02, shape[0]), 0.0).weights


def test_patches_are_rows_or_channels() -> None:
    assert Patch.of((8, 3, 3, 5)) == (3, 1) and Patch.of((8, 1, 1, 8)) == (1, 4)
    assert Patch.of((8, 7, 7, 8)) == (1, 4) and Patch.of((8, 1, 1, 6)) is None


@pytest.mark.parametrize("shape", [(24, 3, 3, 16), (24, 1, 1, 32)])
def test_weights_that_are_sums_of_vectors_are_found_again(shape: tuple[int, int, int, int]) -> None:
    w = of_sums(shape)
    answer = smartexchange(layer(w), SchemeOptions(byte_price=0.05, own={"rebuilt": "1"}))
    assert isinstance(answer, SmartExchange)
    check(layer(w), answer)
    left = ((answer.weights - w) ** 2).sum() / (w**2).sum()
    assert left == pytest.approx(answer.relative_error) and left < 0.05
    assert answer.packed_bytes() < 0.45 * w.size


def test_rows_of_one_input_channel_may_run_basis_first() -> None:
    w = layer(of_sums((24, 3, 3, 16)))
    answer = smartexchange(w, SchemeOptions(byte_price=0.05, cycle_price=0.5))
    assert isinstance(answer, TernaryBasis)
    check(w, answer)
    assert (np.count_nonzero(answer.basis.any(axis=2), axis=1) <= 1).all()
    left = ((answer.weights - w.weights) ** 2).sum() / (w.weights**2).sum()
    assert left == pytest.approx(answer.relative_error, abs=1e-9)
    along = smartexchange(layer(of_sums((24, 1, 1, 32))), SchemeOptions(byte_price=0.05, cycle_price=0.5))
    assert not isinstance(along, TernaryBasis)


def test_the_metric_decides_what_matters() -> None:
    rng = np.random.default_rng(3)
    w = rng.standard_normal((16, 3, 3, 8))
    x = rng.standard_normal((4000, 72)) * np.geomspace(0.1, 3, 72)
    y = x @ w.reshape(16, -1).T
    a, b = x - x.mean(0), y - y.mean(0)
    moments = Moments(len(x), x.mean(0), y.mean(0), a.T @ a / len(x), a.T @ b / len(x))
    options = SchemeOptions(byte_price=0.1, own={"rebuilt": "1"})
    found = [smartexchange(layer(w, m), options) for m in (moments, None)]
    errors = [((x @ (w - f.weights).reshape(16, -1).T) ** 2).mean() for f in found if f is not None]
    assert len(errors) == 2 and errors[0] < 0.85 * errors[1]


def test_a_layer_that_int8_serves_better_stays_dense() -> None:
    w = np.random.default_rng(6).standard_normal((8, 3, 3, 8))
    assert smartexchange(layer(w), SchemeOptions(byte_price=1e-4, cycle_price=0.0)) is None
    assert smartexchange(layer(np.ones((8, 1, 1, 3))), SchemeOptions()) is None


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"vectors": "9"}, "vectors=9: a layer has from 1 to 8 vectors"),
        ({"levels": "3"}, "levels=3: target 'esc1' computes coefficients of magnitudes up to 4"),
        ({"rule": "x"}, "rule=x: requires one of data, weights"),
        ({"rebuilt": "yes"}, "rebuilt=yes: requires one of 0, 1"),
    ],
)
def test_options_that_cannot_be_met_are_refused(own: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        smartexchange(layer(np.ones((8, 3, 3, 8))), SchemeOptions(own=own))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(1, 30), st.integers(1, 4), st.sampled_from([1, 2, 4]), st.integers(0, 99))
def test_the_published_rule_answers_powers_of_two(k: int, patches: int, width: int, level: int, seed: int) -> None:
    w = np.random.default_rng(seed).standard_normal((k, patches, width))
    w[0, 0] = 0
    t, vectors = exchange(w, level, 4e-3)
    assert t.shape == (k, patches, width) and vectors.shape == (k, width, width)
    assert set(np.abs(t).ravel()) <= {0, *[m for m in (1, 2, 4) if m <= level]}
    assert ((w - t @ vectors) ** 2).sum() <= (w**2).sum() * (1 + 1e-9)


def test_the_published_rule_has_vectors_for_each_output_channel_and_more_error() -> None:
    w = layer(np.random.default_rng(4).standard_normal((12, 3, 3, 16)))
    found = smartexchange(w, SchemeOptions(byte_price=0.05, own={"rule": "weights"}))
    assert isinstance(found, SmartExchange) and found.vectors.shape == (12, 3, 3, 1)
    check(w, found)
    left = ((found.weights - w.weights) ** 2).sum() / (w.weights**2).sum()
    assert left == pytest.approx(found.relative_error) and left < 0.2


def test_equal_seeds_give_equal_answers() -> None:
    w, options = layer(of_sums((16, 3, 3, 8))), SchemeOptions(byte_price=0.1, own={"rebuilt": "1"})
    a, b = smartexchange(w, options), smartexchange(w, options)
    assert isinstance(a, SmartExchange) and isinstance(b, SmartExchange)
    assert a.coefficients.tobytes() == b.coefficients.tobytes() and a.scale.tobytes() == b.scale.tobytes()


def test_more_vectors_than_par_holds_leave_a_layer_dense() -> None:
    w = layer(np.random.default_rng(4).standard_normal((600, 3, 3, 2)))
    assert smartexchange(w, SchemeOptions(own={"rule": "weights"})) is None
