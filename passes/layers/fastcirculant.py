"""The layer kind `fastcirculant`: `conv.circ` of circulant blocks, whose values lie in COEF as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.ir import SSAValue

from dialects.attributes import ints
from dialects.bfs_circulant import ConvCirculantOp, LoadBlocksOp
from isa.instructions import load_weights
from isa.instructions.conv_circ import cycles
from isa.integers import Number, ceil_div
from isa.layout import WEIGHT_TABLE_BYTES
from isa.target import Target
from passes.layers.circulant import BlocksRule, CirculantKind, CirculantWork
from passes.layers.convolution import (
    ConvConstants,
    Stages,
    channels_tile,
    input_fields,
    partial_sums,
)
from passes.layers.requantise import RequantRule
from passes.tiling.geometry import Span
from passes.tiling.layer_kind import TileRule
from passes.tiling.layer_to_instructions import LayerLowering
from passes.tiling.loop_nest import Indices, span
from passes.tiling.loop_nest_builder import Emit, LoopNestBuilder, Part
from passes.tiling.problem import Computed, ComputeTile, Tiling, TilingProblem, WeightStream, Workload


@dataclass(frozen=True)
class FastCirculantWork(CirculantWork):
    """Values stay as they are in COEF, and a block takes the products of `isa.circulant.fast_products`."""

    name = "fastcirculant"

    def _values(self, p: TilingProblem, channels: Number, depth: Number) -> Number:
        """Values of so many output channels, which begin a block."""
        return ceil_div(channels, self.block) * p.taps * ceil_div(depth, self.block) * self.block

    def weight_bytes(self, p: TilingProblem, channels: Number, depth: Number, target: Target) -> Number:
        # Channels that do not begin a block may touch one more.
        return self._values(p, channels + (self.block - 1) * (channels % self.block != 0), depth)

    def weight_load_cycles(self, p: TilingProblem, t: Tiling, target: Target, bandwidth: float) -> Number:
        return self._values(p, t.weights, t.depth) / bandwidth

    def weight_stream(self, p: TilingProblem, channels: int, depth: int, target: Target) -> WeightStream:
        count = int(self._values(p, channels, depth))
        size = round(count * min(self.packed, 1.0))
        taken = load_weights.cycles({"size": size, "count": count}, target, round(count * self.nonzeros))
        return WeightStream(size, taken, WEIGHT_TABLE_BYTES)

    def compute_cycles(self, p: TilingProblem, tile: ComputeTile, target: Target) -> Number:
        (r, s), block = p.kernel, self.block
        fields = {"oh": tile.rows, "ow": tile.columns, "kn": tile.channels, "groups": tile.groups, "c": tile.depth}
        return cycles({**fields, "r": r, "s": s, "first": 0, "block": block}, target)

    def expected_cycles(self, p: TilingProblem, tile: ComputeTile, y: Span, x: Span, target: Target) -> Computed:
        return Computed(float(self.compute_cycles(p, tile._replace(rows=y.extent, columns=x.extent), target)))


class LoadBlocksRule(BlocksRule):
    """`load.weights` of the values as they are."""

    operation = LoadBlocksOp

    def instruction(self, op: LoadBlocksOp, k: Span, c: Span, count: int) -> tuple[str, int, dict[str, int]]:
        return "load.weights", count, {"count": count}


class ConvCirculantRule(TileRule):
    """`conv.circ` of a PSUM tile."""

    operation = ConvCirculantOp

    def lower(self, layer: LayerLowering, op: ConvCirculantOp, at: Indices) -> None:
        act, act_address = layer.held(op.act)
        held, coef = layer.held(op.coef)
        c, block = span(at, op.c, op.depth), op.block.value.data
        part, psum = partial_sums(layer, op, at, True, c, c.extent)
        if held.c != c:
            raise layer.fault("a convolution and its blocks name different input channels")
        layer.require_covered(held.k, part.k, "blocks of channels")
        r, s = ints(op.kernel)
        before = part.k.first // block - held.k.first // block
        layer.emit(
            "conv.circ",
            **input_fields(layer, op, act, act_address, part, c),
            **psum,
            coef=coef + before * r * s * ceil_div(c.extent, block) * block,
            c=c.extent,
            first=part.k.first % block,
            block=block,
            groups=op.row_groups.value.data,
        )


class FastCirculantKind(CirculantKind):
    """A convolution of circulant blocks by fast products."""

    name = FastCirculantWork.name
    fast = True
    rules = (LoadBlocksRule(), ConvCirculantRule(), RequantRule())

    def work(self, constants: ConvConstants, density: float, target: Target) -> Workload:
        return FastCirculantWork(block=constants.weight.shape[-1])

    def load_weights(self, build: LoopNestBuilder, constant: str) -> Emit:
        t, buffer, work = build.tiling, build.buffer["weights"], build.problem.work
        assert isinstance(work, FastCirculantWork)
        return lambda at: [LoadBlocksOp(buffer, constant, build.channel_range(t.weights, at), at["c"], work.block)]

    def compute(
        self, build: LoopNestBuilder, stages: Stages, resident: Sequence[SSAValue], part: Part, further: bool
    ) -> Emit:
        groups, work = build.tiling.row_groups, build.problem.work
        assert isinstance(work, FastCirculantWork)
        return lambda at: [ConvCirculantOp(channels_tile(build, part, at), work.block, groups)]


KIND = FastCirculantKind()
