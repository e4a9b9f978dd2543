"""The layer kind `dense`: convolutions with int8 weights, of one group or of several."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from xdsl.ir import SSAValue

from dialects import bfs_compute as compute
from dialects.attributes import ints
from isa.instructions import load_weights
from isa.instructions.conv_dense import cycles, most_cycles
from isa.integers import Number
from isa.layout import WEIGHT_TABLE_BYTES
from isa.target import Target
from passes.decomposition.weight_form import WeightForm
from passes.layers.convolution import (
    ConvConstants,
    Int8ConvolutionKind,
    LoadWeightsRule,
    Stages,
    channels_tile,
    input_fields,
    partial_sums,
    whole_groups,
)
from passes.layers.requantise import RequantRule
from passes.tiling.cost import group_choices
from passes.tiling.geometry import Span, window_span
from passes.tiling.layer_kind import TileRule
from passes.tiling.layer_to_instructions import LayerLowering
from passes.tiling.loop_nest import Indices, span
from passes.tiling.loop_nest_builder import Emit, LoopNestBuilder, Part
from passes.tiling.problem import Computed, ComputeTile, TilingProblem, WeightStream, Workload


@dataclass(frozen=True)
class DenseWork(Workload):
    """Every slice of a block multiplies for the same output value. `packed`: bytes in DRAM of a weight; `nonzeros`:
    share of weights that are not zero. Schedules do not depend on these two.
    """

    packed: float = 1.0
    nonzeros: float = 1.0

    name = "dense"
    accumulates = True
    reads_all_channels = True
    takes_window_in_parts = True

    def splits_input_channels(self, p: TilingProblem) -> bool:
        return p.kpg == p.k

    def weight_bytes(self, p: TilingProblem, channels: Number, depth: Number, target: Target) -> Number:
        return channels * p.taps * depth

    def weight_stream(self, p: TilingProblem, channels: int, depth: int, target: Target) -> WeightStream:
        count = channels * p.taps * depth
        if self.packed >= 1.0:
            return super().weight_stream(p, channels, depth, target)
        size = round(count * self.packed)
        cycles = load_weights.cycles({"size": size, "count": count}, target, round(count * self.nonzeros))
        return WeightStream(size, cycles, WEIGHT_TABLE_BYTES)

    def row_groups(self, rows: int, target: Target) -> Collection[int]:
        return group_choices(target.array.blocks, rows)

    def compute_cycles(self, p: TilingProblem, tile: ComputeTile, target: Target) -> Number:
        r, s = p.kernel
        fields = {"oh": tile.rows, "ow": tile.columns, "kn": tile.channels, "groups": tile.groups}
        return most_cycles({**fields, "r": r, "s": s, "cpg": tile.depth}, target)

    def expected_cycles(self, p: TilingProblem, tile: ComputeTile, y: Span, x: Span, target: Target) -> Computed:
        (r, s), (sy, sx), (pt, pl) = p.kernel, p.strides, p.pads
        rows, columns = window_span(y, r, sy, pt, p.h), window_span(x, s, sx, pl, p.w)
        fields = {
            "oh": y.extent,
            "ow": x.extent,
            "kn": tile.channels,
            "groups": tile.groups,
            "ih": rows.extent,
            "iw": columns.extent,
            "r": r,
            "s": s,
            "sy": sy,
            "sx": sx,
            "pt": rows.first - (y.first * sy - pt),
            "pl": columns.first - (x.first * sx - pl),
            "cpg": tile.depth,
        }
        return Computed(float(cycles(fields, target)))


class ConvRule(TileRule):
    """`conv.dense` of a PSUM tile."""

    operation = compute.ConvOp

    def lower(self, layer: LayerLowering, op: compute.ConvOp, at: Indices) -> None:
        act, act_address = layer.held(op.act)
        weights, coef = layer.held(op.coef)
        c = span(at, op.c, op.depth)
        first = c.first == 0 and op.accumulate is None
        kpg, cpg = op.kpg.value.data, op.cpg.value.data
        part, psum = partial_sums(layer, op, at, first, c, cpg)
        if weights.c != c:
            raise layer.fault("a convolution and its weights name different input channels")
        layer.require_covered(weights.k, part.k, "weights of channels")
        groups = whole_groups(layer, part.k, kpg)
        channel = groups.first * cpg + c.first
        if groups.extent > 1 and c.extent != cpg:
            raise layer.fault("a convolution of several groups must take whole ones")
        r, s = ints(op.kernel)
        layer.emit(
            "conv.dense",
            **input_fields(layer, op, act, act_address, part, Span(channel, (groups.extent - 1) * cpg + c.extent)),
            **psum,
            coef=coef + (part.k.first - weights.k.first) * r * s * c.extent,
            cpg=c.extent,
            kpg=kpg if groups.extent > 1 else part.k.extent,
            accumulate=int(not first),
            groups=op.row_groups.value.data,
        )


class DenseKind(Int8ConvolutionKind):
    """A convolution with int8 weights, but for depthwise ones."""

    name = DenseWork.name
    depthwise = False
    rules = (LoadWeightsRule(), ConvRule(), RequantRule())

    def work(self, constants: ConvConstants, density: float, target: Target) -> Workload:
        return DenseWork()

    def work_with_data(
        self, work: Workload, constants: ConvConstants, packed: float, density: float, target: Target
    ) -> Workload:
        assert isinstance(work, DenseWork)
        weight = constants.weight
        return replace(work, packed=packed, nonzeros=np.count_nonzero(weight) / max(1, weight.size))

    def form_constants(self, form: WeightForm) -> tuple[NDArray[np.generic], Sequence[NDArray[np.generic]]]:
        return form.integer_weights.astype(np.int8), ()

    def compute(
        self, build: LoopNestBuilder, stages: Stages, resident: Sequence[SSAValue], part: Part, further: bool
    ) -> Emit:
        p, groups = build.problem, build.tiling.row_groups
        return lambda at: [compute.ConvOp(channels_tile(build, part, at), p.kpg, p.cpg, groups, further)]


KIND = DenseKind()
