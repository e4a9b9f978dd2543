"""Functions of angles and powers, logarithms of sums, and means of several tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from onnx_graphs import check, model, node, operations, random

from dialects.expressions import parse
from isa import elementary

ANY = np.concatenate([np.linspace(-20, 20, 2001), [1e-9, 1e5, -1e6]])
INSIDE = np.linspace(-1, 1, 2001)


CASES: dict[str, tuple[Callable[..., Any], Any]] = {
    "Acos": (np.arccos, INSIDE),
    "Acosh": (np.arccosh, np.linspace(1, 50, 2001)),
    "Asin": (np.arcsin, INSIDE),
    "Asinh": (np.arcsinh, ANY),
    "Atan": (np.arctan, ANY),
    "Atanh": (np.arctanh, INSIDE[1:-1]),
    "Cos": (np.cos, ANY),
    "Cosh": (np.cosh, ANY[:2001]),
    "Sin": (np.sin, ANY),
    "Sinh": (np.sinh, ANY[:2001]),
    "Tan": (np.tan, ANY),
}


@pytest.mark.parametrize("name", CASES)
def test_every_function(name: str) -> None:
    wanted, x = CASES[name]
    expression = parse(f"{name}(x)")
    np.testing.assert_allclose(expression.compute(x), wanted(x), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(expression.on_torch(torch.tensor(x)).numpy(), wanted(x), rtol=1e-9, atol=1e-12)
    if expression.non_negative(argument=True):
        assert (expression.compute(np.abs(x)) >= 0).all()


def test_numbers_outside_of_a_function() -> None:
    for function in (elementary.asin, elementary.atanh):
        assert np.isnan(function([1.5, -1.5, np.nan])).all()
    assert np.isnan(elementary.sin([np.inf, np.nan])).all()
    np.testing.assert_array_equal(elementary.atanh([1.0, -1.0]), [np.inf, -np.inf])
    np.testing.assert_array_equal(np.signbit(elementary.atan([-0.0, 0.0])), [True, False])


@pytest.mark.parametrize("shape", [(1, 4, 5, 6), (1, 4, 6), (1, 5)])
@pytest.mark.parametrize("kind", ["ReduceLogSum", "ReduceLogSumExp"])
def test_logarithms_of_sums(kind: str, shape: tuple[int, ...]) -> None:
    for axes in ([1], [-1], list(range(1, len(shape)))):
        nodes = [node("Sigmoid", ["x"], ["s"]), node(kind, ["s", "axes"], ["y"], keepdims=len(axes) % 2)]
        check(model(nodes, shape, {"axes": np.array(axes)}, opset=18))


def test_powers_do_not_overflow() -> None:
    proto = model([node("ReduceLogSumExp", ["x", "axes"], ["y"])], [1, 4, 3, 3], {"axes": np.array([1])}, opset=18)
    check(proto, 100 + 20 * random(1, 4, 3, 3))


def test_means_and_sums_with_constants() -> None:
    constants = {"c": random(3, 1, 1), "one": np.float32(1.0)}
    nodes = [node("Mean", ["x", "c", "x"], ["m"]), node("Sum", ["m", "one"], ["y"])]
    assert set(operations(check(model(nodes, [1, 3, 4, 4], constants)))) <= {"Conv", "Add"}
