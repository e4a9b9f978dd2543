"""How every tensor of a legal `onnx` function will be stored in 8 bits: fused epilogues, shared scales, QDQ
parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects import func
from xdsl.ir import Block, Operation, SSAValue

from dialects import onnx
from dialects.attributes import ints
from dialects.locations import describe, node_names
from dialects.onnx_arg_max import ArgMaxOp
from dialects.onnx_base import StorageRule
from dialects.onnx_elementwise import ScalarOp
from dialects.onnx_positions import TakeOp
from isa.errors import UserError
from passes.math.activation_quant import Array, Storage, reexpress
from passes.math.scales import as_float32
from passes.quantization.onnx_decomposed_pairs import Pair, find_pairs

PRESCRIBED = "prescribed"
"""Attribute of @main of a model whose QDQ nodes give all scales."""
Reader: TypeAlias = tuple[Callable[[Array], Array], float]
"""An elementwise function and the step of its stored result."""


Positions: TypeAlias = tuple[Sequence[int], Sequence[int]]
"""Rows and columns of a map."""

_RELATIVE_SCALES = (0.8, 2.0)
"""Scale of a concatenation, relative to its own, that a tensor takes: it must not be cut off, and may lose a bit."""

MOVING = (StorageRule.PRESERVED, StorageRule.GATHERED)
"""Rules of operations whose operands may be stored for their sake."""


def _rule(op: Operation | Block | None) -> StorageRule:
    return op.STORAGE if isinstance(op, onnx.OnnxOp) else StorageRule.NONE


def _moved_from(value: SSAValue) -> SSAValue | None:
    """The operand whose bytes a value holds; None if the value is computed anew."""
    op = value.owner
    return op.operands[0] if isinstance(op, Operation) and _rule(op) is StorageRule.PRESERVED else None


def _operands(value: SSAValue) -> Sequence[SSAValue]:
    """What a value is computed from; nothing for an argument."""
    return value.owner.operands if isinstance(value.owner, Operation) else ()


def _is_stored(op: Operation) -> bool:
    """Whether the machine keeps the result of an operation as a tensor."""
    return isinstance(op, onnx.OnnxOp) and op.STORAGE is not StorageRule.HOST and not isinstance(op, onnx.ConstantOp)


def constant(value: SSAValue) -> NDArray[np.float64] | None:
    """Numbers of a constant, directly or through `onnx.DequantizeLinear`; None if the value is computed."""
    op = value.owner
    if isinstance(op, onnx.ConstantOp):
        return op.value.array.astype(np.float64)
    if isinstance(op, onnx.DequantizeLinearOp):
        stored = constant(op.input)
        if stored is not None:
            return (stored - _along(op.zero_point.array, op, stored.ndim)) * _along(op.scale.array, op, stored.ndim)
    return None


def _along(parameter: NDArray[np.generic], op: onnx.DequantizeLinearOp, rank: int) -> NDArray[np.float64]:
    """A scalar or per-axis parameter, shaped to broadcast over a tensor of the given rank."""
    if parameter.ndim == 0 or parameter.size == 1:
        return parameter.reshape(()).astype(np.float64)
    shape = [1] * rank
    shape[op.axis.value.data] = -1
    return parameter.reshape(shape).astype(np.float64)


def only_user(value: SSAValue) -> Operation | None:
    """The one operation that uses the value (perhaps several times), None if there is none or more than one."""
    users = {use.operation for use in value.uses}
    return users.pop() if len(users) == 1 else None


def kept_positions(value: SSAValue) -> Positions | None:
    """Rows and columns of a map that are read, in the order in which they are; None if all may be."""
    user = only_user(value)
    if not isinstance(user, TakeOp):
        return None
    rows, columns = ints(user.rows), ints(user.columns)
    distinct = len(set(rows)) == len(rows) and len(set(columns)) == len(columns)
    return (rows, columns) if distinct else None


@dataclass(frozen=True)
class Epilogue:
    """Clamps absorbed into the operation before them: the value that results, its real bounds, the operations
    absorbed.
    """

    result: SSAValue
    low: float
    high: float
    ops: tuple[Operation, ...]


def _epilogue(op: Operation) -> Epilogue:
    value: SSAValue = op.results[0]
    low, high = -math.inf, math.inf
    absorbed: list[Operation] = []
    while isinstance(user := only_user(value), ScalarOp) and (bounds := user.clamp) is not None:
        least, most = bounds
        low, high = min(max(low, least), most), min(max(high, least), most)
        absorbed.append(user)
        value = user.results[0]
    return Epilogue(value, low, high, tuple(absorbed))


class QuantizationPlan:
    """Storage of every tensor of a legal function.

    `inputs_low`: smallest value seen of each input, which decides its sign. Raises UserError listing every operation
    that cannot be quantised. After `settle`, `storage` answers for every value that is computed on the machine.
    """

    def __init__(self, function: func.FuncOp, inputs_low: Iterable[float]):
        self.block = function.body.block
        self.epilogues: dict[Operation, Epilogue] = {}
        self.absorbed: set[Operation] = set()
        self.reexpressed: list[str] = []
        self._fixed: dict[SSAValue, Storage] = {}
        self._non_negative: dict[SSAValue, bool] = {
            arg: low >= 0 for arg, low in zip(self.block.args, inputs_low, strict=True)
        }
        self._owners: dict[SSAValue, SSAValue] = {}
        self._following: set[SSAValue] = set()
        self._settled: dict[SSAValue, Storage] = {}
        self._order = {op: i for i, op in enumerate(self.block.ops)}
        self._check()
        self.pairs: dict[Operation, Pair] = {pair.second: pair for pair in find_pairs(self.block)}
        self.absorbed.update(pair.first for pair in self.pairs.values())
        for op in self.block.ops:
            if _rule(op) is StorageRule.REQUANTISED and op not in self.absorbed:
                self.epilogues[op] = _epilogue(op)
                self.absorbed.update(self.epilogues[op].ops)
            for result in op.results:
                self._non_negative[result] = self._is_non_negative(op)
            self._fix(op)
        self._fix_sources()
        self._find_following()

    def _check(self) -> None:
        """Raise for operations that have no counterpart."""
        causes: list[str] = []
        for op in self.block.ops:
            if _rule(op) is StorageRule.NONE and not isinstance(op, onnx.ConstantOp | func.ReturnOp):
                causes.append(f"{describe(op)}: cannot be quantised; requires a graph that passed onnx-legalize")
            if isinstance(op, onnx.ConvOp):
                parameters = [op.weight] + ([op.bias] if op.bias is not None else [])
                if any(constant(p) is None for p in parameters):
                    causes.append(f"{describe(op)}: weight or bias is computed; requires constants")
            elif not isinstance(op, onnx.DequantizeLinearOp | func.ReturnOp):
                causes += [
                    f"{describe(op)}: operand {i} is a constant; requires computed tensors"
                    for i, operand in enumerate(op.operands)
                    if constant(operand) is not None
                ]
        if causes:
            raise UserError(causes, "run onnx-canonicalize and onnx-legalize before quantize")

    def _is_non_negative(self, op: Operation) -> bool:
        if isinstance(op, ScalarOp):
            return op.non_negative or (op.keeps_non_negative and self._non_negative[op.input])
        if isinstance(op, ArgMaxOp):
            return True
        if isinstance(op, onnx.SoftmaxOp):
            return op.logarithm is None
        if isinstance(op, onnx.ConvOp | onnx.ConstantOp):
            return False
        if isinstance(op, onnx.QuantizeLinearOp) and op.zero_point.array.size == 1:
            zero, least, _ = _zero_point(op)
            if zero == least:
                return True
        return all(self._non_negative[operand] for operand in op.operands)

    def _fix(self, op: Operation) -> None:
        """Storage that the model itself prescribes."""
        if isinstance(op, onnx.QuantizeLinearOp):
            if op.scale.array.size != 1:
                raise UserError(f"{describe(op)}: scale per channel of an activation; requires one scale per tensor")
            zero, least, most = _zero_point(op)
            scale = float(op.scale.array.reshape(()).astype(np.float64))
            non_negative = self._non_negative[op.input]
            self._fixed[op.output], exact = reexpress(least, most, zero, scale, non_negative)
            if not exact:
                self.reexpressed += node_names(op)[:1] or [op.name]
        elif isinstance(op, onnx.DequantizeLinearOp) and constant(op.output) is None:
            source = op.input.owner
            if not isinstance(source, onnx.QuantizeLinearOp) or not _same_parameters(source, op):
                raise UserError(
                    f"{describe(op)}: requires the QuantizeLinear before it with equal scale and zero point"
                )
            self._fixed[op.output] = self._fixed[op.input]

    def _fix_sources(self) -> None:
        """A tensor that only equal QuantizeLinear nodes read is stored their way at once. What the host has stored, an
        input of the model wherever it is moved, is so without their limits: the host does not know these.
        """
        from_host = set[SSAValue](self.block.args)
        for op in self.block.ops:
            if _rule(op) in MOVING and not from_host.isdisjoint(op.operands):
                from_host.update(op.results)
        values = [*self.block.args, *(r for op in self.block.ops for r in op.results)]
        for value in values:
            users = [use.operation for use in value.uses]
            targets = {self._fixed[u.output] for u in users if isinstance(u, onnx.QuantizeLinearOp)}
            if users and all(isinstance(u, onnx.QuantizeLinearOp) for u in users) and len(targets) == 1:
                storage = targets.pop()
                full = Storage.full(storage.signed, storage.scale)
                self._fixed.setdefault(value, full if value in from_host else storage)

    def owner(self, value: SSAValue) -> SSAValue:
        """The value whose storage this one shares: itself, the tensor it is moved from, or the concatenation it goes
        into.
        """
        path: list[SSAValue] = []
        while value not in self._owners:
            path.append(value)
            shared = self._shares_with(value)
            if shared is None:
                break
            value = shared
        owner = self._owners.get(value, value)
        self._owners.update(dict.fromkeys(path, owner))
        return owner

    def _shares_with(self, value: SSAValue) -> SSAValue | None:
        """A neighbour in whose way the value is stored, None if its own way counts."""
        source = _moved_from(value)
        if source is not None and source not in self._following:
            return source
        if value in self._following:
            user = only_user(value)
            assert user is not None
            return user.results[0]
        return None

    def _find_following(self) -> None:
        """Values whose storage may be chosen for the sake of the one operation that reads them."""
        for value in [*self.block.args, *(r for op in self.block.ops for r in op.results)]:
            if value in self._fixed or _rule(only_user(value)) not in MOVING:
                continue
            source = _moved_from(value)
            if source is None or source in self._following:
                self._following.add(value)

    def stored(self) -> list[SSAValue]:
        """Values that the machine keeps as tensors, in program order."""
        values: list[SSAValue] = list(self.block.args)
        for op in self.block.ops:
            if op in self.epilogues:
                values.append(self.epilogues[op].result)
            elif op not in self.absorbed and _is_stored(op):
                values += [r for r in op.results if constant(r) is None]
        return values

    def observed(self) -> set[SSAValue]:
        """Values whose distribution decides a scale."""
        return {owner for owner in map(self.owner, self.stored()) if owner not in self._fixed}

    def settle(self, choose: Callable[[SSAValue, bool, Sequence[Reader]], tuple[bool, float]]) -> None:
        """Fix all scales, later ones first: `choose` gives whether an observed value is stored signed, and its scale.

        It is told whether the value may be negative, and the functions with the steps of their results if nothing but
        elementwise functions reads the value, wherever it is moved; without functions every number counts. A value that
        others read too takes the scale of the concatenation that it goes into if that is about its own, so that it need
        not be stored twice.
        """
        readers = self._readers()
        observed = self.observed()
        for value in reversed(self.stored()):
            if value in observed and value not in self._settled:
                functions = [
                    (op.function, self.storage(op.output).scale) for op in readers[value] if isinstance(op, ScalarOp)
                ]
                complete = len(functions) == len(readers[value])
                signed, scale = choose(value, not self._non_negative[value], functions if complete else ())
                own = Storage.full(signed, float(as_float32(scale)))
                self._settled[value] = self._near(value, own, readers[value])

    def _near(self, value: SSAValue, own: Storage, readers: Sequence[Operation]) -> Storage:
        """The storage of the tensor that a value is gathered into, if nothing else reads it or if that is near its own;
        else its own. `readers` read it wherever it is moved.
        """
        if readers and all(_rule(op) is StorageRule.GATHERED for op in readers):
            found = {self.storage(op.results[0]) for op in readers}
            if len(found) == 1:
                return found.pop()
        gathering = self._last_gathering(readers)
        if gathering is None and _rule(value.owner) is StorageRule.GATHERED:
            lasts = {self._last_gathering([use.operation for use in operand.uses]) for operand in _operands(value)}
            gathering = lasts.pop() if len(lasts) == 1 else None
        copied = any(_rule(op) in (StorageRule.HOST, StorageRule.NONE) for op in readers)
        if gathering is None or gathering is value.owner or isinstance(value.owner, Block) or copied:
            return own
        joined = self.storage(gathering.results[0])
        least, most = _RELATIVE_SCALES
        near = joined.signed == own.signed and least * own.scale <= joined.scale <= most * own.scale
        return joined if near else own

    def _last_gathering(self, readers: Sequence[Operation]) -> Operation | None:
        """The last operation that puts a value that they read into one tensor with others."""
        found = [op for op in readers if _rule(op) is StorageRule.GATHERED]
        return max(found, key=self._order.__getitem__, default=None)

    def _readers(self) -> dict[SSAValue, list[Operation]]:
        """For each owner of a storage the operations that read a value stored so, but for those that move it there."""
        readers: dict[SSAValue, list[Operation]] = {value: [] for value in self.observed()}
        for value in self.stored():
            owner = self.owner(value)
            for user in dict.fromkeys(use.operation for use in value.uses):
                moves = _rule(user) in MOVING and self.owner(user.results[0]) == owner
                if owner in readers and not moves:
                    readers[owner].append(user)
        return readers

    def storage(self, value: SSAValue) -> Storage:
        """Storage of a value, once settled."""
        owner = self.owner(value)
        fixed = self._fixed.get(owner)
        return self._settled[owner] if fixed is None else fixed


def _zero_point(op: onnx.QuantizeLinearOp) -> tuple[int, int, int]:
    """Zero point of a per-tensor quantisation, with the smallest and largest integer of its type."""
    a = op.zero_point.array
    least, most = (-128, 127) if a.dtype == np.int8 else (0, 255)
    return int(a.astype(np.int64).reshape(())), least, most


def _same_parameters(a: onnx.QuantizeLinearOp, b: onnx.DequantizeLinearOp) -> bool:
    return a.scale == b.scale and a.zero_point == b.zero_point
