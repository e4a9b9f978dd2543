"""Functions of one number however they are spelled: import, canonical form and arithmetic against onnxruntime."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import onnx
import pytest
from onnx_graphs import check, model, node, operations, random
from xdsl.dialects.builtin import ModuleOp

from dialects import expressions
from dialects.interpreters.run import main_function
from dialects.onnx_expression import ExpressionOp
from escc.onnx_import import import_model
from isa.errors import UserError

NUMBERS = {
    "zero": 0.0,
    "half": 0.5,
    "one": 1.0,
    "three": 3.0,
    "six": 6.0,
    "root2": 2**0.5,
    "sixth": 1 / 6,
    "two": 2.0,
    "cubic": 0.044715,
    "tanh": 0.7978845608,
    "exponent": 3.0,
    "small": 0.1,
    "quick": 1.702,
}
CONSTANTS = {**{name: np.float32(value) for name, value in NUMBERS.items()}, "whole": np.int64(3)}
Case = list[onnx.NodeProto]

SPELLINGS: dict[str, Case] = {
    "swish": [node("Sigmoid", ["x"], ["s"]), node("Mul", ["x", "s"], ["y"])],
    "swish, spelled out": [
        node("Neg", ["x"], ["n"]),
        node("Exp", ["n"], ["e"]),
        node("Add", ["e", "one"], ["d"]),
        node("Div", ["x", "d"], ["y"]),
    ],
    "quick gelu": [node("Mul", ["x", "quick"], ["q"]), node("Sigmoid", ["q"], ["s"]), node("Mul", ["s", "x"], ["y"])],
    "hard swish by HardSigmoid": [
        node("HardSigmoid", ["x"], ["s"], alpha=1 / 6),
        node("Mul", ["x", "s"], ["y"]),
    ],
    "hard swish by Clip": [
        node("Add", ["x", "three"], ["a"]),
        node("Clip", ["a", "zero", "six"], ["c"]),
        node("Div", ["c", "six"], ["d"]),
        node("Mul", ["x", "d"], ["y"]),
    ],
    "hard swish, divided last": [
        node("Add", ["x", "three"], ["a"]),
        node("Clip", ["a", "zero", "six"], ["c"]),
        node("Mul", ["x", "c"], ["m"]),
        node("Div", ["m", "six"], ["y"]),
    ],
    "hard swish by Min and Max": [
        node("Add", ["x", "three"], ["a"]),
        node("Max", ["a", "zero"], ["b"]),
        node("Min", ["six", "b"], ["c"]),
        node("Mul", ["c", "sixth"], ["d"]),
        node("Mul", ["d", "x"], ["y"]),
    ],
    "gelu by Erf": [
        node("Div", ["x", "root2"], ["d"]),
        node("Erf", ["d"], ["e"]),
        node("Add", ["e", "one"], ["a"]),
        node("Mul", ["x", "a"], ["m"]),
        node("Mul", ["m", "half"], ["y"]),
    ],
    "gelu by Tanh": [
        node("Pow", ["x", "exponent"], ["p"]),
        node("Mul", ["p", "cubic"], ["c"]),
        node("Add", ["x", "c"], ["a"]),
        node("Mul", ["a", "tanh"], ["b"]),
        node("Tanh", ["b"], ["t"]),
        node("Add", ["t", "one"], ["u"]),
        node("Mul", ["x", "half"], ["h"]),
        node("Mul", ["h", "u"], ["y"]),
    ],
    "mish": [node("Softplus", ["x"], ["s"]), node("Tanh", ["s"], ["t"]), node("Mul", ["x", "t"], ["y"])],
    "square": [node("Mul", ["x", "x"], ["y"])],
    "power": [node("Pow", ["x", "two"], ["y"])],
    "power by an integer": [node("Pow", ["x", "whole"], ["y"])],
    "soft sign": [
        node("Abs", ["x"], ["a"]),
        node("Add", ["a", "one"], ["b"]),
        node("Div", ["x", "b"], ["y"]),
    ],
    "difference": [node("Relu", ["x"], ["r"]), node("Sub", ["x", "r"], ["y"])],
    "reciprocal": [node("Exp", ["x"], ["e"]), node("Div", ["one", "e"], ["y"])],
    "of a sum": [
        node("Sigmoid", ["x"], ["s"]),
        node("Add", ["s", "x"], ["a"]),
        node("Tanh", ["a"], ["t"]),
        node("Mul", ["a", "t"], ["y"]),
    ],
}

OPERATORS: dict[str, dict[str, Any]] = {
    "Abs": {},
    "Celu": {"alpha": 0.7},
    "Ceil": {},
    "Erf": {},
    "Exp": {},
    "Floor": {},
    "Mish": {},
    "Neg": {},
    "Round": {},
    "Selu": {},
    "Shrink": {"bias": 0.3, "lambd": 0.4},
    "Sign": {},
    "Softplus": {},
    "Gelu": {},
    "ThresholdedRelu": {},
}


def test_the_base_of_a_power_is_no_integer() -> None:
    """What an integer is raised to would be cut off to an integer again."""
    proto = model([node("Pow", ["whole", "x"], ["y"], name="power")], [1, 3, 4, 5], {"whole": np.int64(2)})
    with pytest.raises(
        UserError, match=r"node 'power' \(Pow\): raises int64 to a power; requires a floating-point base"
    ):
        import_model(proto.SerializeToString())


def expressions_of(module: ModuleOp) -> list[str]:
    ops = main_function(module).body.block.ops
    return [op.expression.data for op in ops if isinstance(op, ExpressionOp)]


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_function_is_one_table_however_it_is_spelled(name: str) -> None:
    module = check(model(SPELLINGS[name], [1, 3, 4, 5], CONSTANTS))
    assert operations(module) == ["Expression"]


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_that_are_functions(name: str) -> None:
    module = check(model([node(name, ["x"], ["y"], **OPERATORS[name])], [1, 3, 4, 5], opset=22))
    assert operations(module) == ["Expression"]


@pytest.mark.parametrize("name", ["Log", "Sqrt", "Reciprocal"])
def test_functions_of_positive_numbers(name: str) -> None:
    check(model([node(name, ["x"], ["y"])], [1, 3, 4, 5]), np.abs(random(1, 3, 4, 5)) + np.float32(0.1))


def test_gelu_by_tanh() -> None:
    check(model([node("Gelu", ["x"], ["y"], approximate="tanh")], [1, 3, 4, 5], opset=20))


@pytest.mark.parametrize("slope", [np.float32(0.2), random(3, 1, 1)], ids=["one", "per channel"])
def test_prelu(slope: Any) -> None:
    module = check(model([node("PRelu", ["x", "s"], ["y"])], [1, 3, 4, 5], {"s": slope}))
    assert operations(module) == (["LeakyRelu"] if slope.size == 1 else ["Relu", "Conv", "Conv", "Add"])


def test_a_bound_of_one_number_is_a_clamp() -> None:
    nodes = [node("Max", ["x", "zero"], ["m"]), node("Min", ["m", "six"], ["y"])]
    assert operations(check(model(nodes, [1, 3, 4, 5], CONSTANTS))) == ["Relu", "Clip"]


def test_quantisation_inside_is_a_part_of_the_function() -> None:
    linear = {"s": np.float32(0.02), "z": np.uint8(110), "o": np.float32(1 / 255), "p": np.uint8(0)}
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        node("Sigmoid", ["d"], ["g"]),
        node("QuantizeLinear", ["g", "o", "p"], ["h"]),
        node("DequantizeLinear", ["h", "o", "p"], ["i"]),
        node("Mul", ["d", "i"], ["y"]),
    ]
    module = check(model(nodes, [1, 3, 4, 5], linear), tolerance=1e-6)
    assert operations(module) == ["QuantizeLinear", "DequantizeLinear", "Expression"]
    assert expressions_of(module)[0].startswith("Mul(x, Quantize(Sigmoid(x), scale=")


def test_a_scaling_stays_with_its_convolution() -> None:
    constants = {**CONSTANTS, "w": random(4, 3, 1, 1), "v": random(2, 4, 1, 1)}
    nodes = [
        node("Conv", ["x", "w"], ["a"]),
        node("Add", ["a", "three"], ["b"]),
        node("Sigmoid", ["b"], ["c"]),
        node("Mul", ["c", "half"], ["d"]),
        node("Conv", ["d", "v"], ["y"]),
    ]
    assert operations(check(model(nodes, [1, 3, 4, 5], constants))) == ["Conv", "Sigmoid", "Conv"]


def test_a_value_that_others_read_too_is_computed_beside_the_function() -> None:
    nodes = [node("Sigmoid", ["x"], ["s"]), node("Mul", ["x", "s"], ["m"]), node("Concat", ["m", "s"], ["y"], axis=1)]
    assert operations(check(model(nodes, [1, 3, 4, 5]))) == ["Sigmoid", "Expression", "Concat"]


def test_deep_chains_stay_within_the_length_of_an_expression() -> None:
    names = ["x", *(f"v{i}" for i in range(12)), "y"]
    nodes: Case = []
    for a, b in pairwise(names):
        nodes += [node("Sigmoid", [a], [f"s{b}"]), node("Mul", [a, f"s{b}"], [b])]
    module = check(model(nodes, [1, 2, 3, 3]))
    assert all(expressions.parse(e).size <= expressions.MAX_SIZE for e in expressions_of(module))


@pytest.mark.parametrize(
    "text", ["Mul(x, Sigmoid(x))", "Clip(Add(x, 3.0), min=0.0, max=6.0)", "Elu(x, alpha=0.5)", "-2.5"]
)
def test_text_reads_back(text: str) -> None:
    assert str(expressions.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("Mul(x", "cannot be read"),
        ("Sigmoid(x, x)", "takes 1 operand"),
        ("Sigmoid(x, alpha=1.0)", "takes 1 operand"),
        ("Unknown(x)", "'Unknown' is unknown"),
        ("x.real", "is no number"),
        ("Mul(x, '1')", "is no number"),
        ("Neg(" * 200 + "x" + ")" * 200, "requires at most|cannot be read"),
    ],
)
def test_faults_of_expressions(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        expressions.parse(text)


@pytest.mark.parametrize(
    ("text", "always", "of_non_negative"),
    [
        ("Sigmoid(x)", True, True),
        ("Mul(x, Sigmoid(x))", False, True),
        ("Sub(x, 1.0)", False, False),
        ("Log(x)", False, False),
        ("Neg(Exp(x))", False, False),
        ("Mul(x, x)", True, True),
        ("Max(x, 0.5)", True, True),
        ("Clip(x, min=0.0, max=6.0)", True, True),
        ("Clip(x, min=-8.0, max=-6.0)", False, False),
        ("Pow(x, 3.0)", False, True),
    ],
)
def test_signs(text: str, always: bool, of_non_negative: bool) -> None:
    """A result that is stored without a sign must not lose what is below 0."""
    expression = expressions.parse(text)
    assert expression.non_negative(False) is always
    assert expression.non_negative(True) is of_non_negative
    numbers = np.linspace(0.01, 20, 50)
    assert not expression.non_negative(True) or expression.compute(numbers).min() >= 0
