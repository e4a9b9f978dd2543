"""Operators of integers (QLinearConv and its kin) as what they mean: DequantizeLinear, the operator, QuantizeLinear.

Scales and zero points stay those of the model. Operators that only move 8-bit values are taken the
same way. What is quantised by its own range at run time (DynamicQuantizeLinear, ConvInteger) becomes the operator on
real numbers: calibration gives the ranges.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import onnx
from onnx import helper, numpy_helper

from dialects import onnx_pools
from escc.onnx_import.wellformed import unique_names
from isa.errors import UserError

_MOVING = (
    *("DepthToSpace", "Expand", "Flatten", "Gather", "Identity", "Pad", "Reshape", "Resize", "Slice"),
    *("SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"),
    *onnx_pools.CHOOSING,
)
"""Operators that move stored values of their first input, or choose among them."""
_DOMAINS = ("", "ai.onnx", "com.microsoft")
_SOFTMAX_OF_AN_AXIS = 13
"""The first opset whose Softmax is over one axis."""
_GEMM_WITHOUT_BIAS = 11
"""The first opset whose Gemm may lack its third input."""
_AXES_AS_INPUT = 18
"""The first opset whose ReduceMean has its axes as an input."""
Parameters: TypeAlias = tuple[str, str]
"""Names of the scale and the zero point of stored values; the zero point may be ""."""


_QUANTISE_STATICALLY = "quantise the model with constant scales and zero points, or leave it as floats"


class _Dynamic(NamedTuple):
    """Integers of a DynamicQuantizeLinear: names of the real numbers behind them, of their scale and zero point."""

    value: str
    scale: str
    zero: str


class _IntegerGraph:
    """The nodes of a graph, one after the other, those of integers replaced."""

    def __init__(self, model: onnx.ModelProto):
        self._graph = model.graph
        self._names = unique_names(model.graph.node)
        self._taken = {name for node in model.graph.node for name in (*node.input, *node.output)}
        self._taken.update(tensor.name for tensor in model.graph.initializer)
        self._constants: dict[str, onnx.TensorProto | None] = {t.name: t for t in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type == "Constant":
                given = {a.name: a for a in node.attribute}
                self._constants[node.output[0]] = given["value"].t if "value" in given else None
            elif node.op_type == "Identity" and node.input[0] in self._constants:
                self._constants[node.output[0]] = self._constants[node.input[0]]
        self.opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=1)
        self.nodes: list[onnx.NodeProto] = []
        self._stored: dict[str, Parameters] = {}
        self._real: dict[tuple[str, str, str, int | None], str] = {}
        self._dynamic: dict[str, _Dynamic] = {}
        self.changed = False

    def run(self) -> None:
        """Rewrite every node; `nodes` then are all that the graph has."""
        for node, name in zip(self._graph.node, self._names, strict=True):
            try:
                done = self._rewrite(node, name)
            except UserError as error:
                causes = [f"node '{name}' ({node.op_type}): {cause}" for cause in error.causes]
                raise UserError(causes, error.note) from None
            self.changed |= done
            if not done:
                self.nodes.append(node)
        for output in self._graph.output:
            if output.name in self._dynamic:
                cause = f"output '{output.name}': integers of a DynamicQuantizeLinear, which operators alone can read"
                raise UserError(cause, _QUANTISE_STATICALLY)

    def _rewrite(self, node: onnx.NodeProto, name: str) -> bool:
        """Rewrite a node; whether that was done, else it stays. Raises UserError for one that reads integers in a way
        that has no counterpart in real numbers.
        """
        kind = _KINDS.get(node.op_type) if node.domain in _DOMAINS else None
        done = False
        if kind is not None:
            done = kind(self, node, name)
        elif node.domain in ("", "ai.onnx") and node.op_type in (*_MOVING, "Concat"):
            done = self._move(node, name)
        if not done and any(x in self._dynamic for x in node.input):
            raise UserError(
                "reads integers of a DynamicQuantizeLinear; requires ConvInteger, MatMulInteger, DequantizeLinear with "
                "the same scale and zero point, or an operator that moves values",
                _QUANTISE_STATICALLY,
            )
        return done

    def fresh(self, base: str) -> str:
        """A name for a tensor that none has."""
        name, n = base, 1
        while name in self._taken:
            name, n = f"{base}_{n}", n + 1
        self._taken.add(name)
        return name

    def add(self, kind: str, inputs: Sequence[str], name: str, output: str = "", **attributes: Any) -> str:
        """Append a node; the name of its result."""
        output = output or self.fresh(name)
        self.nodes.append(helper.make_node(kind, inputs, [output], name=name, **attributes))
        return output

    def constant(self, base: str, value: Any) -> str:
        """A new initializer."""
        name = self.fresh(base)
        self._give(name, value)
        return name

    def _give(self, name: str, value: Any) -> None:
        tensor = numpy_helper.from_array(np.asarray(value), name)
        self._graph.initializer.append(tensor)
        self._constants[name] = tensor

    def real(self, x: str, scale: str, zero: str, name: str, axis: int | None = None) -> str:
        """The real numbers behind stored values; `axis` where there may be a scale for each index."""
        if x in self._dynamic:
            self._check_parameters(self._dynamic[x], scale, zero)
            return self._dynamic[x].value
        key = x, scale, zero, axis
        if key not in self._real:
            attributes: dict[str, Any] = {} if axis is None or self.count(scale) == 1 else {"axis": axis}
            self._real[key] = self.add("DequantizeLinear", _given(x, scale, zero), f"{name}/{x}", **attributes)
        return self._real[key]

    def _check_parameters(self, known: _Dynamic, scale: str, zero: str) -> None:
        if (scale, zero) != (known.scale, known.zero):
            cause = "reads integers of a DynamicQuantizeLinear with another scale or zero point"
            raise UserError(cause, _QUANTISE_STATICALLY)

    def integers(self, x: str, zero: str, name: str) -> tuple[str, str] | None:
        """The real numbers behind integers less a zero point, and the name of their scale; None if nothing says what
        they stand for. Raises UserError if the zero point is not theirs.
        """
        if x in self._dynamic:
            known = self._dynamic[x]
            self._check_parameters(known, known.scale, zero)
            return known.value, known.scale
        stored = self._stored.get(x)
        if stored is None:
            return None
        if not self._same_zero(zero, stored[1]):
            raise UserError(
                "the zero point of its input is not that of the QuantizeLinear before it",
                "give it the same zero point; none at all stands for 0",
            )
        return self.real(x, *stored, name), stored[0]

    def _same_zero(self, a: str, b: str) -> bool:
        """Whether two zero points, "" standing for 0, are equal constants, or the same tensor."""
        if a == b:
            return True
        first, second = self._zeros(a), self._zeros(b)
        return first is not None and first == second

    def _zeros(self, name: str) -> set[int] | None:
        """The different values of a zero point; None for one that is computed."""
        if not name:
            return {0}
        tensor = self._constants.get(name)
        try:
            return None if tensor is None else {int(v) for v in numpy_helper.to_array(tensor).reshape(-1)}
        except (KeyError, TypeError, ValueError):
            return None  # damaged; the importer says so

    def count(self, name: str) -> int | None:
        """How many values a constant holds; None for what is computed."""
        tensor = self._constants.get(name)
        return None if tensor is None else int(np.prod(tensor.dims))

    def store(self, value: str, output: str, scale: str, zero: str, name: str) -> None:
        """Quantise a value as the tensor `output`."""
        self.add("QuantizeLinear", _given(value, scale, zero), f"{name}/quantize", output)
        self._stored[output] = scale, zero

    def remember(self, node: onnx.NodeProto) -> bool:
        """Keep the parameters of a QuantizeLinear that stays as it is."""
        if node.input[0] not in self._constants:
            self._stored[node.output[0]] = node.input[1], _input(node, 2)
        return False

    def dynamic(self, node: onnx.NodeProto, name: str) -> bool:
        """DynamicQuantizeLinear: the real numbers themselves, in steps of 1."""
        outputs = [*node.output, "", ""][:3]
        scale, zero = (given or self.fresh(f"{name}/unused") for given in outputs[1:])
        self._dynamic[outputs[0]] = _Dynamic(node.input[0], scale, zero)
        self._give(scale, np.float32(1))
        self._give(zero, np.uint8(0))
        return True

    def dequantise(self, node: onnx.NodeProto, name: str) -> bool:
        """DequantizeLinear of integers whose range is known at run time only: the real numbers."""
        if node.input[0] not in self._dynamic:
            return False
        self.add("Identity", [self.real(node.input[0], node.input[1], _input(node, 2), name)], name, node.output[0])
        return True

    def _move(self, node: onnx.NodeProto, name: str) -> bool:
        """An operator that moves stored values: the same of the real numbers, stored again."""
        moved = list(node.input) if node.op_type == "Concat" else [node.input[0]]
        if len(moved) == 1 and moved[0] in self._dynamic:
            return self._move_dynamic(node, name)
        found = {self._stored.get(x) for x in moved}
        parameters = found.pop() if len(found) == 1 else None
        if parameters is None or (any(node.output[1:]) and node.op_type != "Split"):
            return False
        scale, zero = parameters
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.name = name
        for i in range(len(moved)):
            copy.input[i] = self.real(moved[i], scale, zero, name)
        if node.op_type == "Pad":
            self._fill(copy, scale, zero, name)
        outputs = list(node.output)
        copy.output[:] = [self.fresh(f"{name}/{o}") if o else "" for o in outputs]
        self.nodes.append(copy)
        for value, output in zip(copy.output, outputs, strict=True):
            if output:
                self.store(value, output, scale, zero, f"{name}/{output}")
        return True

    def _fill(self, pad: onnx.NodeProto, scale: str, zero: str, name: str) -> None:
        """Give a Pad of stored values, whose input has become real, the real number that it pads with."""
        if not _pads_with_a_value(pad):
            return
        tensor = self._constants.get(zero)
        dtype = np.uint8 if tensor is None else helper.tensor_dtype_to_np_dtype(tensor.data_type)
        value = _input(pad, 2) or self.constant(f"{name}/zero", np.zeros((), dtype))
        pad.input[:] = [*pad.input[:2], self.real(value, scale, zero, name), *pad.input[3:]]

    def _move_dynamic(self, node: onnx.NodeProto, name: str) -> bool:
        """An operator that moves integers whose range is known at run time only: the same of the real numbers."""
        known = self._dynamic[node.input[0]]
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.name, copy.input[0] = name, known.value
        if node.op_type == "Pad" and _pads_with_a_value(node):
            if _input(node, 2) != known.zero:
                cause = "pads integers of a DynamicQuantizeLinear with another value than their zero point"
                raise UserError(cause, _QUANTISE_STATICALLY)
            copy.input[2] = ""
        copy.output[:] = [self.fresh(f"{name}/{o}") if o else "" for o in node.output]
        self.nodes.append(copy)
        for output, real in zip(node.output, copy.output, strict=True):
            self._dynamic[output] = known._replace(value=real)
        return True


def _given(x: str, scale: str, zero: str) -> list[str]:
    """Inputs of DequantizeLinear or QuantizeLinear, of which the zero point may be left out."""
    return [x, scale, zero] if zero else [x, scale]


def _input(node: onnx.NodeProto, index: int) -> str:
    return node.input[index] if index < len(node.input) else ""


def _stored(node: onnx.NodeProto, index: int) -> tuple[str, str, str]:
    """Names of stored values, their scale and their zero point, inputs one behind the other."""
    return node.input[index], node.input[index + 1], node.input[index + 2]


def _pads_with_a_value(pad: onnx.NodeProto) -> bool:
    """Whether a Pad that has its parameters as inputs pads with a constant."""
    return len(pad.input) > 1 and _attributes(pad).get("mode", b"constant") == b"constant"


def _attributes(node: onnx.NodeProto, *left_out: str) -> dict[str, Any]:
    given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return {name: value for name, value in given.items() if name not in left_out}


_Kind: TypeAlias = Callable[[_IntegerGraph, onnx.NodeProto, str], bool]


def _store_of(
    r: _IntegerGraph, node: onnx.NodeProto, name: str, kind: str, others: Sequence[str], attributes: Mapping[str, Any]
) -> bool:
    """An operator on the first stored tensor of a node and on further inputs, stored with the parameters behind it."""
    value = r.add(kind, [r.real(*_stored(node, 0), name), *others], name, **attributes)
    r.store(value, node.output[0], node.input[3], _input(node, 4), name)
    return True


def _unary(kind: str) -> _Kind:
    """One stored tensor with its scale and zero point, then those of the result."""

    def rewrite(r: _IntegerGraph, node: onnx.NodeProto, name: str) -> bool:
        attributes = _attributes(node, "channels_last")
        if len(node.input) < 4:
            return False
        if _attributes(node).get("channels_last", 0):
            raise UserError("channels_last=1 unsupported; requires 0", "keep the maps as [N,C,H,W]")
        return _store_of(r, node, name, kind, [], attributes)

    return rewrite


def _binary(kind: str) -> _Kind:
    """Two stored tensors with scales and zero points, then those of the result."""

    def rewrite(r: _IntegerGraph, node: onnx.NodeProto, name: str) -> bool:
        if len(node.input) < 7:
            return False
        operands = [r.real(*_stored(node, 0), name), r.real(*_stored(node, 3), name)]
        r.store(r.add(kind, operands, name), node.output[0], node.input[6], _input(node, 7), name)
        return True

    return rewrite


def _softmax(r: _IntegerGraph, node: onnx.NodeProto, name: str) -> bool:
    """Its own attribute says whether axes from `axis` on count as one, as before opset 13; for Softmax, the model does.
    Of the last axis both mean the same.
    """
    if len(node.input) < 4:
        return False
    given = _attributes(node)
    axis, opset = int(given.get("axis", -1)), int(given.get("opset", r.opset))
    if axis != -1 and (opset < _SOFTMAX_OF_AN_AXIS) != (r.opset < _SOFTMAX_OF_AN_AXIS):
        raise UserError(
            f"opset={opset} and axis={axis} in a model of opset {r.opset}; requires the opset of the model, or axis=-1",
            "quantise the model again, or convert it to that opset first",
        )
    return _store_of(r, node, name, "Softmax", [], {"axis": axis})


def _reduce_mean(r: _IntegerGraph, node: onnx.NodeProto, name: str) -> bool:
    """Axes are an attribute here, and from opset 18 on an input of ReduceMean."""
    if len(node.input) < 4:
        return False
    attributes, others = _attributes(node), list[str]()
    if r.opset >= _AXES_AS_INPUT and "axes" in attributes:
        others = [r.constant(f"{name}/axes", np.asarray(attributes.pop("axes"), np.int64))]
    return _store_of(r, node, name, "ReduceMean", others, attributes)


def _bias(r: _IntegerGraph, bias: str, x_scale: str, w_scale: str, name: str, alpha: float = 1.0) -> list[str]:
    """An int32 bias in steps of both scales, `alpha` times, as real numbers."""
    if not bias:
        return []
    steps = r.add("Mul", [x_scale, w_scale], f"{name}/bias_scale")
    if alpha != 1:
        steps = r.add("Mul", [steps, r.constant(f"{name}/alpha", np.float32(alpha))], f"{name}/bias_scale")
    wide = r.add("Cast", [bias], f"{name}/bias_cast", to=onnx.TensorProto.FLOAT)
    return [r.add("Mul", [wide, steps], f"{name}/bias")]


def _conv(r: _IntegerGraph, node: onnx.NodeProto, name: str) -> bool:
    if len(node.input) < 8:
        return False
    x, xs, xz, w, ws, wz, ys, yz = node.input[:8]
    operands = [r.real(x, xs, xz, name), r.real(w, ws, wz, name, axis=0)]
    operands += _bias(r, _input(node, 8), xs, ws, name)
    r.store(r.add("Conv", operands, name, **_attributes(node)), node.output[0], ys, yz, name)
    return True


def _matmul(r: _IntegerGraph, node: onnx.NodeProto, name: str) -> bool:
    if len(node.input) < 8:
        return False
    operands = [r.real(*_stored(node, 0), name), r.real(*_stored(node, 3), name, axis=1)]
    r.store(r.add("MatMul", operands, name), node.output[0], node.input[6], node.input[7], name)
    return True


def _gemm(r: _IntegerGraph, node: onnx.NodeProto, name: str) -> bool:
    """Steps of the bias are `alpha` times those of the product. Without a scale behind it the result is real."""
    if len(node.input) < 6:
        return False
    attributes = _attributes(node)
    axis = 0 if attributes.get("transB", 0) else 1
    operands = [r.real(*_stored(node, 0), name), r.real(*_stored(node, 3), name, axis=axis)]
    bias = _input(node, 6)
    if bias:
        operands += _bias(r, bias, node.input[1], node.input[4], name, float(attributes.get("alpha", 1.0)))
    elif r.opset < _GEMM_WITHOUT_BIAS:
        operands.append(r.constant(f"{name}/bias", np.float32(0)))
    scale, zero = _input(node, 7), _input(node, 8)
    value = r.add("Gemm", operands, name, "" if scale else node.output[0], **attributes)
    if scale:
        r.store(value, node.output[0], scale, zero, name)
    return True


def _concat(r: _IntegerGraph, node: onnx.NodeProto, name: str) -> bool:
    parts = [r.real(*_stored(node, i), name) for i in range(2, len(node.input) - 2, 3)]
    r.store(r.add("Concat", parts, name, **_attributes(node)), node.output[0], node.input[0], node.input[1], name)
    return True


def _of_integers(kind: str, channels: int) -> _Kind:
    """ConvInteger, MatMulInteger: sums of products of integers, without scales. Weights may have a zero point for each
    index of their axis `channels`.
    """

    def rewrite(r: _IntegerGraph, node: onnx.NodeProto, name: str) -> bool:
        x, w = node.input[:2]
        known = r.integers(x, _input(node, 2), name)
        if known is None:
            return False
        value, scale = known
        zero = _input(node, 3)
        count = r.count(zero) or 1
        one = np.ones(count if count > 1 else (), np.float32)
        step = r.add("Div", [r.constant(f"{name}/one", one), scale], f"{name}/step")
        weights = r.real(w, step, zero, name, axis=channels if count > 1 else None)
        r.add(kind, [value, weights], name, node.output[0], **_attributes(node))
        return True

    return rewrite


def _stays(r: _IntegerGraph, node: onnx.NodeProto, _: str) -> bool:
    return r.remember(node)


_KINDS: Mapping[str, _Kind] = {
    "ConvInteger": _of_integers("Conv", 0),
    "DequantizeLinear": _IntegerGraph.dequantise,
    "DynamicQuantizeLinear": _IntegerGraph.dynamic,
    "MatMulInteger": _of_integers("MatMul", 1),
    "QGemm": _gemm,
    "QLinearAdd": _binary("Add"),
    "QLinearAveragePool": _unary("AveragePool"),
    "QLinearConcat": _concat,
    "QLinearConv": _conv,
    "QLinearGlobalAveragePool": _unary("GlobalAveragePool"),
    "QLinearLeakyRelu": _unary("LeakyRelu"),
    "QLinearMatMul": _matmul,
    "QLinearMul": _binary("Mul"),
    "QLinearReduceMean": _reduce_mean,
    "QLinearSigmoid": _unary("Sigmoid"),
    "QLinearSoftmax": _softmax,
    "QuantizeLinear": _stays,
}
"""How each operator of integers is rewritten; a function that returns False leaves the node."""


def expand_integer_operators(model: onnx.ModelProto) -> None:
    """Replace the operators of integers in a graph by operators of real numbers between DequantizeLinear and
    QuantizeLinear, in place. Operators in forms that are not known stay, for the importer to refuse.
    """
    kinds = {node.op_type for node in model.graph.node}
    if not kinds & _KINDS.keys():
        return
    rewriter = _IntegerGraph(model)
    rewriter.run()
    if rewriter.changed:
        del model.graph.node[:]
        model.graph.node.extend(rewriter.nodes)
