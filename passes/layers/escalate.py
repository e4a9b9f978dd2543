"""The layer kind `escalate`: decomposed convolutions, coefficients before a few basis kernels."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count, islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from xdsl.ir import SSAValue

from dialects import esc
from dialects.attributes import ints
from dialects.bfs import ResidentOp
from dialects.bfs_escalate import ConvEscOp
from dialects.bfs_tiles import LoadCoefficientsOp, LoadTileOp
from dialects.esc_decomposed import BasisConv2dOp, CoeffCombineOp
from isa.coefficients import StreamCode, measure_streams, pack_streams, stream_bits, stream_bytes, stream_code
from isa.elementary import sigmoid
from isa.instructions import load_coef
from isa.instructions.conv_esc import register_room, registers, working_slices
from isa.integers import Number, by_value, ceil_div, distinct, least, most
from isa.layout import requant_block_bytes
from isa.levels import greatest_level
from isa.target import Array, Target
from passes.decomposition.ternary_basis import TernaryBasis
from passes.decomposition.weight_form import WeightForm
from passes.layers.convolution import ConvConstants, ConvolutionKind, Stages, input_fields, partial_sums
from passes.layers.requantise import RequantRule
from passes.tiling.cost import group_choices
from passes.tiling.geometry import Span, balanced, coverage, steps
from passes.tiling.layer_kind import ConstantRule, Packed, TileRule, Transfer
from passes.tiling.layer_to_instructions import HeldRegion, LayerLowering
from passes.tiling.limits import room_faults, window_faults
from passes.tiling.loop_nest import Indices, span
from passes.tiling.loop_nest_builder import Emit, LoopNestBuilder, Part
from passes.tiling.problem import Computed, ComputeTile, TilingProblem, WeightStream, Workload

F = NDArray[np.float64]


def _below(x: F) -> F:
    """The normal distribution function, to three digits."""
    return sigmoid(x * (1.5976 + 0.070565992 * x * x))


_SHARED = (-1.534, -0.887, -0.489, -0.157, 0.157, 0.489, 0.887, 1.534)
"""The middles of eight equally probable parts of the normal distribution: what the slices of an item have in common."""


class Marks(NamedTuple):
    """Coefficients of items.

    `each` int64 [items, slices]: those that a slice combines. `shared` float64 [items]: the share of them that another
    slice of the item has for the same channel, and so for the same activation.
    """

    each: NDArray[np.int64]
    shared: F

    @classmethod
    def of(cls, some: NDArray[np.bool_]) -> Marks:
        """The marks of bitmaps [items, slices, C]."""
        each = np.count_nonzero(some, axis=2)
        beside = np.count_nonzero(some, axis=1)
        pairs = (beside * (beside - 1)).sum(axis=1)
        return cls(each, pairs / np.maximum(each.sum(axis=1) * (some.shape[1] - 1), 1))


def slowest_slice(marks: Marks, density: float, lanes: int, ahead: int) -> Iterator[F]:
    """Expected cycles [items] of items, for items that take at least 0, 1, 2 and more cycles.

    A coefficient meets an activation with probability `density`. An item takes as long as the slowest of its slices,
    but slices may be `ahead` items apart: so what one of them takes beyond the mean of the slowest counts once in so
    many items and one more.
    """
    mean = marks.each * density
    deviation = np.sqrt(mean * (1 - density))
    common, own = np.sqrt(marks.shared)[:, None] * deviation, np.sqrt(1 - marks.shared)[:, None] * deviation
    most = ceil_div(int(marks.each.max(initial=0)), lanes)
    slice_beyond = np.zeros((most, *mean.shape))  # [n]: share of the items in which a slice takes more than n cycles
    item_beyond = np.zeros((most, len(mean)))  # and in which some slice does
    for n in range(most):
        for shift in _SHARED:
            room = n * lanes + 0.5 - mean - shift * common  # matches that still fit n cycles
            fits = np.where(own > 0, _below(room / np.maximum(own, 1e-9)), room > 0)
            slice_beyond[n] += (1 - fits) / len(_SHARED)
            item_beyond[n] += (1 - fits.prod(axis=1)) / len(_SHARED)
    steady = slice_beyond.sum(axis=0).max(axis=1)
    for floor in count():
        pace = np.maximum(steady, floor)
        yield pace + np.maximum(floor + item_beyond[floor:].sum(axis=0) - pace, 0) / (1 + ahead)


@dataclass(frozen=True)
class RoundCycles:
    """Expected cycles of the items of a round, were there a block for each: `items[n]` where they take at least the n
    cycles of the bus or of the MAC rows. `taps`: the most taps of a basis that are not zero.
    """

    taps: int
    items: tuple[tuple[float, ...], ...]
    _means: dict[tuple[int, int], NDArray[np.float64]] = field(
        default_factory=dict[tuple[int, int], NDArray[np.float64]], compare=False, repr=False
    )

    def paces(self, products: int, macs: int, blocks: int) -> NDArray[np.float64]:
        """Cycles of an item of so many products of a MAC row of `macs` multipliers, by the number of blocks, from 1 to
        `blocks`, of which it is the slowest. Entry 0 stands for nothing.

        Of `macs` items each takes a cycle more as often as there are products in the last cycle of one.
        """
        least_cycles, rest = divmod(products, macs)
        slow = self._slowest(least_cycles, blocks)
        return slow + (self._slowest(least_cycles + 1, blocks) - slow) * rest / macs if rest else slow

    def _slowest(self, least_cycles: int, blocks: int) -> NDArray[np.float64]:
        """Mean, over the passes, of the cycles of an item in the slowest block, by their number."""
        key = (min(least_cycles, len(self.items) - 1), blocks)
        if key not in self._means:  # a search asks for the same ones again and again
            items = np.array(self.items[key[0]])
            means = [np.maximum.reduceat(items, np.arange(0, items.size, n)).mean() for n in range(1, blocks + 1)]
            self._means[key] = np.array([np.nan, *means])
        return self._means[key]


def round_cycles(constants: ConvConstants, density: float, array: Array, slices: int) -> Iterator[RoundCycles]:
    """Every round of coefficients T[K][V][C] and bases [V, R, S]; a block takes as many output channels at a time as
    its `slices` have room for.
    """
    t, (bases, *_) = np.asarray(constants.weight) != 0, constants.resident
    k, v, _ = t.shape
    broadcast = ceil_div(ceil_div(t.shape[2], array.chunk), array.broadcast_chunks)
    together = max(1, slices // v)
    padded = np.concatenate([t, np.zeros((-k % together, *t.shape[1:]), np.bool_)])
    for first in range(0, v, slices):
        part = slice(first, first + slices)
        marks = Marks.of(padded[:, part].reshape(ceil_div(k, together), -1, t.shape[2]))
        taps = int(np.count_nonzero(bases[part], axis=(1, 2)).max())
        floors = max(broadcast, ceil_div(taps, array.macs)) + 1
        cycles = list(islice(slowest_slice(marks, density, array.ca_lanes, array.ic_fifo_depth), floors))
        yield RoundCycles(taps, tuple(tuple(cycles[max(broadcast, n)].tolist()) for n in range(floors)))


def expansion_cycles(t: NDArray[np.generic], array: Array) -> float:
    """Mean cycles in which a block expands the coefficients T[K][V][C] of an output channel."""
    k, v, c = t.shape
    padded = np.zeros((k, v, ceil_div(c, array.chunk) * array.chunk), np.int64)
    padded[:, :, :c] = np.asarray(t) != 0
    marks: NDArray[np.int64] = padded.reshape(k, -1, array.chunk).sum(axis=2)
    return float((-(-marks // array.expand_rate)).sum(axis=1).mean())


class _Cycles(NamedTuple):
    """`Computed`, of one tile or of many."""

    cycles: Number
    expansion: Number
    released: Number


@dataclass(frozen=True)
class EscalateWork(Workload):
    """`v` bases, taken by `slices` at a time in `rounds`; `expansion`: mean cycles in which a block expands an output
    channel; `ends`: bits of the streams of the coefficients up to each output channel.
    """

    v: int
    slices: int
    rounds: tuple[RoundCycles, ...]
    expansion: float
    ends: tuple[int, ...]
    _feeds: dict[tuple[int, int], float] = field(
        default_factory=dict[tuple[int, int], float], compare=False, repr=False
    )
    _widths: dict[int, int] = field(default_factory=dict[int, int], compare=False, repr=False)

    name = "escalate"
    accumulates = True
    reads_all_channels = True

    @classmethod
    def of(cls, constants: ConvConstants, density: float, target: Target) -> EscalateWork:
        """The work of coefficients and bases on activations of a density."""
        t = np.asarray(constants.weight, np.int8)
        _, v, c = t.shape
        slices = working_slices(c, greatest_level(t), target)
        rounds = tuple(round_cycles(constants, density, target.array, slices))
        ends = np.cumsum(stream_bits(t))
        return cls(v, slices, rounds, expansion_cycles(t, target.array), tuple(ends.tolist()))

    @property
    def together(self) -> int:
        """Output channels that share a block."""
        return max(1, self.slices // self.v)

    def weight_bytes(self, p: TilingProblem, channels: Number, depth: Number, target: Target) -> Number:
        return by_value(self._widest, channels)

    def _widest(self, channels: int) -> int:
        """The most bytes of the streams of so many neighbouring output channels."""
        channels = min(channels, len(self.ends))
        if channels not in self._widths:
            ends = np.array((0, *self.ends), np.int64)
            self._widths[channels] = ceil_div(int((ends[channels:] - ends[: ends.size - channels]).max()), 8)
        return self._widths[channels]

    def weight_stream(self, p: TilingProblem, channels: int, depth: int, target: Target) -> WeightStream:
        size = max(1, round(channels * self.ends[-1] / len(self.ends) / 8))
        return WeightStream(size, load_coef.cycles({"size": size}, target))

    def psum_channels(self, p: TilingProblem, channels: int, target: Target) -> set[int]:
        slots = target.array.blocks * self.together
        wanted = {slots, 2 * slots, ceil_div(channels, 2), ceil_div(channels, 3)}
        each = self._widest(1)
        for room in (target.scratchpad.coef // 2 // each, target.scratchpad.coef // each):
            wanted |= {balanced(channels, room), next((n for n in range(room, 1, -1) if channels % n == 0), 1)}
        return wanted

    def row_groups(self, rows: int, target: Target) -> Collection[int]:
        return group_choices(target.array.blocks, rows)

    def compute_cycles(self, p: TilingProblem, tile: ComputeTile, target: Target) -> Number:
        """Those of an instruction among others like it, the one before hiding a part of the first expansion."""
        share = ceil_div(tile.rows, tile.groups)
        rows, columns = (_covered(p, axis, n) for axis, n in enumerate((share, tile.columns)))
        positions = [(high * wide, many * often) for high, many in rows.items() for wide, often in columns.items()]
        found = self._cycles(p, positions, tile, target)
        return found.cycles + most(found.expansion - found.released, 0)

    def expected_cycles(self, p: TilingProblem, tile: ComputeTile, y: Span, x: Span, target: Target) -> Computed:
        share = ceil_div(y.extent, tile.groups)
        columns = coverage(x, p.kernel[1], p.strides[1], p.pads[1], p.w)
        groups = (coverage(rows, p.kernel[0], p.strides[0], p.pads[0], p.h) for rows in steps(y.first, y.extent, share))
        rows = max(groups, key=lambda covered: sum(covered.values()))
        positions = [(high * wide, many * often) for high, many in rows.items() for wide, often in columns.items()]
        found = self._cycles(p, positions, tile, target)
        return Computed(float(found.cycles), float(found.expansion), float(found.released))

    def _cycles(
        self, p: TilingProblem, positions: Sequence[tuple[int, Number]], tile: ComputeTile, target: Target
    ) -> _Cycles:
        """An instruction of which every step sends `positions` to the slowest row group: that many window taps read as
        many positions.

        The coefficients of the first step are expanded before it begins, those of any other while the step before it
        takes its positions.
        """
        a = target.array
        blocks = least(a.blocks // tile.groups, ceil_div(tile.channels, self.together))
        passes = ceil_div(tile.channels, a.blocks // tile.groups * self.together)
        feed = self.together * by_value(lambda groups: self._feed(groups, a.expand_bytes), tile.groups)
        rounds = len(self.rounds)
        steps = [self._step(each, p, positions, blocks, a) for each in self.rounds]
        # Each step lasts until the coefficients of the next one are there; none follow the last one.
        following = [most(blocks * feed, self._expansion((i + 1) % rounds)) for i in range(rounds)]
        lasting = [most(step, expanded) for step, expanded in zip(steps, following, strict=True)]
        cycles = a.issue_cycles + passes * sum(lasting) - (lasting[-1] - steps[-1])
        # In the second step all blocks expand at once, as in the first.
        second = (blocks - 1) * feed + most(feed, self._expansion(1 % rounds))
        cycles = cycles + (passes * rounds > 1) * most(second - lasting[0], 0)
        return _Cycles(cycles, (blocks - 1) * feed + most(feed, self._expansion(0)), steps[-1])

    def _feed(self, groups: int, expand_bytes: int) -> float:
        """Mean cycles in which COEF feeds a block of one of so many row groups an output channel of a round."""
        key = (groups, expand_bytes)
        if key not in self._feeds:
            bits = np.diff(np.array((0, *self.ends), np.int64))
            share = -(-bits * groups // (8 * expand_bytes * len(self.rounds)))
            self._feeds[key] = float(np.maximum(share, 1).mean())
        return self._feeds[key]

    def _expansion(self, number: int) -> float:
        """Mean cycles in which a block expands what it takes in a round."""
        width = min(self.v, (number + 1) * self.slices) - number * self.slices
        return self.together * self.expansion * width / self.v

    def _step(
        self,
        each: RoundCycles,
        p: TilingProblem,
        positions: Sequence[tuple[int, Number]],
        blocks: Number,
        array: Array,
    ) -> Number:
        """Cycles of a step of a round, without expansion."""
        counts: dict[int, Number] = {}
        for taps, often in positions:
            products = ceil_div(taps * each.taps, p.taps)
            counts[products] = counts.get(products, 0) + often
        cycles: Number = 0
        for products, often in counts.items():
            cycles = cycles + often * each.paces(products, array.macs, array.blocks)[blocks]
        return cycles


def _covered(p: TilingProblem, axis: int, outputs: Number) -> Mapping[int, Number]:
    """How many rows (axis 0) or columns of a tile so many outputs read through 1, 2, ... window taps; where the tile
    holds them all, those that pads stand for are the ones with the fewest taps.
    """
    kernel, stride, size = p.kernel[axis], p.strides[axis], (p.h, p.w)[axis]

    def positions(outputs: int, taps: int) -> int:
        counts = _interior(outputs, kernel, stride)
        beyond = max(0, sum(counts.values()) - size) - sum(counts.get(n, 0) for n in range(1, taps))
        return max(0, counts.get(taps, 0) - max(0, beyond))

    different = distinct(outputs)
    return {taps: by_value(lambda n, taps=taps: positions(n, taps), different) for taps in range(1, kernel + 1)}


@lru_cache(maxsize=4096)
def _interior(outputs: int, kernel: int, stride: int) -> Mapping[int, int]:
    """The coverage of so many outputs far from all borders."""
    return coverage(Span(0, outputs), kernel, stride, 0, outputs * stride + kernel)


def input_channels(layer: LayerLowering, op: ConvEscOp) -> int:
    """Channels of the tensor that a decomposed convolution reads."""
    for use in op.act.uses:
        if isinstance(use.operation, LoadTileOp):
            return layer.tensor(use.operation.tensor).extents[2]
    if isinstance(op.act.owner, ResidentOp):
        return layer.tensor(op.act.owner.tensor).extents[2]
    raise layer.fault("a convolution reads a tile that nothing loads")


class LoadCoefficientsRule(ConstantRule):
    """`load.coef` of the streams of some output channels."""

    operation = LoadCoefficientsOp
    axes = (0, None)

    def transfer(self, op: LoadCoefficientsOp, at: Indices) -> tuple[str, Transfer]:
        return op.constant.string_value(), Transfer(span(at, op.k, op.channels), Span(0, 0))

    def packed_bytes(self, value: NDArray[np.generic], transfers: Sequence[Transfer]) -> int:
        sizes = stream_bits(np.asarray(value, np.int8))
        return sum(stream_bytes(sizes[t.k.first : t.k.end]) for t in transfers)

    def pack(self, value: NDArray[np.generic], transfers: Sequence[Transfer]) -> Packed:
        coefficients = np.asarray(value, np.int8)
        code = stream_code(coefficients)
        return Packed(b"", [(pack_streams(coefficients[t.k.first : t.k.end], code), code.coding) for t in transfers])

    def lower(self, layer: LayerLowering, op: LoadCoefficientsOp, at: Indices) -> None:
        k = span(at, op.k, op.channels)
        address, size, _ = layer.piece(op.constant, k.first, 0)
        layer.require_room(op.buffer, size)
        state = layer.states[op.buffer]
        if state.fill(HeldRegion(op.constant.string_value(), k=k)):
            layer.emit("load.coef", dram=address, size=size, coef=state.address)


@lru_cache(maxsize=64)
def _stream_ends(data: bytes, code: StreamCode, shape: tuple[int, int, int]) -> tuple[int, ...]:
    """The bits before each stream of a transfer of `shape`, (kn, v, c), and those of all."""
    return 0, *np.cumsum(measure_streams(data, code, shape)).tolist()


class ConvEscRule(TileRule):
    """`conv.esc` of a PSUM tile."""

    operation = ConvEscOp

    def lower(self, layer: LayerLowering, op: ConvEscOp, at: Indices) -> None:
        act, act_address = layer.held(op.act)
        coefficients, coef = layer.held(op.coef)
        basis = layer.held(op.basis)[1]
        part, psum = partial_sums(layer, op, at, first=True)
        layer.require_covered(coefficients.k, part.k, "coefficients of channels")
        data, coding = layer.piece_bytes(coefficients.source, coefficients.k.first, 0)
        channels = input_channels(layer, op)
        code = StreamCode.of(coding)
        ends = _stream_ends(data, code, (coefficients.k.extent, op.v.value.data, channels))
        before = part.k.first - coefficients.k.first
        first, end = ends[before], ends[before + part.k.extent]
        layer.emit(
            "conv.esc",
            **input_fields(layer, op, act, act_address, part, Span(0, channels)),
            **psum,
            coef=coef + first // 8,
            bit=first % 8,
            size=ceil_div(end, 8) - first // 8,
            v=op.v.value.data,
            basis=basis,
            ic_shift=op.ic_shift.value.data,
            groups=op.row_groups.value.data,
            level=code.level,
            common=code.common,
            count_bits=code.count_bits,
        )


def _coefficient_faults(op: CoeffCombineOp, target: Target) -> Iterator[str]:
    if op.ic_bits.value.data != target.array.ic_bits:
        yield f"ic_bits={op.ic_bits.value.data}; requires {target.array.ic_bits} of target '{target.name}'"
    t, pads = np.asarray(op.coefficients.array, np.int8), target.scratchpad
    _, v, c = t.shape
    if op.level > (most_level := target.array.coefficient_level):
        yield f"coefficients of magnitude {op.level}; requires at most {most_level} of target '{target.name}'"
    if working_slices(c, op.level, target) == 0:
        yield (
            f"{c} input channels take {registers(c, target)} coefficient registers of a block; target "
            f"'{target.name}' has {register_room(op.level, target)} for magnitudes up to {op.level}"
        )
    needs = [("coefficients of one channel", ceil_div(int(stream_bits(t).max(initial=0)), 8), pads.coef)]
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

    def work(self, constants: ConvConstants, density: float, target: Target) -> Workload:
        return EscalateWork.of(constants, density, target)

    def work_with_data(
        self, work: Workload, constants: ConvConstants, packed: float, density: float, target: Target
    ) -> Workload:
        return EscalateWork.of(constants, density, target)

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
        return lambda at: [ConvEscOp(psum, act, coef, basis, at["py"], at["x"], at["pk"], *window, v, ic_shift, groups)]


KIND = EscalateKind()
