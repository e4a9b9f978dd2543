"""What the forms of operations share while an ONNX graph grows: tensors of values, clamps, additions and tables."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from onnx import TensorProto
from xdsl.ir import Operation, SSAValue

from dialects import esc, esc_products
from dialects.locations import describe, node_names
from escc.onnx_export.graph import Array, ExportedGraph
from escc.onnx_export.tables import recognise
from isa.errors import UserError

TOLERANCE = 1e-4
"""Relative; what an average or an addition may be off the real one before it is something else."""

COEFFICIENTS, BASIS = "/coefficients", "/basis"
"""What the names of the two stages of a decomposed convolution end in."""
CONSTANT_INPUTS = ("Clip",)
"""Functions whose parameters are inputs in ONNX instead of attributes."""


def main_name(op: Operation) -> str:
    """Name of the node that an operation came from; its own name if it came from none."""
    names = node_names(op)
    return names[0] if names else op.name.removeprefix("esc.")


class OnnxEmitter:
    """`graph` grows node by node; `values` maps each 8-bit or float value to the float tensor that stands for it;
    `forms` says of some Conv nodes what their weights are made of (see `escc.recorded_forms`).
    """

    def __init__(self, reserved: Iterable[str]):
        self.graph = ExportedGraph(reserved)
        self.values: dict[SSAValue, str] = {}
        self.forms: dict[str, str] = {}

    def clamp(self, x: str, low: int, high: int, q: esc.QType, name: str) -> str:
        """The bounds of a requantisation, where they are not those of the type."""
        if (low, high) == (q.low, q.high):
            return x
        if (low, high) == (0, q.high):
            return self.graph.node("Relu", [x], name)
        bounds = [np.asarray(bound * q.scale, np.float32) for bound in (low, high)]
        inputs = [self.graph.constant(f"{name}/{n}", b) for n, b in zip(("min", "max"), bounds, strict=True)]
        return self.graph.node("Clip", [x, *inputs], name)

    def add(
        self,
        op: Operation,
        parameters: esc.AddOp | esc.RequantizeOp,
        operands: list[str],
        scales: tuple[float, float],
        q: esc.QType,
        names: list[str],
    ) -> str:
        """Add of two tensors of these scales, with its clamp; `names` are those of the nodes for it.

        Raises UserError if the parameters weigh the tensors otherwise than their scales say.
        """
        a = parameters.addition
        assert a is not None
        given = np.ldexp(np.array([a.mult_a, a.mult_b], np.float64), -a.shift)
        if not np.allclose(given, np.array(scales) / q.scale, TOLERANCE, np.abs(given).max() * TOLERANCE):
            raise UserError(f"{describe(op)}: weighs its operands otherwise than their scales say")
        name = names.pop(0) if names else f"{main_name(op)}/add"
        x = self.graph.node("Add", operands, name)
        x = self.clamp(x, a.lo, a.hi, q, names[0] if names else f"{name}/clamp")
        return self.graph.quantised(x, q, name)

    def multiply(self, op: esc_products.MulOp, q: esc.QType) -> str:
        """Mul of two tensors, with its clamp. Raises UserError if the multiplier is not what the scales say."""
        m, scale = op.multiplication, esc.q_of(op.lhs).scale * esc.q_of(op.rhs).scale / q.scale
        if not np.isclose(np.ldexp(float(m.mult_a), -m.shift), scale, TOLERANCE, 0):
            raise UserError(f"{describe(op)}: weighs its product otherwise than the scales say")
        names = list(node_names(op)) or [main_name(op)]
        x = self.graph.node("Mul", [self.values[op.lhs], self.values[op.rhs]], names[0])
        x = self.clamp(x, m.lo, m.hi, q, names[1] if len(names) > 1 else f"{names[0]}/clamp")
        return self.graph.quantised(x, q, names[0])

    def _gathered(self, x: str, table: Array, source: esc.QType, target: esc.QType, name: str) -> str:
        """The real number of each entry, picked by the stored byte; a negative index counts from the end."""
        stored = self.graph.stored(x, source, f"{name}/index")
        index = self.graph.node("Cast", [stored], f"{name}/index/cast", to=TensorProto.INT32)
        entries = (table.astype(np.float64) * target.scale).astype(np.float32)
        return self.graph.node("Gather", [self.graph.constant(f"{name}/table", entries), index], name, axis=0)

    def lookup(
        self, op: Operation, x: str, table: Array, source: esc.QType, target: esc.QType, name: str | None = None
    ) -> str:
        """The elementwise function whose table this is, or else Gather of the entries of the table."""
        function = recognise(table, source, target)
        name = main_name(op) if name is None else name
        if function is None:
            x = self._gathered(x, table, source, target, name)
        elif function.op_type in CONSTANT_INPUTS:
            names = function.parameters.items()
            inputs = [self.graph.constant(f"{name}/{n}", np.asarray(v, np.float32)) for n, v in names]
            x = self.graph.node(function.op_type, [x, *inputs], name)
        elif function.op_type:
            x = self.graph.node(function.op_type, [x], name, **function.parameters)
        return self.graph.quantised(x, target, name)
