"""The layer kind `escalate`: decomposed convolutions, ternary coefficients before a few basis kernels."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from xdsl.ir import SSAValue

from dialects import bfs_compute as compute
from dialects import esc
from dialects.attributes import ints
from dialects.bfs_tiles import LoadCoefficientsOp, LoadTileOp
from dialects.esc_decomposed import BasisConv2dOp, CoeffCombineOp
from isa.formats import TensorFormat
from isa.integers import Number, ceil_div, least, most
from isa.layout import RecordLayout, coefficient_bytes, requant_block_bytes
from isa.packing import best
from isa.target import Target
from passes.layers.convolution import ConvolutionKind, RequantRule, Stages, partial_sums, window_fields
from passes.tiling.cost import group_choices
from passes.tiling.declarations import DENSITY, DeclaredTensor
from passes.tiling.esc_op_to_layer import LayerTiler
from passes.tiling.geometry import Span, balanced
from passes.tiling.layer_kind import ConstantRule, Packed, TileRule, Transfer
from passes.tiling.layer_to_instructions import HeldRegion, LayerLowering
from passes.tiling.limits import room_faults, window_faults
from passes.tiling.loop_nest import Indices, span
from passes.tiling.loop_nest_builder import Emit, LoopNestBuilder, Part
from passes.tiling.problem import ComputeTile, Tiling, TilingProblem, Workload


def match_cycles(coefficients: NDArray[np.generic], density: float, chunk: int, lanes: int, slices: int) -> float:
    """Expected coefficient accumulator cycles of a round of int8 T[K][V][C]: those of the slowest of its slices, each
    of which takes a basis.
    """
    k, v, c = coefficients.shape
    padded = np.zeros((k * v, -(-c // chunk) * chunk), bool)
    padded[:, :c] = (np.asarray(coefficients) != 0).reshape(k * v, c)
    matches = padded.reshape(k * v, -1, chunk).sum(axis=2)
    cycles = np.where(matches > 0, np.maximum(1, np.ceil(matches * density / lanes)), 0).sum(axis=1).reshape(k, v)
    rounds = [cycles[:, i : i + slices].max(axis=1) for i in range(0, v, slices)]
    return float(np.mean(rounds))


@dataclass(frozen=True)
class EscalateWork(Workload):
    """`v` bases; `match_cycles`: mean coefficient accumulator cycles of one intermediate value; `density`: share of
    non-zero coefficients.
    """

    v: int
    match_cycles: float
    density: float

    name = "escalate"
    accumulates = True
    reads_all_channels = True

    def weight_bytes(self, p: TilingProblem, channels: Number, depth: Number, target: Target) -> Number:
        return coefficient_bytes(channels, self.v, p.cpg, target.array.chunk)

    def weight_load_cycles(self, p: TilingProblem, t: Tiling, target: Target, bandwidth: float) -> Number:
        count = t.weights * self.v * p.cpg
        packed = count * min(0.25, 0.02 + 0.6 * self.density)
        return most(packed / bandwidth, count / target.dma.decode_coefficients)

    def psum_channels(self, p: TilingProblem, channels: int, target: Target) -> set[int]:
        slots = target.array.blocks * max(1, target.array.slices // self.v)
        wanted = {slots, 2 * slots, ceil_div(channels, 2), ceil_div(channels, 3)}
        each = coefficient_bytes(1, self.v, p.cpg, target.array.chunk)
        for room in (target.scratchpad.coef // 2 // each, target.scratchpad.coef // each):
            wanted |= {balanced(channels, room), next((n for n in range(room, 1, -1) if channels % n == 0), 1)}
        return wanted

    def row_groups(self, rows: int, target: Target) -> Collection[int]:
        return group_choices(target.array.blocks, rows)

    def compute_cycles(self, p: TilingProblem, tile: ComputeTile, target: Target) -> Number:
        a = target.array
        share = ceil_div(tile.rows, tile.groups)
        slots = a.blocks // tile.groups * max(1, a.slices // self.v)
        items = ceil_div(tile.channels, slots) * ceil_div(self.v, a.slices)
        taps = [min(k, k if s == 1 else ceil_div(k, s)) for k, s in zip(p.kernel, p.strides, strict=True)]
        cycles = max(self.match_cycles, ceil_div(taps[0] * taps[1], a.macs))
        high, wide = share, tile.columns
        if p.kernel != (1, 1):
            high = least(p.h, (share - 1) * p.strides[0] + p.kernel[0])
            wide = least(p.w, (tile.columns - 1) * p.strides[1] + p.kernel[1])
        broadcast = ceil_div(ceil_div(p.cpg, a.chunk), a.broadcast_chunks)
        return a.issue_cycles + high * wide * most(broadcast, items * cycles)


def input_channels(layer: LayerLowering, op: compute.ConvEscOp) -> int:
    """Channels of the tensor that a decomposed convolution reads."""
    for use in op.act.uses:
        if isinstance(use.operation, LoadTileOp):
            return layer.tensor(use.operation.tensor).extents[2]
    raise layer.fault("a convolution reads a tile that nothing loads")


class LoadCoefficientsRule(ConstantRule):
    """`load.coef` of ternary coefficients, each transfer in its smallest format; the coding names that."""

    operation = LoadCoefficientsOp
    axes = (0, None)

    def transfer(self, op: LoadCoefficientsOp, at: Indices) -> tuple[str, Transfer]:
        return op.constant.string_value(), Transfer(span(at, op.k, op.channels), Span(0, 0))

    def pack(self, value: NDArray[np.generic], transfers: Sequence[Transfer]) -> Packed:
        pieces: list[tuple[bytes, int]] = []
        for t in transfers:
            coding, data = best(np.asarray(value[t.k.first : t.k.end], np.int8))
            pieces.append((data, int(coding)))
        return Packed(b"", pieces)

    def lower(self, layer: LayerLowering, op: LoadCoefficientsOp, at: Indices) -> None:
        k = span(at, op.k, op.channels)
        convolution = next(
            (use.operation for use in op.buffer.uses if isinstance(use.operation, compute.ConvEscOp)), None
        )
        if convolution is None:
            raise layer.fault("coefficients are loaded that no convolution reads")
        v = convolution.v.value.data
        address, size, coding = layer.piece(op.constant, k.first, 0)
        channels = input_channels(layer, convolution)
        layer.require_room(op.buffer, coefficient_bytes(k.extent, v, channels, layer.chunk))
        state = layer.states[op.buffer]
        if state.fill(HeldRegion(op.constant.string_value(), k=k)):
            layer.emit(
                "load.coef",
                dram=address,
                size=size,
                coding=coding,
                kn=k.extent,
                v=v,
                c=channels,
                coef=state.address,
            )


class ConvEscRule(TileRule):
    """`conv.esc` of a PSUM tile."""

    operation = compute.ConvEscOp

    def lower(self, layer: LayerLowering, op: compute.ConvEscOp, at: Indices) -> None:
        act, act_address = layer.held(op.act)
        coefficients, coef = layer.held(op.coef)
        basis = layer.held(op.basis)[1]
        part, psum = partial_sums(layer, op, at, first=True)
        layer.require_covered(coefficients.k, part.k, "coefficients of channels")
        layer.require_covered(act.c, Span(0, input_channels(layer, op)), "input channels")
        v = op.v.value.data
        layer.emit(
            "conv.esc",
            **layer.act_fields(act, act_address),
            **window_fields(layer, op, act, part),
            **psum,
            coef=coef + (part.k.first - coefficients.k.first) * coefficient_bytes(1, v, act.c.extent, layer.chunk),
            v=v,
            basis=basis,
            ic_shift=op.ic_shift.value.data,
            groups=op.row_groups.value.data,
        )


def _coefficient_faults(op: CoeffCombineOp, target: Target) -> Iterator[str]:
    if op.ic_bits.value.data != target.array.ic_bits:
        yield f"ic_bits={op.ic_bits.value.data}; requires {target.array.ic_bits} of target '{target.name}'"
    (_, v, c), chunk, pads = op.coefficients.array.shape, target.array.chunk, target.scratchpad
    needs = [("coefficients of one channel", coefficient_bytes(1, v, c, chunk), pads.coef)]
    if (second := op.basis_stage) is not None:
        r, s = second.kernel
        needs += [
            ("input of one window", RecordLayout(c, chunk).tile_bytes(r, s), pads.act),
            ("bases and parameters", v * r * s + requant_block_bytes(1), pads.par),
        ]
    yield from room_faults(target, needs)


class EscalateKind(ConvolutionKind):
    """`esc.coeff_combine` and the `esc.basis_conv2d` that alone reads it."""

    name = EscalateWork.name
    rules = (LoadCoefficientsRule(), ConvEscRule(), RequantRule())

    def faults(self, op: esc.EscOp, target: Target) -> Iterator[str]:
        if isinstance(op, BasisConv2dOp):
            yield from window_faults("conv.esc", op.kernel, ints(op.strides), ints(op.pads))
        elif isinstance(op, CoeffCombineOp):
            yield from _coefficient_faults(op, target)

    def stages(self, op: esc.RequantizeOp) -> Stages | None:
        second = op.input.owner
        if not isinstance(second, BasisConv2dOp) or not isinstance(first := second.input.owner, CoeffCombineOp):
            return None
        _, r, s = second.basis.array.shape
        return Stages([first, second], second, (r, s), 1, first.coefficients, (second.basis,))

    def workload(self, stages: Stages, source: DeclaredTensor, tiler: LayerTiler) -> Workload:
        t = stages.weight.array
        share = 1.0 if source.format is TensorFormat.RAW else DENSITY
        array = tiler.target.array
        cycles = match_cycles(t, share, array.chunk, array.ca_lanes, array.slices)
        return EscalateWork(t.shape[1], cycles, float(np.count_nonzero(t)) / max(1, t.size))

    def load_weights(self, build: LoopNestBuilder, constant: str) -> Emit:
        t, buffer = build.tiling, build.buffer["weights"]
        return lambda at: [LoadCoefficientsOp(buffer, constant, build.channel_range(t.weights, at))]

    def compute(
        self, build: LoopNestBuilder, stages: Stages, resident: Sequence[SSAValue], part: Part, further: bool
    ) -> Emit:
        first = stages.operations[0]
        assert isinstance(first, CoeffCombineOp)
        ic_shift, (_, v, _) = first.ic_shift.value.data, first.coefficients.array.shape
        p, groups, buffer = build.problem, build.tiling.row_groups, build.buffer
        psum, act, coef, basis = buffer["psum"], buffer["act"], buffer["weights"], resident[0]
        window = (part.kernel, p.strides, part.pads)
        return lambda at: [
            compute.ConvEscOp(psum, act, coef, basis, at["py"], at["x"], at["pk"], *window, v, ic_shift, groups)
        ]


KIND = EscalateKind()
