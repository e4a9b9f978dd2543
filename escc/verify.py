"""`--verify-numerics`: one input through every level; which node is the first to differ, and by how much?

The float values of the imported model are the reference down to the `onnx -> esc` boundary, where quantisation (and
later decomposition) may deviate within a tolerance. From there on, all levels and the emulator must agree to the bit.

A value is identified by the ONNX node that it is the result of: the last, in the order of the model, of those that an
operation stands for (a convolution that absorbed a BatchNorm and a Relu holds the result of the Relu).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp, TensorType
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.utils.exceptions import InterpretationError

from dialects import esc, onnx
from dialects.blob import DenseAttr
from dialects.interpreters.run import main_function, run_module
from dialects.locations import node_names
from dialects.signature import given_inputs, inputs_of
from emulator.tables import TextColumn, TextTable
from escc.driver import level_of
from escc.errors import InternalError
from isa.arrays import Source
from isa.errors import UserError
from isa.program import Layer, Program
from isa.reference import declared
from isa.text import printable
from passes.analysis.preserved import Preserved, preserved_by
from passes.math.calibration import load_inputs

Array: TypeAlias = NDArray[Any]

FLOAT_TOLERANCE = 1e-3
"""Largest deviation that rewriting float operations may cause, as a share of a tensor's largest value, beside what
rounding may move (a Clip behind sums of a million keeps their errors, and none of their size). Where the model
rounds (QuantizeLinear), another order of summation can move a value by a whole step: the mean deviation is compared.
"""

_ROUNDING = 2.0**-20
"""Share of a tensor's largest value by which sums in another order may differ (`isa.exact` keeps 20 bits or more)."""
_MOST_OF_A_FEW = 16.0
"""How much further rounding may move a value than a few random disturbances do."""
_DISTURBED_RUNS = 2

_VIEWS = ("esc.concat", "esc.slice")
"""Operations that may take no layer."""
_MOST_AXES = 5
"""Tensors of more axes are compared in one order of the axes only."""


@dataclass(frozen=True)
class Deviation:
    """Deviation of one node: maximum and mean of |value - reference|; `step` is the quantisation step (0: float)."""

    node: str
    op: str
    maximum: float
    mean: float
    step: float
    largest: float

    @property
    def share(self) -> float:
        """Mean deviation as a share of the largest reference value."""
        return self.mean / self.largest if self.largest else self.mean


@dataclass(frozen=True)
class Values:
    """Values of a level by node: stored integers NHWC with their scale, or floats NCHW with scale None.

    Of several operations that stand for a node, the last one counts; `earlier` are the integers of the others.
    """

    by_node: dict[str, tuple[str, Array, float | None]]
    outputs: list[Array]
    earlier: dict[str, list[Array]] = field(default_factory=dict[str, list[Array]])


class Verification:
    """Observes a compilation; `finish` runs the emulator and gives the text, `warnings` and `fault` what is wrong."""

    def __init__(self, module: ModuleOp, calibration: Source | None, seed: int, tolerance: float):
        if level_of(module) not in ("onnx", "esc"):
            raise UserError("--verify-numerics needs a model, or IR of level onnx or esc", "give the original model")
        self._tolerance = tolerance
        self._inputs = _inputs(module, calibration, seed)
        self._images = given_inputs(module, self._inputs)
        self._rounds = any(isinstance(op, onnx.QuantizeLinearOp) for op in module.walk())
        self._moves = any(isinstance(op, onnx.TransposeOp) for op in module.walk())
        self._order: dict[str, int] = {}
        for op in module.walk():
            for name in node_names(op):
                self._order.setdefault(name, len(self._order))
        first = self._run(module)
        self._float = first if level_of(module) == "onnx" else None
        self._rounding = _rounding(first, self._disturbed_runs(module, seed)) if self._float is not None else {}
        self._rounded = _rounded(module, first) if self._float is not None else None
        self._exact = None if level_of(module) == "onnx" else first
        self._layers: dict[str, str] = {}
        self._tables: list[tuple[str, list[Deviation]]] = []
        self._agreeing: list[str] = []
        self._warnings: list[str] = []
        self._fault = ""

    def observe(self, step: ModulePass, module: ModuleOp) -> None:
        """Observer of `escc.driver.run_passes`: run what a pass left, where the level executes."""
        level = level_of(module)
        if level not in ("onnx", "esc") or self._fault:
            return
        try:
            values = self._run(module)
        except InterpretationError as e:  # an extension's operations on the way to ours
            self._agreeing.append(f"{step.name}: not executed: {' '.join(str(e).split())}")
            return
        if level == "onnx":
            self._compare_floats(step.name, values)
        elif self._exact is not None and preserved_by(step) is Preserved.VALUES:
            self._compare_exactly(f"after '{step.name}'", values)
        elif self._exact is not None and preserved_by(step) is Preserved.OUTPUTS:
            self._compare_exactly(f"after '{step.name}'", Values({}, values.outputs))
            self._exact = values
        else:
            self._compare_quantised(step.name, values)

    def finish(self, program: Program | None) -> str:
        """Run the emulator on the program; text of all comparisons."""
        if program is not None and self._exact is not None and not self._fault:
            from emulator.machine import Machine

            made: dict[str, list[tuple[str, Array, float | None]]] = {}
            self._layers = {self._layer_key(layer): layer.name for layer in program.layers}

            def observe(layer: Layer, tensor: Array) -> None:
                if key := self._layer_key(layer):
                    made.setdefault(key, []).append((layer.kind, tensor.copy(), layer.output.scale))

            run = Machine(program).run(self._images, observer=observe)
            outputs = [declared(x, port.shape) for x, port in zip(run.outputs, program.outputs, strict=True)]
            ends = {node: self._layer_key(layer) for layer in program.layers for node in layer.nodes}
            found = {key: node_value(key, layers, self._exact, ends[key] == key) for key, layers in made.items()}
            by_node = {key: value for key, value in found.items() if value is not None}
            self._compare_exactly("emulator", Values(by_node, outputs))
        return self._text()

    @property
    def fault(self) -> InternalError | None:
        """What differs that must not, None if nothing does."""
        return InternalError(f"--verify-numerics: {self._fault}") if self._fault else None

    @property
    def warnings(self) -> Sequence[str]:
        """The first node of each lossy pass that exceeds the tolerance."""
        return tuple(self._warnings)

    def _key(self, names: Iterable[str]) -> str:
        return max((n for n in names if n in self._order), key=lambda n: self._order[n], default="")

    def _layer_key(self, layer: Layer) -> str:
        """The node whose result a layer computes: no concatenation or slice that the layer is only a part of."""
        assert self._exact is not None
        shape = (layer.output.h, layer.output.w, layer.output.c)
        known = self._exact.by_node
        return self._key(
            n for n in layer.nodes if n in known and (known[n][1].shape[1:] == shape or known[n][2] is None)
        )

    def _disturbed_runs(self, module: ModuleOp, seed: int) -> list[Values]:
        rng = np.random.default_rng(seed)
        return [self._run(module, _Disturbance(rng)) for _ in range(_DISTURBED_RUNS)]

    def _run(self, module: ModuleOp, disturbance: _Disturbance | None = None) -> Values:
        found: dict[str, tuple[str, Array, float | None]] = {}
        earlier: dict[str, list[Array]] = {}

        def observe(op: Operation, results: Sequence[Array]) -> Sequence[Array]:
            if disturbance is not None:
                results = disturbance.of(op, results)
            key = self._key(node_names(op))
            if not key or not _computes(op):
                return results
            kind = cast("TensorType[Attribute]", op.results[0].type).element_type
            if isinstance(kind, esc.QType):
                if key in found:
                    earlier.setdefault(key, []).append(found[key][1])
                found[key] = (op.name, results[0], kind.scale)
            elif results[0].dtype.kind == "f" and found.get(key, ("", results[0], None))[2] is None:
                # (the float that the host makes of a quantised output does not hide it)
                found[key] = (op.name, results[0], None)
            return results

        outputs = run_module(module, self._inputs, observe)
        return Values(found, outputs, earlier)

    def _compare_floats(self, name: str, values: Values) -> None:
        assert self._float is not None
        rows = _deviations(values, self._float, self._moves)
        if shapes := _other_shapes(values, self._float):
            self._fault = f"after '{name}' {shapes}"
            return
        for row in (*rows, *_output_rows(values, self._float)):
            if self._rounds:
                found, allowed = row.mean, self._tolerance * (row.largest or 1.0)
            else:
                found, allowed = row.maximum, FLOAT_TOLERANCE * max(row.largest, 1e-6)
            if found > allowed + self._rounding.get(row.node, 0.0):
                self._fault = f"after '{name}' {_named(row)} deviates by {row.maximum:.3g} of {row.largest:.3g}"
                return
        worst = max((row.maximum for row in rows), default=0.0)
        nodes = f"{len(rows)} node{'s' if len(rows) != 1 else ''}"
        self._agreeing.append(f"{name}: {nodes} within {worst:.2g} of the imported model")

    def _compare_quantised(self, name: str, values: Values) -> None:
        if self._exact is not None and _first_difference(values, self._exact) is None:
            self._agreeing.append(f"{name}: changes nothing")
            return
        self._exact = values
        if self._rounded is None:
            return
        if shapes := _other_shapes(values, self._rounded):
            self._fault = f"after '{name}' {shapes}"
            return
        rows = _deviations(values, self._rounded, self._moves)
        self._tables.append((name, rows))
        beyond = next((row for row in rows if row.share > self._tolerance), None)
        if beyond is not None:
            self._warnings.append(
                f"--verify-numerics: after '{name}' {_named(beyond)} is the first whose mean deviation "
                f"({beyond.share:.1%} of its largest value) exceeds {self._tolerance:.1%}"
            )

    def _compare_exactly(self, where: str, values: Values) -> None:
        assert self._exact is not None
        difference = _first_difference(values, self._exact, self._order)
        if difference is not None:
            self._fault = f"{where}: {difference}"
            return
        common = sum(node in self._exact.by_node for node in values.by_node)
        self._agreeing.append(
            f"{where}: {_counted(common, 'node')} and {_counted(len(values.outputs), 'output')} equal, bit for bit"
        )

    def _text(self) -> str:
        lines: list[str] = []
        for name, rows in self._tables:
            lines += [f"deviation from float after {name}:", *_table(rows, self._layers).lines(), ""]
        lines += self._agreeing
        if self._fault:
            lines.append(f"DIFFERS {self._fault}")
        return "\n".join(map(printable, lines))


class _Disturbance:
    """Random errors of the size that rounding may cause, added to all that a run computes."""

    def __init__(self, rng: np.random.Generator):
        self._rng = rng
        self._constant: set[SSAValue] = set()

    def of(self, op: Operation, results: Sequence[Array]) -> Sequence[Array]:
        """Results with errors. Errors of constants are relative to each value: they may have to keep their sign."""
        constant = all(operand in self._constant for operand in op.operands)
        if constant:
            self._constant.update(op.results)
        return [self._of(x, constant) if x.dtype.kind == "f" else x for x in results]

    def _of(self, x: Array, constant: bool) -> Array:
        size = np.abs(x) if constant else np.abs(x).max(initial=0.0)
        return (x + self._rng.uniform(-_ROUNDING, _ROUNDING, x.shape) * size).astype(x.dtype)


def _rounding(values: Values, disturbed: Sequence[Values]) -> dict[str, float]:
    """How far rounding alone may move a value of each node and output, in their units."""
    result: dict[str, float] = {}
    for rows in ((*_deviations(d, values), *_output_rows(d, values)) for d in disturbed):
        for row in rows:
            if np.isfinite(row.maximum):
                result[row.node] = max(result.get(row.node, 0.0), _MOST_OF_A_FEW * row.maximum)
    return result


def _computes(op: Operation) -> bool:
    """Whether an operation has a value of its own.

    Constants are folded and rescaled at will, and what only moves a tensor is moved itself; the outputs show whether it
    moved right.
    """
    if isinstance(op, onnx.ReshapeOp | onnx.TransposeOp) or not op.operands:
        return False
    return not (isinstance(op, onnx.DequantizeLinearOp) and isinstance(op.input.owner, onnx.ConstantOp))


def _rounded(module: ModuleOp, values: Values) -> Values:
    """Values where nodes that the model itself rounds (QuantizeLinear, DequantizeLinear) have the rounded one."""
    by_node = dict(values.by_node)
    for op in module.walk():
        if not isinstance(op, onnx.DequantizeLinearOp) or not isinstance(op.input.owner, onnx.QuantizeLinearOp):
            continue
        producer = op.input.owner.input.owner
        if isinstance(producer, Operation):
            for node, rounded in zip(node_names(producer), node_names(op), strict=False):
                if node in by_node and rounded in by_node:
                    by_node[node] = (by_node[node][0], *by_node[rounded][1:])
    return Values(by_node, values.outputs)


def _inputs(module: ModuleOp, calibration: Source | None, seed: int) -> list[Array]:
    main = main_function(module)
    arguments = main.body.block.args
    shapes = [cast("TensorType[Attribute]", a.type).get_shape() for a in arguments]
    sample = main.attributes.get("sample") or main.properties.get("sample")
    if calibration is None and isinstance(sample, DenseAttr):
        return _stored_sample(sample.array.reshape(-1), [next(iter(a.uses)).operation for a in arguments], shapes)
    return [cast(Array, x[:1]) for x in load_inputs(calibration, inputs_of(main), 1, seed)]


def _stored_sample(stored: Array, users: Sequence[Operation], shapes: Sequence[Sequence[int]]) -> list[Array]:
    """Floats that quantise to the bytes of a sample."""
    inputs: list[Array] = []
    position = 0
    for user, shape in zip(users, shapes, strict=True):
        if not isinstance(user, esc.QuantizeOp):
            raise UserError(f"an input of @main is used by {user.name}, not by esc.quantize", "give --calibration")
        q = esc.q_of(user.output)
        n, h, w, c = esc.shape_of(user.output)
        raw = stored[position : position + h * w * c].view(np.uint8).view(q.dtype)
        position += h * w * c
        x = raw.reshape(n, h, w, c).transpose(0, 3, 1, 2).astype(np.float64) * q.scale
        inputs.append(x.astype(np.float32).reshape(tuple(shape)))
    return inputs


def _real(value: Array, scale: float | None) -> Array:
    """Floats of a value, channels first."""
    if scale is None:
        return value.astype(np.float64)
    return np.moveaxis(value.astype(np.float64) * scale, -1, 1)


def _deviations(values: Values, reference: Values, any_layout: bool = False) -> list[Deviation]:
    """Deviation of every node that both sides know, in order of `reference`; shapes may differ by axes of size 1.

    `any_layout`: the axes of a value may have another order too, and the one that comes nearest counts.
    """
    rows: list[Deviation] = []
    for node, (op, wanted, _) in reference.by_node.items():
        if node not in values.by_node:
            continue
        _, value, scale = values.by_node[node]
        flat = wanted.reshape(-1).astype(np.float64)
        found = _real(value, scale)
        several = any_layout and found.ndim <= _MOST_AXES
        orders = itertools.permutations(range(found.ndim)) if several else [tuple(range(found.ndim))]
        candidates = [x for x in map(found.transpose, orders) if _squeezed(x) == _squeezed(wanted)]
        if not candidates:
            continue
        difference = min((np.abs(x.reshape(-1) - flat) for x in candidates), key=lambda d: float(d.sum()))
        largest = float(np.abs(wanted).max(initial=0.0))
        rows.append(
            Deviation(node, op, float(difference.max(initial=0.0)), float(difference.mean()), scale or 0.0, largest)
        )
    return rows


def _other_shapes(values: Values, reference: Values) -> str:
    """Which output has another shape than in the imported model, "" if none has."""
    for index, (found, wanted) in enumerate(zip(values.outputs, reference.outputs, strict=True)):
        if found.shape != wanted.shape:
            return f"output {index} has shape {list(found.shape)}, expected {list(wanted.shape)}"
    return ""


def _output_rows(values: Values, reference: Values) -> list[Deviation]:
    """Deviation of every output, in exactly the order of the model."""
    rows: list[Deviation] = []
    for index, (found, wanted) in enumerate(zip(values.outputs, reference.outputs, strict=True)):
        difference = np.abs(found.astype(np.float64) - wanted)
        largest = float(np.abs(wanted).max(initial=0.0))
        rows.append(
            Deviation(f"output {index}", "", float(difference.max(initial=0.0)), float(difference.mean()), 0.0, largest)
        )
    return rows


def _squeezed(value: Array) -> tuple[int, ...]:
    return tuple(d for d in value.shape if d != 1)


def node_value(
    node: str, layers: Sequence[tuple[str, Array, float | None]], exact: Values, ends: bool = True
) -> tuple[str, Array, float | None] | None:
    """Of the layers that stand for a node, in program order, the one that is to have its value; None if none has.

    That is the last one, but for a node that ends in a concatenation or a slice: it may take no layer, and then the
    layers compute its operands. Nor do they have its value where not one of them `ends` it, but a layer that runs side
    by side with those of another node, whose name both have.
    """
    last = exact.by_node.get(node)
    if ends and (last is None or last[0] not in _VIEWS):
        return layers[-1]
    operands = exact.earlier.get(node, ())
    others = [x for x in layers if not any(np.array_equal(x[1], value) for value in operands)]
    return others[-1] if others else None


def _first_difference(values: Values, exact: Values, order: dict[str, int] | None = None) -> str | None:
    """What the first node (or output) that differs shows, None if all agree."""
    nodes = [node for node in values.by_node if node in exact.by_node and values.by_node[node][2] is not None]
    for node in sorted(nodes, key=lambda n: order[n] if order else 0):
        op, found, _ = values.by_node[node]
        _, wanted, _ = exact.by_node[node]
        text = _unequal(found, wanted)
        if text:
            return f"node '{node}' ({op}) {text}"
    for index, (found, wanted) in enumerate(zip(values.outputs, exact.outputs, strict=True)):
        text = _unequal(found, wanted)
        if text:
            return f"output {index} {text}"
    return None


def _unequal(found: Array, wanted: Array) -> str:
    if found.shape != wanted.shape:
        return f"has shape {list(found.shape)}, expected {list(wanted.shape)}"
    different = found != wanted
    count = int(np.count_nonzero(different))
    if not count:
        return ""
    at = tuple(int(i) for i in np.argwhere(different)[0])
    return f"differs in {count} of {found.size} values; first at {list(at)}: {found[at]}, expected {wanted[at]}"


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


def _named(row: Deviation) -> str:
    return f"node '{row.node}' ({row.op})" if row.op else row.node


def _table(rows: Sequence[Deviation], layers: Mapping[str, str]) -> TextTable:
    """Deviations by node. The last node of a layer is called like the layer, as in statistics, report and trace."""
    heads = (("max |d|", ""), ("mean |d|", ""), ("max", "steps"), ("mean", "steps"), ("mean/max", "%"))
    columns = [TextColumn("node", text=True), *(TextColumn(*head) for head in heads)]
    nodes = {row.node for row in rows}
    found: list[list[str]] = []
    for row in rows:
        name = layers.get(row.node, row.node)
        steps = [f"{row.maximum / row.step:.2f}", f"{row.mean / row.step:.3f}"] if row.step else ["-", "-"]
        shown = row.node if name in nodes else name
        found.append([shown, f"{row.maximum:.4g}", f"{row.mean:.4g}", *steps, f"{100 * row.share:.2f}"])
    return TextTable(columns, found)
