"""isa.reference against plain Python loops over Python integers."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isa import reference
from isa.reference import Addition

FAST = settings(max_examples=40, deadline=None)


def array(rng, low, high, shape, dtype):
    return rng.integers(low, high + 1, shape).astype(dtype)


def activations(rng, shape, signed):
    info = np.iinfo(np.int8 if signed else np.uint8)
    values = array(rng, info.min, info.max, shape, info.dtype)
    values[rng.random(shape) < 0.3] = 0
    return values


def at(x, n, y, column, c):
    """Value of a padded read."""
    _, h, w, _ = x.shape
    return int(x[n, y, column, c]) if 0 <= y < h and 0 <= column < w else 0


@st.composite
def windows(draw):
    """(seed, input shape, kernel, strides, pads) with at least one output position."""
    kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    strides = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    pads = tuple(draw(st.integers(0, k - 1)) for k in (*kernel, *kernel))
    h = draw(st.integers(max(1, kernel[0] - pads[0] - pads[2]), 7))
    w = draw(st.integers(max(1, kernel[1] - pads[1] - pads[3]), 7))
    return draw(st.integers(0, 2**32)), (draw(st.integers(1, 2)), h, w), kernel, strides, pads


def extent(size, kernel, stride, before, after):
    return (size + before + after - kernel) // stride + 1


@FAST
@given(windows(), st.booleans(), st.sampled_from([(1, 3, 2), (2, 2, 1), (3, 1, 1), (4, 1, 2), (1, 1, 3)]))
def test_conv2d_against_loops(window, signed, channels):
    seed, (n, h, w), (r, s), strides, pads = window
    groups, cpg, kpg = channels
    rng = np.random.default_rng(seed)
    x = activations(rng, (n, h, w, groups * cpg), signed)
    weight = array(rng, -128, 127, (groups * kpg, r, s, cpg), np.int8)
    got = reference.conv2d(x, weight, strides, pads, groups)
    oh, ow = extent(h, r, strides[0], pads[0], pads[2]), extent(w, s, strides[1], pads[1], pads[3])
    assert got.shape == (n, oh, ow, groups * kpg) and got.dtype == np.int32
    for index in np.ndindex(*got.shape):
        i, y, column, k = index
        total = sum(
            int(weight[k, a, b, j])
            * at(x, i, y * strides[0] - pads[0] + a, column * strides[1] - pads[1] + b, k // kpg * cpg + j)
            for a in range(r)
            for b in range(s)
            for j in range(cpg)
        )
        assert got[index] == total


def test_conv2d_is_exact_beyond_float32():
    x = np.full((1, 3, 3, 512), 255, np.uint8)
    x[0, 1, 1, 0] = 254
    weight = np.full((1, 3, 3, 512), 127, np.int8)
    assert int(reference.conv2d(x, weight, (1, 1), (0, 0, 0, 0)).reshape(())) == (3 * 3 * 512 * 255 - 1) * 127


def test_conv2d_refuses_int32_overflow():
    x = np.full((1, 1, 1, 70000), 255, np.uint8)
    weight = np.full((1, 1, 1, 70000), 127, np.int8)
    with pytest.raises(OverflowError):
        reference.conv2d(x, weight, (1, 1), (0, 0, 0, 0))


def test_results_do_not_depend_on_the_batch():
    rng = np.random.default_rng(1)
    x = activations(rng, (5, 40, 40, 32), False)
    weight = array(rng, -127, 127, (48, 3, 3, 32), np.int8)
    whole = reference.conv2d(x, weight, (1, 1), (1, 1, 1, 1))
    for i in range(5):
        assert (reference.conv2d(x[i : i + 1], weight, (1, 1), (1, 1, 1, 1)) == whole[i]).all()


@FAST
@given(windows(), st.booleans(), st.integers(0, 5), st.sampled_from([8, 10, 16]))
def test_decomposed_against_loops(window, signed, shift, bits):
    seed, (n, h, w), (r, s), strides, pads = window
    rng = np.random.default_rng(seed)
    c, k, v = 5, 2, 3
    x = activations(rng, (n, h, w, c), signed)
    coefficients = array(rng, -1, 1, (k, v, c), np.int8)
    basis = array(rng, -128, 127, (v, r, s), np.int8)
    ic = reference.coeff_combine(x, coefficients, shift, bits)
    limit = 2 ** (bits - 1)
    for index in np.ndindex(*ic.shape):
        i, y, column, kk, vv = index
        total = sum(int(coefficients[kk, vv, j]) * int(x[i, y, column, j]) for j in range(c))
        rounded = math.floor(Fraction(total, 2**shift) + (Fraction(1, 2) if shift else 0))
        assert ic[index] == min(max(rounded, -limit), limit - 1)
    acc = reference.basis_conv2d(ic, basis, strides, pads)
    for index in np.ndindex(*acc.shape):
        i, y, column, kk = index
        total = 0
        for a in range(r):
            for b in range(s):
                p, q = y * strides[0] - pads[0] + a, column * strides[1] - pads[1] + b
                if 0 <= p < h and 0 <= q < w:
                    total += sum(int(basis[vv, a, b]) * int(ic[i, p, q, kk, vv]) for vv in range(v))
        assert acc[index] == total


def rounded_shift(value, shift):
    """floor(value / 2^shift + 1/2) in exact rationals."""
    return math.floor(Fraction(value, 2**shift) + Fraction(1, 2))


def clamp(value, low, high):
    return min(max(value, low), high)


@FAST
@given(st.integers(0, 2**32), st.booleans(), st.booleans(), st.booleans())
def test_requantize_against_loops(seed, signed, with_table, with_residual):
    rng = np.random.default_rng(seed)
    k = 3
    acc = array(rng, -(2**30), 2**30, (2, 2, 2, k), np.int32) >> array(rng, 0, 30, (2, 2, 2, k), np.int32)
    bias = array(rng, -(2**29), 2**29, (k,), np.int32) >> 12
    mult = array(rng, 0, 2**31 - 1, (k,), np.int32)
    shift = array(rng, 1, 62, (k,), np.uint8)
    lo, hi = sorted(int(v) for v in rng.integers(-128 if signed else 0, 128 if signed else 256, 2))
    table = array(rng, 0, 255, (256,), np.uint8).view(np.int8 if signed else np.uint8) if with_table else None
    residual = activations(rng, acc.shape, bool(seed & 1)) if with_residual else None
    addition = Addition(2**30 - 7, 2**29 + 5, 30, -100, 90, True) if with_residual else None
    got = reference.requantize(acc, bias, mult, shift, lo, hi, signed, table, residual, addition)
    assert got.dtype == (np.int8 if signed or with_residual else np.uint8)
    for index in np.ndindex(*acc.shape):
        c = index[-1]
        q = clamp(rounded_shift((int(acc[index]) + int(bias[c])) * int(mult[c]), int(shift[c])), lo, hi)
        if table is not None:
            q = int(table[q & 255])
        if addition is not None:
            total = q * addition.mult_a + int(residual[index]) * addition.mult_b
            q = clamp(rounded_shift(total, addition.shift), addition.lo, addition.hi)
        assert got[index] == q


def test_requantize_needs_the_parameters_of_a_residual():
    acc = np.zeros((1, 1, 1, 1), np.int32)
    one = np.ones(1, np.int32)
    with pytest.raises(ValueError, match="residual"):
        reference.requantize(acc, one, one, one, 0, 1, False, residual=np.zeros((1, 1, 1, 1), np.int8))


@FAST
@given(windows(), st.booleans(), st.booleans(), st.booleans())
def test_pools_against_loops(window, signed, include_pad, ceil_mode):
    seed, (n, h, w), kernel, strides, pads = window
    rng = np.random.default_rng(seed)
    x = activations(rng, (n, h, w, 2), signed)
    out = []
    for i, size in enumerate((h, w)):
        o = extent(size, kernel[i], strides[i], pads[i], pads[i + 2])
        # ceil_mode adds a window that starts inside the tensor or its leading padding
        out.append(o + (ceil_mode and o * strides[i] - pads[i] < size))
    top = [(y * strides[0] - pads[0], column * strides[1] - pads[1]) for y in range(out[0]) for column in range(out[1])]
    counts = reference.pool_counts((h, w), kernel, strides, pads, include_pad, out)
    mult = array(rng, 0, 2**31 - 1, (int(counts.max() - counts.min()) + 1,), np.int32)
    count0 = int(counts.min())
    lo, hi = (-90, 100) if signed else (0, 200)
    average = reference.avg_pool(x, kernel, strides, pads, include_pad, out, mult, count0, 33, lo, hi, signed)
    best = reference.window_maxima(x, kernel, strides, pads, out)
    assert average.shape == best.shape == (n, *out, 2)
    for position, (y0, x0) in enumerate(top):
        y, column = divmod(position, out[1])
        cells = [(p, q) for p in range(y0, y0 + kernel[0]) for q in range(x0, x0 + kernel[1])]
        valid = [(p, q) for p, q in cells if 0 <= p < h and 0 <= q < w]
        counted = [(p, q) for p, q in cells if -pads[0] <= p < h + pads[2] and -pads[1] <= q < w + pads[3]]
        count = len(counted if include_pad else valid)
        assert counts[y, column] == count
        for i in range(n):
            for c in range(2):
                values = [int(x[i, p, q, c]) for p, q in valid]
                assert best[i, y, column, c] == max(values)
                scaled = rounded_shift(sum(values) * int(mult[count - count0]), 33)
                assert average[i, y, column, c] == clamp(scaled, lo, hi)


@FAST
@given(st.integers(0, 2**32), st.tuples(*[st.integers(-4, 6)] * 3), st.tuples(*[st.integers(1, 3)] * 2), st.booleans())
def test_slice_pad_against_loops(seed, offsets, strides, signed):
    rng = np.random.default_rng(seed)
    x = activations(rng, (2, 4, 5, 3), signed)
    shape = (3, 4, 5)
    got = reference.slice_pad(x, offsets, strides, shape)
    for i, y, column, c in np.ndindex(2, *shape):
        p, q, k = y * strides[0] + offsets[0], column * strides[1] + offsets[1], c + offsets[2]
        want = int(x[i, p, q, k]) if 0 <= p < 4 and 0 <= q < 5 and 0 <= k < 3 else 0
        assert got[i, y, column, c] == want


@FAST
@given(st.lists(st.floats(1e-12, 2.0**29), min_size=1, max_size=8))
def test_fixed_point_is_close(factors):
    mult, shift = reference.fixed_point(np.array(factors))
    assert mult.dtype == np.int32 and shift.dtype == np.uint8
    for m, s, factor in zip(mult, shift, factors, strict=True):
        assert m >= 0 and 1 <= s <= 62
        error = abs(Fraction(int(m), 2 ** int(s)) - Fraction(factor))
        assert error <= max(Fraction(factor) / 2**30, Fraction(1, 2**63))


def test_fixed_point_edges():
    mult, shift = reference.fixed_point(np.array([0.0, 1.0, 1 - 2.0**-40, 2.0**29, 1e-30]))
    assert mult.tolist() == [0, 2**30, 2**30, 2**30, 0]
    assert shift.tolist()[1:4] == [30, 30, 1]


@pytest.mark.parametrize("factor", [-1.0, np.nan, np.inf, 2.0**30])
def test_fixed_point_refuses(factor):
    with pytest.raises(ValueError, match="factors"):
        reference.fixed_point(np.array([factor]))


def test_add_lookup_concat():
    rng = np.random.default_rng(3)
    a, b = activations(rng, (2, 3, 3, 4), True), activations(rng, (2, 3, 3, 4), False)
    addition = Addition(3_000_001, 7_000_003, 24, 0, 250, False)
    got = reference.add(a, b, addition)
    assert got.dtype == np.uint8
    for index in np.ndindex(*a.shape):
        total = int(a[index]) * addition.mult_a + int(b[index]) * addition.mult_b
        assert got[index] == clamp(rounded_shift(total, 24), 0, 250)
    table = array(rng, -128, 127, (256,), np.int8)
    assert all(reference.lookup(a, table)[i] == table[int(a[i]) & 255] for i in np.ndindex(*a.shape))
    assert reference.concat([a, a]).shape == (2, 3, 3, 8)


def test_host_operations():
    x = np.array([[0.5, 1.5, 2.5, -0.5, 400.0, -400.0]], np.float32)
    assert reference.quantize_input(x, 1.0, True).reshape(-1).tolist() == [0, 2, 2, 0, 127, -128]
    assert reference.quantize_input(x, 1.0, False).reshape(-1).tolist() == [0, 2, 2, 0, 255, 0]
    image = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    q = reference.quantize_input(image, 0.5, False)
    assert q.shape == (1, 3, 4, 2) and q[0, 1, 2, 1] == 2 * image[0, 1, 1, 2]
    assert (reference.dequantize_output(q, 0.5, (1, 2, 3, 4)) == image).all()
    assert (reference.dequantize_output(q, 0.5, (1, 24)) == image.reshape(1, 24)).all()
    soft = reference.softmax(np.array([[1000.0, 1000.0, -1000.0]], np.float32), 1)
    assert soft.tolist() == [[0.5, 0.5, 0.0]] and soft.dtype == np.float32
