"""Outputs of level esc that no input can change."""

from __future__ import annotations

import pytest

from dialects.interpreters.run import main_function
from escc.irtext import make_context, parse_module
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
