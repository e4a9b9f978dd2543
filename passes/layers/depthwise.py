"""The layer kind `depthwise`: convolutions whose groups have one input channel each, on the MAC rows."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import SSAValue

from dialects import bfs_compute as compute
from dialects.attributes import ints
from isa.instructions.conv_dw import cycles
from isa.integers import Number
from isa.target import Target
from passes.layers.convolution import (
    ConvConstants,
    Int8ConvolutionKind,
    LoadWeightsRule,
    Stages,
    input_fields,
    partial_sums,
    whole_groups,
)
from passes.layers.requantise import RequantRule
from passes.tiling.layer_kind import TileRule
from passes.tiling.layer_to_instructions import LayerLowering
from passes.tiling.loop_nest import Indices
from passes.tiling.loop_nest_builder import Emit, LoopNestBuilder, Part
from passes.tiling.problem import ComputeTile, TilingProblem, Workload


class DepthwiseWork(Workload):
    """Every MAC row multiplies for an output value of its own."""

    name = "depthwise"
    accumulates = True
    takes_window_in_parts = True

    def weight_bytes(self, p: TilingProblem, channels: Number, depth: Number, target: Target) -> Number:
        return channels * p.taps

    def compute_cycles(self, p: TilingProblem, tile: ComputeTile, target: Target) -> Number:
        r, s = p.kernel
        return cycles({"oh": tile.rows, "ow": tile.columns, "kn": tile.channels, "r": r, "s": s}, target)


class ConvDwRule(TileRule):
    """`conv.dw` of a PSUM tile."""

    operation = compute.ConvDwOp

    def lower(self, layer: LayerLowering, op: compute.ConvDwOp, at: Indices) -> None:
        act, act_address = layer.held(op.act)
        weights, coef = layer.held(op.coef)
        part, psum = partial_sums(layer, op, at, first=op.accumulate is None)
        layer.require_covered(weights.k, part.k, "weights of channels")
        kpg = op.kpg.value.data
        channels = whole_groups(layer, part.k, kpg)
        r, s = ints(op.kernel)
        layer.emit(
            "conv.dw",
            **input_fields(layer, op, act, act_address, part, channels),
            **psum,
            coef=coef + (part.k.first - weights.k.first) * r * s,
            kpg=kpg if channels.extent > 1 else part.k.extent,
            accumulate=int(op.accumulate is not None),
        )


class DepthwiseKind(Int8ConvolutionKind):
    """A convolution with as many groups as input channels, of which it has several."""

    name = DepthwiseWork.name
    depthwise = True
    rules = (LoadWeightsRule(), ConvDwRule(), RequantRule())

    def work(self, constants: ConvConstants, density: float, target: Target) -> Workload:
        return DepthwiseWork()

    def compute(
        self, build: LoopNestBuilder, stages: Stages, resident: Sequence[SSAValue], part: Part, further: bool
    ) -> Emit:
        p, buffer = build.problem, build.buffer
        psum, act, coef = buffer["psum"], build.source_buffer(), buffer["weights"]
        window = (part.kernel, p.strides, part.pads)
        return lambda at: [compute.ConvDwOp(psum, act, coef, at["py"], at["x"], at["pk"], *window, p.kpg, further)]


KIND = DepthwiseKind()
