"""Outputs of level esc that no input can change."""

from __future__ import annotations

import numpy as np
import pytest
from tile_models import Graph

from dialects.esc_base import AccumulatorOp
from dialects.esc_circulant import CirculantConv2dOp
from dialects.esc_codebook import CodebookConv2dOp
from dialects.esc_gather import GatherConv2dOp
from dialects.esc_smartexchange import SmartExchangeConv2dOp
from dialects.interpreters.run import main_function
from escc.irtext import make_context, parse_module
from isa.gather import Banking
from passes.analysis.constant_outputs import constant_outputs

TEXT = """
func.func @main(%x : tensor<1x2x2x1x!esc.q<u8, 0.5>>)
    -> (tensor<1x2x2x1xi32>, tensor<1x2x2x1x!esc.q<u8, 0.5>>, tensor<1x2x2x1xi32>) {{
  %y = esc.conv2d %x {{weight = #blob.dense<1x1x1x1xi8, [{first}]>, strides = array<i64: 1, 1>,
    pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64}} : tensor<1x2x2x1x!esc.q<u8, 0.5>> -> tensor<1x2x2x1xi32>
  %z = esc.requantize %y {{bias = #blob.dense<1xi32, [7]>, mult = #blob.dense<1xi32, [1073741824]>,
    shift = #blob.dense<1xui8, [30]>, lo = 0 : i64, hi = 255 : i64}}
    : tensor<1x2x2x1xi32> -> tensor<1x2x2x1x!esc.q<u8, 0.5>>
  %v = esc.conv2d %z {{weight = #blob.dense<1x1x1x1xi8, [{second}]>, strides = array<i64: 1, 1>,
    pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64}} : tensor<1x2x2x1x!esc.q<u8, 0.5>> -> tensor<1x2x2x1xi32>
  func.return %y, %z, %v : tensor<1x2x2x1xi32>, tensor<1x2x2x1x!esc.q<u8, 0.5>>, tensor<1x2x2x1xi32>
}}
"""


@pytest.mark.parametrize(
    ("first", "second", "constant"),
    [
        (1, 1, []),
        (0, 1, ["output0", "output1", "output2"]),
        (1, 0, ["output2"]),
        (0, 0, ["output0", "output1", "output2"]),
    ],
)
def test_what_only_zeros_reach_is_constant(first: int, second: int, constant: list[str]) -> None:
    module = parse_module(make_context(), TEXT.format(first=first, second=second), "a.mlir")
    assert constant_outputs(main_function(module)) == constant


def _zeros(g: Graph, form: str) -> AccumulatorOp:
    """A convolution of 16 channels of which nothing but zeros is left, in a form."""
    window = (1, 1), (1, 1, 1, 1)
    nothing, vectors = np.zeros((16, 3, 3, 16), np.int8), np.ones((1, 2, 3, 1), np.int8)
    if form == "circulant":
        return CirculantConv2dOp(g.x, np.zeros((4, 3, 3, 4, 4), np.int8), 16, *window)
    if form == "gather":
        return GatherConv2dOp(g.x, nothing, *window, Banking(4, 2, 0))
    if form == "smartexchange":
        return SmartExchangeConv2dOp(g.x, np.zeros((16, 2, 3, 1, 16), np.int8), vectors, 1, *window)
    return CodebookConv2dOp(g.x, np.zeros((16, 3, 1, 16), np.int8), np.ones((4, 3, 1), np.int8), *window)


@pytest.mark.parametrize("form", ["circulant", "codebook", "gather", "smartexchange"])
def test_zeros_of_every_form_are_found(form: str) -> None:
    g = Graph(8, 8, 16)
    conv = _zeros(g, form)
    module = g.module(g.requantize(g.append(conv), signed=False), g.conv(g.x, 4))
    assert not any(bound.any() for bound in conv.accumulator_bounds)
    assert constant_outputs(main_function(module)) == ["y0"]
