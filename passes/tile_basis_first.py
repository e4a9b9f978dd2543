"""`tile-basis-first`: esc -> bfs. Every computed tensor becomes a layer, a loop nest of tile operations chosen by
search.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, NamedTuple, cast

from xdsl.context import Context
from xdsl.dialects import func
from xdsl.dialects.builtin import ArrayAttr, FloatAttr, ModuleOp, StringAttr, SymbolRefAttr
from xdsl.ir import Attribute, Operation
from xdsl.passes import ModulePass

from dialects import bfs, esc
from dialects.attributes import integer
from dialects.blob import DenseAttr
from dialects.esc import shape_of
from dialects.interpreters.run import main_function
from dialects.locations import describe
from dialects.machine import port_properties
from dialects.onnx_base import OnnxOp
from dialects.signature import inputs_of, outputs_of
from isa.errors import UserError
from isa.formats import TensorFormat
from isa.target import Target, load_target
from passes.analysis.original_weight_count import recorded
from passes.analysis.preserved import Preserved
from passes.layers.table import tile_operation
from passes.tiling.declarations import Declarations
from passes.tiling.esc_op_to_layer import LayerTiler
from passes.tiling.planning import plan
from passes.tiling.problem import TilingProblem
from passes.tiling.residency import Residency
from passes.tiling.views import channel_views

_DIGITS = 10
"""A place of a tiling has fewer."""
_HOST = (esc.QuantizeOp, esc.DequantizeOp, esc.SoftmaxOp, esc.ArgMaxOp, func.ReturnOp)


class _FunctionTiler:
    """Turns one function into a `bfs.program`."""

    def __init__(
        self,
        function: func.FuncOp,
        target: Target,
        residency: Residency,
        places: Mapping[str, int],
        raw: Set[str] = frozenset(),
    ) -> None:
        self.function = function
        self.target = target
        self.bands = residency.bands
        views = channel_views(function.body.block, target)
        rings = {name: rows for bands in self.bands for name, rows in bands.rings.items() if rows is not None}
        self.declared = Declarations(target.array.chunk, views, residency.tensors, raw, rings, residency.over)
        rows = {i: (n, bands.machine) for bands in self.bands for i, n in zip(bands.numbers, bands.rows, strict=True)}
        self.tiler = LayerTiler(target, self.declared, tile_operation, residency.taken, rows, places)

    def program(self) -> bfs.ProgramOp:
        """The program. Raises `UserError` naming all nodes that cannot be tiled."""
        if above := sum(isinstance(op, OnnxOp) for op in self.function.body.block.ops):
            raise UserError(
                f"@main holds {above} operations of level 'onnx'; requires level 'esc'", "run quantize before"
            )
        causes = self.tiler.causes
        inputs = self._inputs()
        self._tile()
        outputs = [] if causes else self._outputs()
        if causes:
            raise UserError(causes, "enlarge the scratchpads in the target file, or change the model")
        sample = self.function.attributes.get("sample")
        declared = self.declared
        ops = [*declared.tensor_ops, *inputs, *outputs, *declared.constant_ops, *self._layers()]
        program = bfs.ProgramOp(self.target, ops, sample if isinstance(sample, DenseAttr) else None)
        if (weights := recorded(self.function)) is not None:
            program.float_weights = integer(weights)
        return program

    def plan(self, program: bfs.ProgramOp, bands: bool, outside: Set[str]) -> Residency:
        """The tensors of the finished `program`, none of `outside`, that are better kept in ACT and, if there may be
        `bands`, the layers that better run side by side. Raises `UserError` if no layer computes one of `outside`.
        """
        if unknown := sorted(outside - self.tiler.posed.keys()):
            raise UserError(f"no layer computes '{unknown[0]}', which is to stay outside of ACT")
        outputs = {port.tensor.string_value() for port in program.outputs}
        return plan(self.tiler.records, outputs | outside, self.target, bands)

    def _layers(self) -> list[Operation]:
        """The layers, those that run side by side in one operation."""
        found: list[Operation] = []
        together = {bands.first: bands for bands in self.bands}
        i = 0
        while i < len(self.tiler.layers):
            bands = together.get(i)
            count = 1 if bands is None else len(bands.rows)
            layers = self.tiler.layers[i : i + count]
            found += layers if bands is None else [bfs.BandsOp(bands.delays, layers)]
            i += count
        return found

    def _tile(self) -> None:
        vanished, joined = self.declared.views.vanished, self.tiler.joined
        for op in list(self.function.body.block.ops):
            if isinstance(op, esc.EscOp) and op.SOLE_READER:
                self._check_stage(op)
            elif not isinstance(op, _HOST) and op not in vanished and op not in joined:
                self.tiler.add(op)

    def _numbers(self, which: str) -> tuple[float, ...]:
        attr = self.function.attributes.get(which)
        items = cast("ArrayAttr[Attribute]", attr).data if isinstance(attr, ArrayAttr) else ()
        return tuple(a.value.data for a in items if isinstance(a, FloatAttr))

    def _inputs(self) -> list[Operation]:
        args = self.function.body.block.args
        order = self.function.attributes.get("channel_order")
        ports: list[Operation] = []
        for arg, port in zip(args, inputs_of(self.function), strict=True):
            readers = [use.operation for use in arg.uses]
            if len(readers) != 1 or not isinstance(readers[0], esc.QuantizeOp):
                self.tiler.causes.append(
                    f"input '{port.name}' must be read by one esc.quantize alone, found {len(readers)} uses"
                )
                continue
            value = readers[0].output
            tensor = self.declared.tensor(value, TensorFormat.RAW, shape_of(value)[2])
            mean, std = self._numbers("image_mean"), self._numbers("image_std")
            image = tensor.shape[2] in (len(mean), len(std))
            properties = port_properties(
                port.name,
                (1, *port.shape),
                view=port.inner if port.perm else (),
                perm=[port.perm.index(axis) for axis in range(len(port.perm))],
                mean=mean if image else (),
                std=std if image else (),
                channel_order=order.data if image and isinstance(order, StringAttr) else "",
            )
            ports.append(bfs.InputOp.create(properties={**properties, "tensor": SymbolRefAttr(tensor.name)}))
        return ports

    def _outputs(self) -> list[Operation]:
        ports: list[Operation] = []
        for name, value in outputs_of(self.function):
            op, axis, logarithm, arg_max = value.owner, None, False, None
            if isinstance(op, esc.ArgMaxOp):
                arg_max = op.choice
                op = op.input.owner
            if isinstance(op, esc.SoftmaxOp):
                axis, logarithm = op.axis.value.data, op.logarithm is not None
                op = op.input.owner
            tensor = self.declared.find(op.input) if isinstance(op, esc.DequantizeOp) else None
            if tensor is None or not isinstance(op, esc.DequantizeOp):
                self.tiler.causes.append(f"output '{name}' must come from esc.dequantize")
                continue
            view, perm = op.rearrangement
            properties = port_properties(
                name, shape_of(value), axis, view=view, perm=perm, logarithm=logarithm, arg_max=arg_max
            )
            ports.append(bfs.OutputOp.create(properties={**properties, "tensor": SymbolRefAttr(tensor.name)}))
        return ports

    def _check_stage(self, op: esc.EscOp) -> None:
        users = [use.operation for result in op.results for use in result.uses]
        if len(users) != 1 or users[0].name != op.SOLE_READER or users[0].operands[0] not in op.results:
            self.tiler.causes.append(f"{describe(op)}: its result must be read by one {op.SOLE_READER} alone")


def _tiled(
    function: func.FuncOp, target: Target, residency: Residency, places: Mapping[str, int] = MappingProxyType({})
) -> tuple[_FunctionTiler, bfs.ProgramOp]:
    """The program of a function, which stays as it is. Raises `UserError` naming all nodes that cannot be tiled.

    Tensors with parts lie as BITMAP lines unless a layer has no room for those.
    """
    raw: frozenset[str] = frozenset()
    while True:
        tiler = _FunctionTiler(function.clone(), target, residency, places, raw)
        try:
            program = tiler.program()
        except UserError:
            if not tiler.tiler.crowded:
                raise
        else:
            if not tiler.tiler.crowded:
                return tiler, program
        raw |= tiler.tiler.crowded


class Tiled(NamedTuple):
    """A program, and the problem of each layer with what it sees of the machine, by the tensor that it computes."""

    program: bfs.ProgramOp
    posed: Mapping[str, tuple[TilingProblem, Target]]


class PlannedFunction:
    """A function of level `esc`, which stays as it is, with what is decided about its tensors.

    Raises `UserError` naming all nodes that cannot be tiled, and for names in `outside` that no layer computes.
    """

    def __init__(self, function: func.FuncOp, target: Target, bands: bool = True, outside: Set[str] = frozenset()):
        """`bands`: whether neighbouring layers may run side by side, where that is cheaper. `outside`: tensors that do
        not stay in ACT.
        """
        self._function, self._target = function, target
        first, program = _tiled(function, target, Residency(frozenset(), ()))
        self._residency = first.plan(program, bands, outside)

    @property
    def resident(self) -> Set[str]:
        """The tensors that stay in ACT, or of which a ring of rows does."""
        return self._residency.tensors

    def tiled(self, places: Mapping[str, int] = MappingProxyType({})) -> Tiled:
        """The program in which each layer has its cheapest tiling, or another one: `places` are those in the order of
        estimated cycles, from 0, by the tensor that a layer computes.

        Raises `UserError` if no layer computes a tensor, or has so many tilings.
        """
        tiler, program = _tiled(self._function, self._target, self._residency, places)
        if unknown := sorted(places.keys() - tiler.tiler.posed.keys()):
            raise UserError(f"no layer computes '{unknown[0]}', which has a tiling")
        return Tiled(program, tiler.tiler.posed)


def places_of(tilings: Sequence[str]) -> dict[str, int]:
    """Tensors and places from texts TENSOR=PLACE. Raises `UserError` on other texts."""
    found: dict[str, int] = {}
    for text in tilings:
        name, _, place = text.partition("=")
        if not name or not (place.isascii() and place.isdecimal() and len(place) < _DIGITS):
            raise UserError(f"tiling '{text}': requires TENSOR=PLACE, such as t3=1")
        found[name] = int(place)
    return found


@dataclass(frozen=True)
class TileBasisFirstPass(ModulePass):
    """Tile every layer for a machine and lay out its loops: esc -> bfs.

    The tiles of a layer are the cheapest of all that fit the scratchpads, by an estimate of DRAM bytes and cycles
    (`passes.tiling.cost`). Where no whole window of a dense or depthwise convolution fits, the window is accumulated in
    parts; an average over such windows that all count equally many positions becomes a depthwise convolution, a maximum
    one over columns and then one over rows. Tensors that fit stay in ACT from the layer that computes them to the last
    one that reads them, where that makes the layers cheaper (`passes.tiling.planning`). Of those that do not fit, some
    need not leave ACT because their layers run side by side, one band of rows after the other (`passes.tiling.bands`).
    Concatenations and slices of channels become addresses (`passes.tiling.views`). A maximum over windows that lie side
    by side, behind a convolution, is taken by the layer of the convolution.
    """

    name = "tile-basis-first"
    PRESERVES: ClassVar[Preserved] = Preserved.NOTHING

    target: str = "esc1"
    """Installed target or target file."""
    bands: bool = True
    """Whether neighbouring layers may run side by side, band after band of rows, where that is cheaper."""
    tilings: tuple[str, ...] = ()
    """Layers that take another tiling than the cheapest, each TENSOR=PLACE: the tensor that the layer computes, and the
    place of the tiling in the order of estimated cycles, from 0. `escc --tune` finds them.
    """

    outside: tuple[str, ...] = ()
    """Tensors that do not stay in ACT, even where that is cheaper by the estimate. `escc --tune` finds them."""

    def tiled(self, function: func.FuncOp, target: Target) -> bfs.ProgramOp:
        """The program of a function, which stays as it is."""
        planned = PlannedFunction(function, target, self.bands, frozenset(self.outside))
        return planned.tiled(places_of(self.tilings)).program

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        program = self.tiled(main_function(op), load_target(self.target))
        block = op.body.block
        for old in list(block.ops):
            block.erase_op(old)
        block.add_op(program)
