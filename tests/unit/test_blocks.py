"""Work in blocks that bounds memory changes no bit of any result."""

from __future__ import annotations

import math
from collections.abc import Iterator
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tile_models import Graph
from xdsl.ir import Block

from dialects import esc
from dialects.interpreters import kernels
from dialects.interpreters.run import main_function
from isa import reference
from isa.arrays import Input
from passes.analysis import sensitivity
from passes.math import calibration


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 2**16),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 2), st.integers(1, 3)),
    st.tuples(*[st.integers(0, 3)] * 4),
    st.sampled_from([(1, 3, 2), (2, 2, 1), (3, 1, 1), (4, 1, 2)]),
    st.integers(1, 300),
)
def test_convolutions(
    seed: int,
    kernel: tuple[int, int],
    strides: tuple[int, int],
    pads: tuple[int, int, int, int],
    channels: tuple[int, int, int],
    block: int,
) -> None:
    groups, cpg, kpg = channels
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 256, (2, 6, 5, groups * cpg)).astype(np.uint8)
    w = rng.integers(-128, 128, (groups * kpg, *kernel, cpg)).astype(np.int8)
    whole = reference.conv2d(x, w, strides, pads, groups)
    with patch.object(reference, "_BLOCK_ELEMENTS", block):
        np.testing.assert_array_equal(reference.conv2d(x, w, strides, pads, groups), whole)
    extent = whole.shape[1:3]
    floats = (x.transpose(0, 3, 1, 2) / np.float32(7)).astype(np.float32)
    weights = (w.transpose(0, 3, 1, 2) / np.float32(3)).astype(np.float32)
    real = kernels.conv(floats, weights, None, strides, (1, 1), pads, groups, extent)
    with patch.object(kernels, "_BLOCK_ELEMENTS", block):
        np.testing.assert_array_equal(kernels.conv(floats, weights, None, strides, (1, 1), pads, groups, extent), real)
    floats[1] *= np.float32(0.37)  # images that go through the weights together have steps of their own
    both = kernels.conv(floats, weights, None, strides, (1, 1), pads, groups, extent)
    alone = [kernels.conv(image[None], weights, None, strides, (1, 1), pads, groups, extent) for image in floats]
    np.testing.assert_array_equal(both, np.concatenate(alone))


def test_input_quantisation() -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 7)).astype(np.float32)
    whole = reference.quantize_input(x, 0.01, True)
    with patch.object(reference, "_BLOCK_ELEMENTS", 11):
        np.testing.assert_array_equal(reference.quantize_input(x, 0.01, True), whole)
    assert reference.quantize_input(x[..., 0, 0], 0.01, False).shape == (2, 1, 1, 3)


def test_synthetic_inputs() -> None:
    inputs = [Input("a", (3, 5, 7)), Input("b", (4,))]
    whole = calibration.synthetic_inputs(inputs, 32, 5)
    with patch.object(calibration, "_DRAWN", 100):
        for a, b in zip(calibration.synthetic_inputs(inputs, 32, 5), whole, strict=True):
            np.testing.assert_array_equal(a, b)
    large = [Input("a", (1, 4096, 4096))]
    (x,) = calibration.synthetic_inputs(large, 32, 5)
    assert x.shape == (1, 1, 4096, 4096)


@pytest.fixture
def chain() -> Iterator[Block]:
    """Seven convolutions one after the other."""
    graph = Graph(4, 4, 6, seed=3)
    y = graph.x
    for _ in range(7):
        y = graph.conv(y, 6)
    module = graph.module(y)
    yield main_function(module).body.block


def test_sensitivities_of_long_chains_are_shared(chain: Block) -> None:
    x = [np.random.default_rng(0).standard_normal((8, 6, 4, 4)).astype(np.float32)]
    every = list(sensitivity.sensitivities(chain, x, 0).values())
    assert len(set(every)) == 7
    ops = sum(isinstance(op, esc.EscOp) for op in chain.ops)
    with patch.object(sensitivity, "_MOST_STEPS", 7 * ops // 3 + 1):
        shared = list(sensitivity.sensitivities(chain, x, 0).values())
    assert shared[0] == every[0]
    assert [len(set(shared[i : i + 3])) for i in (0, 3)] == [1, 1] and len(set(shared)) == 3


def test_few_images_of_large_networks(chain: Block) -> None:
    ops = list(chain.ops)
    kept = sum(
        math.prod(esc.shape_of(r))
        for op in ops
        for r in op.results
        if isinstance(op, esc.EscOp) and "i32" not in str(r.type)
    )
    assert sensitivity.image_count(ops) == 128
    for images in (1, 5):
        with patch.object(sensitivity, "_KEPT_BYTES", images * kept + 1):
            assert sensitivity.image_count(ops) == images
    with patch.object(sensitivity, "_KEPT_BYTES", 1):
        assert sensitivity.image_count(ops) == 1
