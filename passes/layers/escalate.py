"""The layer kind `escalate`: decomposed convolutions, ternary coefficients before a few basis kernels."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from xdsl.ir import SSAValue

from dialects import bfs_compute as compute
from dialects import esc
from dialects.attributes import ints
from dialects.bfs import ResidentOp
from dialects.bfs_tiles import LoadCoefficientsOp, LoadTileOp
from dialects.esc_decomposed import BasisConv2dOp, CoeffCombineOp
from isa.instructions import conv_esc, load_coef
from isa.integers import Number, ceil_div, least, most
from isa.layout import coefficient_bytes, requant_block_bytes
from isa.packing import best, packed_size
from isa.target import Target
from passes.decomposition.ternary_basis import TernaryBasis
from passes.decomposition.weight_form import WeightForm
from passes.layers.convolution import ConvolutionKind, RequantRule, Stages, input_fields, partial_sums
from passes.tiling.cost import group_choices
from passes.tiling.geometry import Span, balanced, coverage, steps
from passes.tiling.layer_kind import ConstantRule, Packed, TileRule, Transfer
from passes.tiling.layer_to_instructions import HeldRegion, LayerLowering
from passes.tiling.limits import room_faults, window_faults
from passes.tiling.loop_nest import Indices, span
from passes.tiling.loop_nest_builder import Emit, LoopNestBuilder, Part
from passes.tiling.problem import ComputeTile, Tiling, TilingProblem, WeightStream, Workload


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


_LIKELY = (-1.7, -0.7, 0.0, 0.7, 1.7)
"""Standard deviations from the mean that stand for five equally likely parts of a normal distribution, about."""


def expected_items(
    coefficients: NDArray[np.generic], density: float, chunk: int, lanes: int, slices: int
) -> NDArray[np.float64]:
    """Expected cycles float64 [blocks, rounds] of the items of int8 T[K][V][C], where each channel of a position is not
    zero with probability `density`: an item takes as long as the slowest of its slices.

    All slices see the same position, so that they are slow together where it has few zeros.
    """
    k, v, c = coefficients.shape
    chunks = -(-c // chunk)
    padded = np.zeros((k, v, chunks * chunk), bool)
    padded[:, :, :c] = np.asarray(coefficients) != 0
    counts = padded.reshape(k, v, chunks, chunk).sum(axis=3)
    channels = min(c, chunk)
    deviation = math.sqrt(channels * density * (1 - density))
    seen = [round(min(max(channels * density + z * deviation, 0), channels)) for z in _LIKELY]
    return np.mean([_slowest_slices(counts, _cycle_shares(channels, n, lanes), slices) for n in seen], axis=0)


def _slowest_slices(counts: NDArray[np.int64], one: NDArray[np.float64], slices: int) -> NDArray[np.float64]:
    """Expected cycles [blocks, rounds] of items, for coefficients [K, V, chunks] in each chunk and the shares of
    `_cycle_shares`.
    """
    k, v, chunks = counts.shape
    shares = one[counts[:, :, 0]]
    for i in range(1, chunks):
        further, wider = one[counts[:, :, i]], np.zeros((k, v, shares.shape[2] + one.shape[1] - 1))
        for cycles in range(one.shape[1]):
            wider[:, :, cycles : cycles + shares.shape[2]] += shares * further[:, :, cycles : cycles + 1]
        shares = wider
    within = np.cumsum(shares, axis=2)
    together = max(1, slices // v)
    blocks = -(-k // together)
    rounds: list[NDArray[np.float64]] = []
    for i in range(0, v, slices):
        done = np.ones((blocks * together, within.shape[2]))
        done[:k] = within[:, i : i + slices].prod(axis=1)
        rounds.append((1 - done.reshape(blocks, together, -1).prod(axis=1)).sum(axis=1))
    return np.stack(rounds, axis=1)


@lru_cache(maxsize=64)
def _cycle_shares(channels: int, nonzeros: int, lanes: int) -> NDArray[np.float64]:
    """Probability [coefficients, cycles] that so many non-zero coefficients of a chunk keep an accumulator busy for so
    many cycles, where so many of the chunk's activations are not zero.
    """
    found = np.zeros((channels + 1, -(-channels // lanes) + 1))
    found[0, 0] = 1
    ways = math.comb(channels, nonzeros)
    for coefficients in range(1, channels + 1):
        for matches in range(max(0, coefficients + nonzeros - channels), min(coefficients, nonzeros) + 1):
            chosen = math.comb(coefficients, matches) * math.comb(channels - coefficients, nonzeros - matches)
            found[coefficients, max(1, -(-matches // lanes))] += chosen / ways
    return found


@dataclass(frozen=True)
class EscalateWork(Workload):
    """`v` bases; `match_cycles`: mean coefficient accumulator cycles of one intermediate value; `density`: share of
    non-zero coefficients.

    Schedules do not depend on the rest: `packed`, bytes in DRAM of a coefficient, and `item`, `spread` and `most`,
    mean, standard deviation and maximum over the blocks of the expected cycles of an item.
    """

    v: int
    match_cycles: float
    density: float
    packed: float = 0.25
    item: float = 0.0
    spread: float = 0.0
    most: float = math.inf

    name = "escalate"
    accumulates = True
    reads_all_channels = True

    def weight_bytes(self, p: TilingProblem, channels: Number, depth: Number, target: Target) -> Number:
        return coefficient_bytes(channels, self.v, p.cpg, target.array.chunk)

    def weight_load_cycles(self, p: TilingProblem, t: Tiling, target: Target, bandwidth: float) -> Number:
        count = t.weights * self.v * p.cpg
        packed = count * min(0.25, 0.02 + 0.6 * self.density)
        return most(packed / bandwidth, count / target.dma.decode_coefficients)

    def weight_stream(self, p: TilingProblem, channels: int, depth: int, target: Target) -> WeightStream:
        size = max(1, round(channels * self.v * p.cpg * self.packed))
        cycles = load_coef.cycles({"size": size, "kn": channels, "v": self.v, "c": p.cpg}, target)
        return WeightStream(size, cycles)

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

    def expected_cycles(self, p: TilingProblem, tile: ComputeTile, y: Span, x: Span, target: Target) -> float:
        share = ceil_div(y.extent, tile.groups)
        columns = coverage(x, p.kernel[1], p.strides[1], p.pads[1], p.w)
        groups = (coverage(rows, p.kernel[0], p.strides[0], p.pads[0], p.h) for rows in steps(y.first, y.extent, share))
        rows = max(groups, key=lambda covered: sum(covered.values()))
        positions: dict[int, int] = {}
        for high, many in rows.items():
            for wide, often in columns.items():
                positions[high * wide] = positions.get(high * wide, 0) + many * often
        fields = {"groups": tile.groups, "v": self.v, "kn": tile.channels, "ic": p.cpg}
        item = conv_esc.Item(self.item or self.match_cycles, self.spread, self.most)
        return conv_esc.expected_cycles(fields, target, item, positions)


def input_channels(layer: LayerLowering, op: compute.ConvEscOp) -> int:
    """Channels of the tensor that a decomposed convolution reads."""
    for use in op.act.uses:
        if isinstance(use.operation, LoadTileOp):
            return layer.tensor(use.operation.tensor).extents[2]
    if isinstance(op.act.owner, ResidentOp):
        return layer.tensor(op.act.owner.tensor).extents[2]
    raise layer.fault("a convolution reads a tile that nothing loads")


class LoadCoefficientsRule(ConstantRule):
    """`load.coef` of ternary coefficients, each transfer in its smallest format; the coding names that."""

    operation = LoadCoefficientsOp
    axes = (0, None)

    def transfer(self, op: LoadCoefficientsOp, at: Indices) -> tuple[str, Transfer]:
        return op.constant.string_value(), Transfer(span(at, op.k, op.channels), Span(0, 0))

    def packed_bytes(self, value: NDArray[np.generic], transfers: Sequence[Transfer]) -> int:
        return sum(packed_size(np.asarray(value[t.k.first : t.k.end], np.int8)) for t in transfers)

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
        v = op.v.value.data
        layer.emit(
            "conv.esc",
            **input_fields(layer, op, act, act_address, part, Span(0, input_channels(layer, op))),
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
    if op.level > (most := target.array.coefficient_level):
        yield f"coefficients of magnitude {op.level}; requires at most {most} of target '{target.name}'"
    needs = [("coefficients of one channel", coefficient_bytes(1, v, c, chunk), pads.coef)]
    if (second := op.basis_stage) is not None:
        r, s = second.kernel
        needs += [
            ("input of one window", r * s * c, pads.act),
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

    def work(self, weight: NDArray[np.generic], density: float, target: Target) -> Workload:
        array = target.array
        cycles = match_cycles(weight, density, array.chunk, array.ca_lanes, array.slices)
        return EscalateWork(weight.shape[1], cycles, float(np.count_nonzero(weight)) / max(1, weight.size))

    def work_with_data(
        self, work: Workload, weight: NDArray[np.generic], packed: float, density: float, target: Target
    ) -> Workload:
        assert isinstance(work, EscalateWork)
        array = target.array
        items = expected_items(weight, density, array.chunk, array.ca_lanes, array.slices)
        return replace(
            work, packed=packed, item=float(items.mean()), spread=float(items.std()), most=float(items.max())
        )

    def form_constants(self, form: WeightForm) -> tuple[NDArray[np.generic], Sequence[NDArray[np.generic]]]:
        if not isinstance(form, TernaryBasis):
            return super().form_constants(form)
        return form.coefficients, (form.basis,)

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
        psum, act, coef, basis = buffer["psum"], build.source_buffer(), buffer["weights"], resident[0]
        window = (part.kernel, p.strides, part.pads)
        return lambda at: [
            compute.ConvEscOp(psum, act, coef, basis, at["py"], at["x"], at["pk"], *window, v, ic_shift, groups)
        ]


KIND = EscalateKind()
