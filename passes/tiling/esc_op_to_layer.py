"""From one operation of level `esc` to one `bfs.layer`: what all layer kinds need to pose their tiling problem and to
lay out the loop nest that solves it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from xdsl.ir import Operation, SSAValue
from xdsl.rewriter import Rewriter

from dialects import bfs, bfs_tiles
from dialects.blob import DenseAttr
from dialects.esc import q_of
from dialects.locations import describe, fused, node_names
from isa.errors import UserError
from isa.formats import TensorFormat
from isa.target import Target
from passes.tiling.declarations import Declarations, DeclaredTensor, expected_density, tensor_format
from passes.tiling.limits import field_range
from passes.tiling.loop_nest_builder import LoopNestBuilder
from passes.tiling.memory import with_act
from passes.tiling.problem import TilingProblem, buffers
from passes.tiling.records import LayerRecord
from passes.tiling.search import ranked, search, smallest_need, solve

MAX_WINDOW = field_range("conv.dense", "r")[1]
MAX_EXTENT = field_range("conv.dense", "ih")[1]


class LayerTiler:
    """The layers of a program under construction; faults are collected in `causes`.

    `dispatch` tiles an operation by the layer kind that matches it: a kind may rewrite an operation into others and
    hand these back by `add`. `taken`: bytes of ACT that resident tensors take during each layer. `bands`: of each layer
    that runs side by side with others, the rows of its tiles, and what it sees of the machine. `places`: of layers that
    take another tiling than the cheapest, by the tensors that they compute, its place in the order of estimated cycles.
    `crowded`: names of tensors with parts of which a layer finds no room for whole BITMAP lines. `posed`: the problems
    of the layers and what each sees of the machine, by the tensors that they compute. `joined`: operations that the
    layer of one before them computes as well.
    """

    def __init__(
        self,
        target: Target,
        declared: Declarations,
        dispatch: Callable[[Operation, LayerTiler, bool], None],
        taken: Sequence[int] = (),
        bands: Mapping[int, tuple[int, Target]] = MappingProxyType({}),
        places: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        self.target = target
        self._bands = bands
        self._places = places
        self._taken = taken
        self.declared = declared
        self.causes: list[str] = []
        self.layers: list[bfs.LayerOp] = []
        self.records: list[LayerRecord] = []
        self.posed: dict[str, tuple[TilingProblem, Target]] = {}
        self.joined: set[Operation] = set()
        self._reads: tuple[DeclaredTensor, ...] = ()
        self.crowded: set[str] = set()
        self._dispatch = dispatch
        self._names: set[str] = set()

    def add(self, op: Operation, averaged: bool = False) -> None:
        """Append the layer of an operation that computes a tensor. Operations whose inputs have failed are passed
        over. `averaged`: see `LayerKind.tile`.
        """
        self._dispatch(op, self, averaged)

    def inputs(self, *values: SSAValue) -> list[DeclaredTensor] | None:
        """The tensors of input values; None if one of them has failed."""
        found = [self.declared.find(v) for v in values]
        tensors = [t for t in found if t is not None]
        self._reads = tuple(tensors)
        return tensors if len(tensors) == len(found) else None

    def replace(self, op: Operation, others: Sequence[Operation]) -> None:
        """Put other operations, the last one of which has its result, in the place of one that computes a tensor."""
        self.declared.views.moved(op.results[0], others[-1].results[0])
        Rewriter.replace_op(op, others, others[-1].results)

    def fits(self, p: TilingProblem, value: SSAValue) -> bool:
        """Whether the layer that computes a value tiles with whole windows."""
        return search(self._posed(p, value), self._machine(len(self.records))) is not None

    def _posed(self, p: TilingProblem, value: SSAValue) -> TilingProblem:
        """The problem of a layer that computes a value, with what is decided about its tensor."""
        rows, _ = self._bands.get(len(self.records), (0, self.target))
        p = replace(p, band=min(rows * p.pool[0], p.oh))
        whole = self.declared.whole(value)
        if whole is None:
            lines = p.output_format is TensorFormat.BITMAP and self.declared.in_lines(value)
            format = TensorFormat.BITMAP if lines else TensorFormat.RAW
            name = self.declared.next_name
            over = self.declared.over.get(name)
            in_place = p.channelwise and over in [tensor.name for tensor in self._reads[:1]]
            resident = name in self.declared.resident
            return replace(p, output_format=format, output_resident=resident, in_place=in_place)
        if whole.resident:
            return replace(p, output_format=whole.format, output_resident=True, stored_c=whole.stored_c)
        segment = whole.segment if whole.format is TensorFormat.BITMAP else 0
        return replace(p, output_format=whole.format, stored_c=whole.stored_c, segment=segment)

    def _machine(self, number: int) -> Target:
        """The machine as a layer sees it: without what resident tensors take, or with what bands leave to it."""
        if number in self._bands:
            return self._bands[number][1]
        return with_act(self.target, self._taken[number] if number < len(self._taken) else 0)

    def start(self, op: Operation, p: TilingProblem, value: SSAValue) -> LoopNestBuilder | None:
        """Search a tiling of the layer of an operation that computes `value`, with a window in parts if no whole one
        fits; None, with a cause, if there is none. Raises UserError if it has no tiling at its place.
        """
        limits = (
            ("kernel", max(p.kernel), MAX_WINDOW),
            ("stride", max(p.strides), MAX_WINDOW),
            ("extent", max(p.h, p.w, p.oh, p.ow, p.k, *(s.c for s in p.sources)), MAX_EXTENT),
        )
        broken = [f"{describe(op)}: {what} {value} exceeds {most}" for what, value, most in limits if value > most]
        if broken:
            self.causes += broken
            return None
        p = self._posed(p, value)
        machine = self._machine(len(self.records))
        whole = self.declared.whole(value)
        if whole is not None and p.segment and search(p, machine) is None:
            self.crowded.add(whole.name)
        name = self.declared.next_name
        place = self._places.get(name, 0)
        found = solve(p, machine, place)
        self.posed[name] = p, machine
        storage = {tensor.name: tensor.storage for tensor in self._reads}
        storage[name] = name if whole is None else whole.name
        self.records.append(LayerRecord(p, tuple(tensor.name for tensor in self._reads), name, storage))
        if found is None and place:
            count = max(1, len(ranked(p, machine)))
            raise UserError(
                f"{describe(op)}: has no tiling {name}={place}; requires a place below {count}",
                "places belong to one network, target and version: tune anew",
            )
        if found is None:
            space, need, have = smallest_need(p, self.target)
            self.causes.append(
                f"{describe(op)}: its smallest tile needs {need} bytes of {space}; "
                f"target '{self.target.name}' has {have}"
            )
            return None
        return LoopNestBuilder(*found, buffers(*found, self.target), self.records[-1].residents)

    def finish(
        self,
        build: LoopNestBuilder,
        value: SSAValue,
        sources: Sequence[Operation],
        macs: int = 0,
        weights: int = 0,
    ) -> None:
        """Declare the output and close the layer."""
        p = build.problem
        tensor = self.declared.tensor(value, p.output_format, build.tiling.segment)
        assert tensor.name == self.records[-1].output
        self.declared.close_layer()
        build.open_and_store(tensor.name)
        location = fused(*sources)
        nodes = tuple(dict.fromkeys((*node_names(location), *self.declared.views.names_behind(value))))
        name = self._unique(nodes[0] if nodes else f"layer{len(self.layers)}")
        layer = bfs.LayerOp(name, p.work.name, tensor.name, nodes, macs, weights, build.build())
        layer.location = location
        self.layers.append(layer)

    def _unique(self, name: str) -> str:
        unique, n = name, 2
        while unique in self._names:
            unique, n = f"{name}_{n}", n + 1
        self._names.add(unique)
        return unique

    def resident(self, build: LoopNestBuilder, index: int, constant: NDArray[np.generic] | DenseAttr) -> SSAValue:
        """Load parameter block `index` once, at the start of the layer."""
        buffer = build.buffer[f"parameter{index}"]
        symbol = self.declared.constant(constant)
        build.before("resident", lambda _: [bfs_tiles.LoadBytesOp(buffer, symbol)])
        return buffer


def with_output(p: TilingProblem, value: SSAValue, averaged: bool = False) -> TilingProblem:
    """A problem with the format and the expected density of the tensor that it computes."""
    format = tensor_format(q_of(value).signed, averaged)
    return replace(p, output_format=format, output_density=expected_density(value, format))
