"""The layer kind `map`: tables, concatenations and slices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from xdsl.ir import Operation, SSAValue

from dialects import bfs_compute as compute
from dialects import esc
from dialects.attributes import ints
from dialects.esc import shape_of
from isa.layout import TABLE_BYTES
from isa.target import Target
from passes.tiling.declarations import DeclaredTensor
from passes.tiling.esc_op_to_layer import LayerTiler, with_output
from passes.tiling.geometry import ChannelMap, window_span
from passes.tiling.layer_kind import LayerKind, TileRule
from passes.tiling.layer_to_instructions import HeldRegion, LayerLowering
from passes.tiling.limits import field_range
from passes.tiling.loop_nest import Indices
from passes.tiling.loop_nest_builder import LoopNestBuilder
from passes.tiling.problem import TilingProblem, Workload

MapOperation = esc.LookupOp | esc.ConcatOp | esc.SliceOp


class MapWork(Workload):
    """The post unit moves every value once."""

    name = "map"


class MapRule(TileRule):
    """`post.map` of the channels that come from one input."""

    operation = compute.MapOp

    def lower(self, layer: LayerLowering, op: compute.MapOp, at: Indices) -> None:
        out, out_address = layer.held(op.out)
        (sy, sx), (oy, ox, oc) = ints(op.strides), ints(op.offsets)
        first, count = ints(op.channels)
        channels = ChannelMap(first, count, oc, 1)
        covered = channels.inside(out.k)
        if not covered.extent:
            return
        act, address = layer.held_of(op.act, op.tensor)
        h, w, c = layer.source(act).extents
        y, x = window_span(out.y, 1, sy, -oy, h), window_span(out.x, 1, sx, -ox, w)
        source = channels.source(out.k, c, 1)
        values = {"lut": 1, "table": layer.held(op.table)[1]} if op.table is not None else {}
        part = HeldRegion("", out.y, out.x, covered)
        layer.emit(
            "post.map",
            **layer.act_fields(act, address, (y, x, source)),
            oh=out.y.extent,
            ow=out.x.extent,
            kn=covered.extent,
            sy=sy,
            sx=sx,
            dy=out.y.first * sy + oy - y.first,
            dx=out.x.first * sx + ox - x.first,
            dc=covered.first + oc - source.first,
            **layer.out_fields(out, out_address, part),
            **values,
        )


class MapKind(LayerKind):
    """A table of a tensor, several tensors side by side, or a part of one."""

    name = MapWork.name
    rules = (MapRule(),)

    def faults(self, op: esc.EscOp, target: Target) -> Iterator[str]:
        if not isinstance(op, esc.SliceOp):
            return
        _, most = field_range("post.map", "sy")
        if max(ints(op.strides)) > most:
            yield f"strides={list(ints(op.strides))}; requires at most {most}"
        for offset, field in zip(ints(op.offsets), ("dy", "dx", "dc"), strict=True):
            low, high = field_range("post.map", field)
            if not low <= offset <= high:
                yield f"offset {offset}; requires [{low}, {high}]"

    def matches(self, op: Operation) -> bool:
        return isinstance(op, MapOperation)

    def tile(self, op: Operation, tiler: LayerTiler, averaged: bool = False) -> None:
        assert isinstance(op, MapOperation)
        inputs = tiler.inputs(*op.operands)
        if inputs is None:
            return
        h, w, _ = inputs[0].shape
        _, oh, ow, k = shape_of(op.output)
        strides, offsets = (1, 1), (0, 0, 0)
        if isinstance(op, esc.SliceOp):
            (sy, sx), (oy, ox, oc) = ints(op.strides), ints(op.offsets)
            strides, offsets = (sy, sx), (oy, ox, oc)
        maps: list[ChannelMap] = []
        first = 0
        for tensor in inputs:
            count = tensor.shape[2] if isinstance(op, esc.ConcatOp) else k
            maps.append(ChannelMap(first, count, offsets[2] - first, 1))
            first += tensor.shape[2]
        sources = tuple(t.source(m) for t, m in zip(inputs, maps, strict=True))
        fixed = (TABLE_BYTES,) if isinstance(op, esc.LookupOp) else ()
        pads = (-offsets[0], -offsets[1])
        p = TilingProblem(MapWork(), h, w, oh, ow, k, sources, strides=strides, pads=pads, parameter_bytes=fixed)
        build = tiler.start(op, with_output(p, op.output), op.output)
        if build is None:
            return
        table = tiler.resident(build, 0, op.table) if isinstance(op, esc.LookupOp) else None
        _move(build, inputs, maps, (offsets[0], offsets[1]), table)
        tiler.finish(build, op.output, [op])


def _move(
    build: LoopNestBuilder,
    inputs: Sequence[DeclaredTensor],
    maps: Sequence[ChannelMap],
    offsets: tuple[int, int],
    table: SSAValue | None,
) -> None:
    """Load and move the tile of every input in turn."""
    out, strides = build.buffer["out"], build.problem.strides
    for i, (tensor, m) in enumerate(zip(inputs, maps, strict=True)):
        load, act = build.load_act(tensor.name, m, index=i), build.source_buffer(i)
        moved = (*offsets, m.offset)

        def move(
            act: SSAValue = act,
            name: str = tensor.name,
            moved: tuple[int, int, int] = moved,
            m: ChannelMap = m,
        ) -> Operation:
            return compute.MapOp(out, act, name, table, strides, moved, (m.first, m.extent))

        if len(inputs) == 1:
            build.before("act", load)
            build.innermost(lambda _, move=move: [move()])
        else:
            build.innermost(lambda at, load=load, move=move: [*load(at), move()])


KIND = MapKind()
