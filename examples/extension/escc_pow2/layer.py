"""The layer kind `pow2`: a dense convolution whose weights reach COEF through `load.pow2`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from dialects import esc
from escc_pow2.codes import pack, packed_bytes
from escc_pow2.dialect import LoadPow2Op, Pow2ConvOp
from escc_pow2.load_pow2 import CODES_PER_CYCLE, cycles
from isa.integers import Number, most
from isa.target import Target
from passes.layers.convolution import ConvConstants, Stages, dense_faults
from passes.layers.dense import ConvRule, DenseKind, DenseWork
from passes.layers.requantise import RequantRule
from passes.tiling.layer_kind import ConstantRule, Packed, Transfer
from passes.tiling.layer_to_instructions import HeldRegion, LayerLowering
from passes.tiling.loop_nest import Indices, span
from passes.tiling.loop_nest_builder import Emit, LoopNestBuilder
from passes.tiling.problem import Tiling, TilingProblem, WeightStream, Workload


class Pow2Work(DenseWork):
    """The multiplications are those of a dense convolution; the weights are half as many bytes in DRAM."""

    name = "pow2"

    def weight_load_cycles(self, p: TilingProblem, t: Tiling, target: Target, bandwidth: float) -> Number:
        count = self.weight_bytes(p, t.weights, t.depth, target)
        return most(count / 2 / bandwidth, count / CODES_PER_CYCLE)

    def weight_stream(self, p: TilingProblem, channels: int, depth: int, target: Target) -> WeightStream:
        count = self.weight_bytes(p, channels, depth, target)
        return WeightStream(packed_bytes(count), cycles({"count": count}, target))


class LoadPow2Rule(ConstantRule):
    """`load.pow2`; the coding of a transfer is its number of weights."""

    operation = LoadPow2Op
    axes = (0, 3)

    def transfer(self, op: LoadPow2Op, at: Indices) -> tuple[str, Transfer]:
        return op.constant.string_value(), Transfer(span(at, op.k, op.channels), span(at, op.c, op.depth))

    def pack(self, value: NDArray[np.generic], transfers: Sequence[Transfer]) -> Packed:
        parts = [value[t.k.first : t.k.end, :, :, t.c.first : t.c.end].astype(np.int8) for t in transfers]
        return Packed(b"", [(pack(part), part.size) for part in parts])

    def lower(self, layer: LayerLowering, op: LoadPow2Op, at: Indices) -> None:
        region = HeldRegion(op.constant.string_value(), k=span(at, op.k, op.channels), c=span(at, op.c, op.depth))
        address, _, count = layer.piece(op.constant, region.k.first, region.c.first)
        layer.require_room(op.buffer, count)
        state = layer.states[op.buffer]
        if state.fill(region):
            layer.emit("load.pow2", dram=address, count=count, dst=state.address)


class Pow2Kind(DenseKind):
    """A convolution of weights that are powers of two."""

    name = Pow2Work.name
    rules = (LoadPow2Rule(), ConvRule(), RequantRule())

    def faults(self, op: esc.EscOp, target: Target) -> Iterator[str]:
        return dense_faults(op, op.weight.array.shape[3], target) if isinstance(op, Pow2ConvOp) else iter(())

    def stages(self, op: esc.RequantizeOp) -> Stages | None:
        conv = op.input.owner
        return Stages([conv], conv, conv.kernel, 1, conv.weight) if isinstance(conv, Pow2ConvOp) else None

    def work(self, constants: ConvConstants, density: float, target: Target) -> Workload:
        return Pow2Work()

    def load_weights(self, build: LoopNestBuilder, constant: str) -> Emit:
        t, buffer = build.tiling, build.buffer["weights"]
        return lambda at: [LoadPow2Op(buffer, constant, build.channel_range(t.weights, at), at["c"])]


KIND = Pow2Kind()
