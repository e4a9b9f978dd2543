"""The scheme `kmeans` and its fit of codes, book and scales in the metric of the data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from escc.compress.metric import Metric
from escc.compress.patches import Patch
from escc.compress.quantise_vectors import VectorFit, code_bits, quantise_vectors
from escc.schemes import kmeans as module
from escc.schemes.kmeans import SCHEME as kmeans
from isa.errors import UserError
from isa.target import load_target
from passes.decomposition.codebook import Codebook
from passes.decomposition.scheme import ConvLayer, SchemeOptions, check
from passes.math.moments import Moments


def metric(seed: int, d: int, width: int) -> Metric:
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((d, 2 * d)) * np.geomspace(0.2, 3, d)[:, None]
    return Metric(a @ a.T / (2 * d) + 0.02 * np.eye(d), width)


def approximation(fit: VectorFit) -> np.ndarray:
    entries = np.concatenate([np.zeros((1, fit.book.shape[1])), fit.book])
    vectors = entries[np.abs(fit.codes)] * np.sign(fit.codes)[..., None]
    return fit.s[:, None] * vectors.reshape(len(fit.codes), -1)


def layer(weights: np.ndarray, moments: Moments | None = None) -> ConvLayer:
    k, r, _, c = weights.shape
    pad = r // 2
    return ConvLayer(
        "conv", weights, (1, 1), (16, 16, c), (16, 16, k), 0.5, moments, True, load_target("esc1"), pads=(pad, pad)
    )


@settings(max_examples=20, deadline=None)
@given(
    k=st.integers(1, 6),
    groups=st.integers(1, 20),
    width=st.integers(1, 5),
    entries=st.integers(1, 20),
    price=st.sampled_from([0.0, 0.01, 1.0, 100.0]),
    seed=st.integers(0, 99),
)
def test_any_shape_is_fitted_and_reports_its_error(
    k: int, groups: int, width: int, entries: int, price: float, seed: int
) -> None:
    h = metric(seed, groups * width, width)
    w = np.random.default_rng(seed).standard_normal((k, groups * width))
    fit = quantise_vectors(w, h, entries, price, 4, seed)
    assert fit.codes.shape == (k, groups) and int(np.abs(fit.codes).max()) <= len(fit.book) <= entries
    assert (fit.book == np.rint(fit.book)).all() and float(np.abs(fit.book).max()) <= 127
    assert (fit.s > 0).all()
    left = w - approximation(fit)
    assert fit.error == pytest.approx(float(np.einsum("kd,de,ke->", left, h.h, left)), rel=1e-6, abs=1e-9)
    assert price > 0 or fit.error <= fit.energy
    assert fit.bits == pytest.approx(float(code_bits(fit.codes, len(fit.book))[np.abs(fit.codes)].sum()))


def test_weights_from_a_book_are_found_again() -> None:
    rng = np.random.default_rng(1)
    book = rng.integers(-127, 128, (7, 3)).astype(float)
    codes = rng.integers(-7, 8, (12, 60))
    scale = rng.uniform(0.5, 2, 12)
    w = approximation(VectorFit(codes.astype(np.int16), book, scale, 0, 0, 0))
    fits = [quantise_vectors(w, metric(1, 180, 3), 15, 1e-9, 10, seed) for seed in range(3)]
    assert min(fit.relative_error for fit in fits) < 2e-3


def test_the_metric_decides_what_matters() -> None:
    w = np.random.default_rng(3).standard_normal((16, 90))
    h = metric(3, 90, 3)
    aware = quantise_vectors(w, h, 15, 0.0, 6, 0)
    blind = quantise_vectors(w, Metric(np.eye(90), 3), 15, 0.0, 6, 0)
    assert aware.error < 0.7 * float(h.energies(w - approximation(blind)).sum())


def test_a_price_takes_fewer_bits_and_more_error() -> None:
    w, h = np.random.default_rng(4).standard_normal((16, 90)), metric(4, 90, 3)
    fits = [quantise_vectors(w, h, 31, price, 6, 0) for price in (0.0, 0.1, 0.5)]
    assert fits[0].bits > 1.15 * fits[1].bits > 1.7 * fits[2].bits
    assert fits[0].error < fits[1].error < fits[2].error


def test_equal_seeds_give_equal_answers() -> None:
    w, h = np.random.default_rng(5).standard_normal((16, 360)), metric(5, 360, 3)
    a, b = (quantise_vectors(w, h, 31, 0.01, 4, 7) for _ in range(2))
    assert a.codes.tobytes() == b.codes.tobytes() and a.book.tobytes() == b.book.tobytes()
    assert a.s.tobytes() == b.s.tobytes()


def test_vectors_follow_the_shape_of_kernels() -> None:
    def patch(*shape: int) -> tuple[int, int] | None:
        return Patch.of(shape)

    assert patch(8, 3, 3, 5) == (3, 1)
    assert patch(8, 1, 1, 8) == (1, 4)
    assert patch(8, 7, 7, 8) == (1, 4)
    assert patch(8, 1, 1, 6) is None and patch(8, 7, 7, 3) is None


@pytest.mark.parametrize("shape", [(24, 3, 3, 16), (24, 1, 1, 32)])
def test_the_scheme_answers_a_form_that_is_smaller_where_bytes_count(shape: tuple[int, int, int, int]) -> None:
    w = np.random.default_rng(6).standard_normal(shape)
    loose, tight = (kmeans(layer(w), SchemeOptions(byte_price=rate)) for rate in (0.2, 2.0))
    for answer in (loose, tight):
        assert isinstance(answer, Codebook)
        check(layer(w), answer)
        left = ((answer.weights - w) ** 2).sum() / (w**2).sum()
        assert left == pytest.approx(answer.relative_error)
    assert isinstance(loose, Codebook) and isinstance(tight, Codebook)
    assert tight.packed_bytes() < 0.8 * loose.packed_bytes() < 0.6 * w.size


def test_a_layer_that_int8_serves_better_stays_dense() -> None:
    w = np.random.default_rng(6).standard_normal((8, 3, 3, 8))
    sensitive = replace(layer(w), sensitivity=lambda: 100.0)
    assert kmeans(sensitive, SchemeOptions(byte_price=0.01)) is None
    assert kmeans(layer(np.ones((8, 1, 1, 3))), SchemeOptions()) is None


def test_the_size_of_the_book_can_be_asked_for() -> None:
    w = layer(np.random.default_rng(6).standard_normal((16, 3, 3, 16)))
    answer = kmeans(w, SchemeOptions(byte_price=2.0, own={"entries": "9"}))
    assert isinstance(answer, Codebook) and len(answer.book) <= 9
    for text in ("0", "128", "x", "²"):
        with pytest.raises(UserError, match=f"entries={text}: a book has from 1 to 127 entries"):
            kmeans(w, SchemeOptions(own={"entries": text}))


def test_the_book_of_a_large_layer_comes_from_some_channels_and_suits_all(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    w = layer(rng.standard_normal((64, 3, 3, 8)) * rng.uniform(0.2, 5, (64, 1, 1, 1)))
    options = SchemeOptions(byte_price=0.3)
    whole = kmeans(w, options)
    monkeypatch.setattr(module, "_WORK", 0)
    monkeypatch.setattr(module, "_LEAST_CHANNELS", 16)
    found = kmeans(w, options)
    assert isinstance(whole, Codebook) and isinstance(found, Codebook)
    check(w, found)
    cost = [form.relative_error + 0.3 * form.packed_bytes() / w.weights.size for form in (found, whole)]
    assert cost[0] < 1.15 * cost[1]
