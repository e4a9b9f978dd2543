"""The layer kind `shuffle`: the channels of a tensor in another order, by `post.map` with other strides.

A tile of which one channel in `groups` is written is, for the instruction, a tile of one channel: its columns are those
channels, `groups` bytes apart, and its rows are the positions.
"""

from __future__ import annotations

from typing import ClassVar

from xdsl.ir import SSAValue

from dialects import bfs_rearranged, esc_rearranged
from isa.layout import ceil_div
from passes.tiling.geometry import Span
from passes.tiling.layer_kind import TileRule
from passes.tiling.layer_to_instructions import HeldRegion, LayerLowering
from passes.tiling.loop_nest import Indices
from passes.tiling.moved import MovedKind
from passes.tiling.problem import Workload


class ShuffleRule(TileRule):
    """`post.map` for each group of channels, or for each channel where the strides do not divide."""

    operation = bfs_rearranged.ShuffleOp

    def lower(self, layer: LayerLowering, op: bfs_rearranged.ShuffleOp, at: Indices) -> None:
        out, to = layer.held(op.out)
        act, address = layer.held_of(op.act, op.tensor)
        groups, channels = op.groups.value.data, layer.source(act).extents[2]
        for i in range(groups):
            first, end = (ceil_div(max(0, k - i), groups) for k in (out.k.first, out.k.end))
            if first >= end:
                continue
            read = Span(i * (channels // groups) + first, end - first)
            source = layer.place("act", act, address, (out.y, out.x, read))
            part = HeldRegion("", out.y, out.x, Span(first * groups + i, 1))
            target = layer.out_fields(out, to, part)
            if target["out_c"] % groups:
                self._by_channel(layer, act, out, source, target, (read.extent, groups))
            else:
                self._by_position(layer, act, out, source, target, (read.extent, groups))

    def _by_position(
        self,
        layer: LayerLowering,
        act: HeldRegion,
        out: HeldRegion,
        source: dict[str, int],
        target: dict[str, int],
        sizes: tuple[int, int],
    ) -> None:
        """One instruction for all positions that lie one behind the other in both tiles."""
        (count, groups), rows, columns = sizes, out.y.extent, out.x.extent
        runs = (
            [(0, rows * columns)]
            if source["act_w"] == target["out_w"] == columns
            else [(y, columns) for y in range(rows)]
        )
        for y, positions in runs:
            layer.emit(
                "post.map",
                act=source["act"] + y * source["act_w"] * source["act_c"],
                act_w=source["act_c"],
                act_c=1,
                ih=positions,
                iw=count,
                ic=1,
                signed=layer.is_signed(act),
                oh=positions,
                ow=count,
                kn=1,
                sy=1,
                sx=1,
                out=target["out"] + y * target["out_w"] * target["out_c"],
                out_w=target["out_c"] // groups,
                out_c=groups,
            )

    def _by_channel(
        self,
        layer: LayerLowering,
        act: HeldRegion,
        out: HeldRegion,
        source: dict[str, int],
        target: dict[str, int],
        sizes: tuple[int, int],
    ) -> None:
        """One instruction for each channel."""
        count, groups = sizes
        extents = {"ih": out.y.extent, "iw": out.x.extent, "ic": 1, "signed": layer.is_signed(act)}
        for j in range(count):
            moved = {"act": source["act"] + j, "out": target["out"] + j * groups}
            places = {**source, **target, **moved}
            layer.emit("post.map", **places, **extents, oh=out.y.extent, ow=out.x.extent, kn=1, sy=1, sx=1)


class ShuffleWork(Workload):
    """The post unit moves every value once; a tile of the output needs all channels of the input."""

    name: ClassVar[str] = "shuffle"
    reads_all_channels: ClassVar[bool] = True


class ShuffleKind(MovedKind):
    """The channels of a tensor in another order."""

    name = ShuffleWork.name
    rules = (ShuffleRule(),)
    operation = esc_rearranged.ShuffleOp
    workload = ShuffleWork

    def tile_operation(
        self, op: esc_rearranged.ShuffleOp, out: SSAValue, act: SSAValue, tensor: str
    ) -> bfs_rearranged.ShuffleOp:
        return bfs_rearranged.ShuffleOp(out, act, tensor, op.groups.value.data)


KIND = ShuffleKind()
