"""Functions of one number written as text: `Mul(x, Sigmoid(x))`.

A call names a function as ONNX does: one of `SCALAR_FUNCTIONS` or `MORE_FUNCTIONS` with its parameters by name, an
operation of two numbers, or `Quantize`, which rounds as QuantizeLinear and DequantizeLinear in a row do. `x` is the
argument; numbers stand as they are.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pkgutil import resolve_name
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dialects.scalar_functions import MORE_FUNCTIONS, SCALAR_FUNCTIONS, ScalarFunction
from isa import elementary

Array: TypeAlias = NDArray[Any]

ARGUMENT = "x"
MAX_SIZE = 96
"""Calls, numbers and arguments of one expression."""


def _rounded(x: Array, scale: float, zero_point: float, low: float, high: float) -> Array:
    """What QuantizeLinear and DequantizeLinear with these parameters make of x, in float32 as they compute."""
    factor = np.float32(scale)
    steps = np.rint(np.asarray(x, np.float32) / factor) + np.float32(zero_point)
    return (np.clip(steps, low, high) - np.float32(zero_point)) * factor


def _truth(relation: Callable[..., Array]) -> Callable[..., Array]:
    return lambda *operands: np.asarray(relation(*operands), np.float64)


def _chosen(condition: Array, lhs: Array, rhs: Array) -> Array:
    return np.where(condition != 0, lhs, rhs)


_SCALARS = "escc.training.forms.scalars"
CALLS: Mapping[str, tuple[Callable[..., Array], str]] = {
    "Add": (np.add, "torch:add"),
    "Sub": (np.subtract, "torch:sub"),
    "Mul": (np.multiply, "torch:mul"),
    "Div": (np.divide, "torch:div"),
    "Max": (np.maximum, "torch:maximum"),
    "Min": (np.minimum, "torch:minimum"),
    "Pow": (elementary.power, "torch:pow"),
    "Equal": (_truth(np.equal), f"{_SCALARS}:equal"),
    "Greater": (_truth(np.greater), f"{_SCALARS}:greater"),
    "GreaterOrEqual": (_truth(np.greater_equal), f"{_SCALARS}:greater_or_equal"),
    "Less": (_truth(np.less), f"{_SCALARS}:less"),
    "LessOrEqual": (_truth(np.less_equal), f"{_SCALARS}:less_or_equal"),
    "Where": (_chosen, f"{_SCALARS}:where"),
}
"""Operations of several numbers: on NumPy arrays, and the lazy name of the same on torch tensors. Truths are 1 or 0."""
_OPERANDS = {"Where": 3}
"""How many numbers an operation is of, where it is not 2."""
_RELATIONS = ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
QUANTIZE = ScalarFunction(
    "Quantize",
    _rounded,
    "escc.training.forms.scalars:rounded",
    dict.fromkeys(("scale", "zero_point", "low", "high"), 0.0),
)
_UNARY: Mapping[str, ScalarFunction] = {f.name: f for f in (*SCALAR_FUNCTIONS, *MORE_FUNCTIONS, QUANTIZE)}
_CHANGES_SIGN = ("Cos", "Log", "Neg", "Sin", "Tan")
"""Functions that are below 0 for some numbers above it."""


def _keeps_sign(name: str, operands: Sequence[bool]) -> bool:
    """Whether no result of an operation is below 0, given of which operands this is known."""
    if name == "Max":
        return any(operands)
    if name == "Where":
        return all(operands[1:])
    if name in _RELATIONS:
        return True
    return operands[0] if name == "Pow" else name != "Sub" and all(operands)


def is_known(function: ScalarFunction) -> bool:
    """Whether expressions can name a function."""
    return _UNARY.get(function.name) is function


@dataclass(frozen=True)
class Expression:
    """A function of one number: the argument (`name` x), a number (no name), or a call of `name`."""

    name: str
    operands: tuple[Expression, ...] = ()
    parameters: Mapping[str, float] = field(default_factory=dict[str, float])
    value: float = 0.0

    def __str__(self) -> str:
        if not self.name:
            return repr(float(self.value))
        if self.name == ARGUMENT:
            return ARGUMENT
        inner = [*map(str, self.operands), *(f"{n}={float(v)!r}" for n, v in self.parameters.items())]
        return f"{self.name}({', '.join(inner)})"

    @property
    def size(self) -> int:
        """Calls, numbers and arguments."""
        return 1 + sum(o.size for o in self.operands)

    def on(self, inner: Expression) -> Expression:
        """This function of the result of another one."""
        if self.name == ARGUMENT:
            return inner
        return Expression(self.name, tuple(o.on(inner) for o in self.operands), self.parameters, self.value)

    def compute(self, x: Array) -> Array:
        """The function on a float array, in float64."""
        if not self.name:
            return np.asarray(self.value, np.float64)
        if self.name == ARGUMENT:
            return np.asarray(x, np.float64)
        operands = [o.compute(x) for o in self.operands]
        with np.errstate(all="ignore"):
            if self.name in CALLS:
                return np.asarray(CALLS[self.name][0](*operands), np.float64)
            return np.asarray(_UNARY[self.name].compute(*operands, **self.parameters), np.float64)

    def on_torch(self, x: Any) -> Any:
        """The function on a torch tensor."""
        if not self.name:
            import torch

            return torch.tensor(self.value, dtype=x.dtype, device=x.device)
        if self.name == ARGUMENT:
            return x
        operands = [o.on_torch(x) for o in self.operands]
        if self.name in CALLS:
            return resolve_name(CALLS[self.name][1])(*operands)
        return partial(resolve_name(_UNARY[self.name].torch), **self.parameters)(*operands)

    def non_negative(self, argument: bool) -> bool:
        """Whether no result is below 0, as far as the calls tell, if the `argument` is never below 0 or may be."""
        if not self.name:
            return self.value >= 0
        if self.name == ARGUMENT:
            return argument
        operands = [o.non_negative(argument) for o in self.operands]
        if self.name in CALLS:
            return _keeps_sign(self.name, operands) or self._is_square
        if self.name == "Clip":
            low, high = (self.parameters.get(n, d) for n, d in (("min", -math.inf), ("max", math.inf)))
            return high >= 0 and (low >= 0 or operands[0])
        return _UNARY[self.name].non_negative or (operands[0] and self.name not in _CHANGES_SIGN)

    @property
    def _is_square(self) -> bool:
        return self.name == "Mul" and self.operands[0] == self.operands[1]

    def __iter__(self) -> Iterator[Expression]:
        """All parts, this one first."""
        yield self
        for operand in self.operands:
            yield from operand


X = Expression(ARGUMENT)


def number(value: float) -> Expression:
    """A number."""
    return Expression("", value=float(value))


def parse(text: str) -> Expression:
    """The expression that a text stands for. Raises ValueError saying what is wrong with it."""
    try:
        found = _parsed(ast.parse(text, mode="eval").body)
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"expression '{text[:40]}' cannot be read") from error
    if found.size > MAX_SIZE:
        raise ValueError(f"expression of {found.size} parts; requires at most {MAX_SIZE}")
    return found


def _parsed(tree: ast.expr) -> Expression:
    match tree:
        case ast.Name(id=name) if name == ARGUMENT:
            return X
        case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
            parameters = {k.arg or "": _number(k.value) for k in keywords}
            return _call(name, tuple(_parsed(a) for a in args), parameters)
        case _:
            return number(_number(tree))


def _number(tree: ast.expr) -> float:
    match tree:
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -float(value)
        case ast.Constant(value=int() | float() as value):
            return float(value)
        case _:
            raise ValueError(f"expression: '{ast.unparse(tree)[:40]}' is no number, argument or call")


def _call(name: str, operands: tuple[Expression, ...], parameters: Mapping[str, float]) -> Expression:
    if name in CALLS:
        count, allowed = _OPERANDS.get(name, 2), set[str]()
    elif name in _UNARY:
        count, allowed = 1, {*_UNARY[name].parameters, *(("min", "max") if name == "Clip" else ())}
    else:
        raise ValueError(f"expression: '{name}' is unknown; requires one of {', '.join(sorted({*CALLS, *_UNARY}))}")
    if len(operands) != count or not set(parameters) <= allowed:
        raise ValueError(f"expression: {name} takes {count} operand(s) and of parameters {sorted(allowed)}")
    given = {**_UNARY[name].parameters, **parameters} if name in _UNARY else {}
    return Expression(name, operands, given)
