"""The layer kind `gather`: convolutions with sparse weights, whose activations `conv.gather` takes from banks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import SymbolRefAttr
from xdsl.ir import SSAValue

from dialects import esc
from dialects.bfs_gather import ConvGatherOp, LoadSparseOp
from dialects.esc_base import shape_of
from dialects.esc_gather import GatherConv2dOp
from isa.formats import Scratchpad
from isa.gather import Banking, Gathering, bank_loads, order_of, pack_gather
from isa.instructions import load_bytes
from isa.instructions.conv_gather import cycles, filling, lanes, set_cycles, window_room
from isa.integers import Number, by_value, choose, most
from isa.target import Target
from passes.decomposition.gather import Gathered
from passes.decomposition.weight_form import WeightForm
from passes.layers.convolution import (
    ConvConstants,
    ConvolutionKind,
    Stages,
    channels_tile,
    input_fields,
    partial_sums,
    weight_transfers,
)
from passes.layers.requantise import RequantRule
from passes.tiling.geometry import Span, steps
from passes.tiling.layer_kind import ConstantRule, Packed, TileRule, Transfer
from passes.tiling.layer_to_instructions import HeldRegion, LayerLowering
from passes.tiling.limits import room_faults, window_faults
from passes.tiling.loop_nest import Indices, span
from passes.tiling.loop_nest_builder import Emit, LoopNestBuilder, Part
from passes.tiling.problem import Computed, ComputeTile, Tiling, TilingProblem, WeightStream, Workload

_ALONE = Banking(1, 1, 0)
"""A weight a cycle."""
_FEWEST = 4
"""Output channels of a stream from which on its size is worked out exactly."""
_CHANNELS = 1 << 20
"""More than any layer has input channels."""


class SparseStreams(NamedTuple):
    """SparseStreams of a part of the weights: the most bytes of one, and the mean of bytes and of groups."""

    widest: int
    nbytes: float
    groups: float


def _pack(weights: NDArray[np.int8], part: Transfer, banking: Banking) -> tuple[bytes, int]:
    """The stream of a part of weights [K][R][S][C], and its groups."""
    _, r, s, c = weights.shape
    here = np.ascontiguousarray(weights[part.k.first : part.k.end, :, :, part.c.first : part.c.end])
    here = here.reshape(part.k.extent, r * s, part.c.extent)
    how = Gathering.of(banking.banks, banking.bundle, c, part.c.first)
    order = order_of(here, how, bool(banking.spread))
    groups = int(bank_loads(here if order is None else here[order], how).max(axis=1).sum())
    return pack_gather(here, how, order), groups


@lru_cache(maxsize=4096)
def _streams(
    weights: bytes, shape: tuple[int, int, int, int], banking: Banking, channels: int, depth: int
) -> SparseStreams:
    """The streams of all parts of so many output channels and input channels."""
    k, _, _, c = shape
    values = np.frombuffer(weights, np.int8).reshape(shape)
    parts = [Transfer(rows, deep) for rows in steps(0, k, channels) for deep in steps(0, c, depth)]
    packed = [_pack(values, part, banking) for part in parts]
    # The means are those of a whole part: the last ones of either axis may be smaller.
    share = k * c / (channels * depth)
    nbytes = [len(data) for data, _ in packed]
    return SparseStreams(max(nbytes), sum(nbytes) / share, sum(groups for _, groups in packed) / share)


class _GatherCycles(NamedTuple):
    """Cycles of an instruction, of its first windows before, and of a set of positions; of one tile or of many."""

    cycles: Number
    filling: Number
    set: Number


@dataclass(frozen=True)
class GatherWork(Workload):
    """Weights int8 [K][R][S][C] as bytes, and how the machine gathers. `exact`: also parts of a bundle are worked out,
    not estimated.
    """

    weights: bytes
    shape: tuple[int, int, int, int]
    banking: Banking
    exact: bool = False

    name = "gather"
    accumulates = True
    reads_all_channels = True

    def streams(self, channels: int, depth: int) -> SparseStreams:
        """Those of so many neighbouring output channels and input channels.

        The search takes fewer channels than a bundle to need as many groups, so that it cuts one only for good reasons:
        a pattern may have filled the banks of a whole one.
        """
        k, _, _, c = self.shape
        channels, depth = min(channels, k), min(depth, c)
        taken = max(channels, min(k, _FEWEST if self.exact else self.banking.bundle))
        found = _streams(self.weights, self.shape, self.banking, taken, depth)
        return found._replace(nbytes=found.nbytes * channels / taken)

    def _each(self, channels: Number, depth: Number, figure: str) -> Number:
        def of(key: int) -> float:
            return getattr(self.streams(*divmod(key, _CHANNELS)), figure)

        return by_value(of, channels * _CHANNELS + depth)

    def splits_input_channels(self, p: TilingProblem) -> bool:
        return True

    def weight_bytes(self, p: TilingProblem, channels: Number, depth: Number, target: Target) -> Number:
        widest = self._each(channels, depth, "widest")
        room = window_room(target)
        if p.taps * p.cpg <= room:
            return widest
        # The input channels are split so that a window fits the registers of a block: COEF stands for these.
        return most(widest, target.scratchpad.coef * p.taps * depth // room)

    def weight_load_cycles(self, p: TilingProblem, t: Tiling, target: Target, bandwidth: float) -> Number:
        # A stream is read from its beginning to its end: it holds the output channels of one PSUM tile.
        found = self._each(t.weights, t.depth, "nbytes") / bandwidth
        return choose(t.weights == t.psum_channels, found, math.inf)

    def weight_stream(self, p: TilingProblem, channels: int, depth: int, target: Target) -> WeightStream:
        size = max(1, round(self.streams(channels, depth).nbytes))
        return WeightStream(size, load_bytes.cycles({"size": size}, target))

    def psum_channels(self, p: TilingProblem, channels: int, target: Target) -> set[int]:
        bundle = self.banking.bundle
        return {bundle * n for n in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)}

    def compute_cycles(self, p: TilingProblem, tile: ComputeTile, target: Target) -> Number:
        """Those of an instruction among others like it, the one before hiding a part of the first windows."""
        found = self._cycles(p, tile, target)
        return found.cycles + most(found.filling - found.set, 0)

    def expected_cycles(self, p: TilingProblem, tile: ComputeTile, y: Span, x: Span, target: Target) -> Computed:
        found = self._cycles(p, tile, target)
        return Computed(float(found.cycles), float(found.filling), float(found.set))

    def _cycles(self, p: TilingProblem, tile: ComputeTile, target: Target) -> _GatherCycles:
        r, s = p.kernel
        fields = {"oh": tile.rows, "ow": tile.columns, "kn": tile.channels, "r": r, "s": s, "c": tile.depth}
        size, groups = (self._each(tile.channels, tile.depth, figure) for figure in ("nbytes", "groups"))
        v = {**fields, "size": size}
        return _GatherCycles(cycles(v, target, groups), filling(v, target), set_cycles(v, target, groups))


@dataclass(frozen=True)
class SparseTransfer(Transfer):
    """A part of sparse weights, and how the machine gathers."""

    banking: Banking = _ALONE


class LoadSparseRule(ConstantRule):
    """`load.bytes` of a stream."""

    operation = LoadSparseOp
    axes = (0, 3)

    def transfer(self, op: LoadSparseOp, at: Indices) -> tuple[str, Transfer]:
        part = SparseTransfer(span(at, op.k, op.channels), span(at, op.c, op.depth), banking=op.banking)
        return op.constant.string_value(), part

    def pack(self, value: NDArray[np.generic], transfers: Sequence[Transfer]) -> Packed:
        weights = np.asarray(value, np.int8)
        parts = [t for t in transfers if isinstance(t, SparseTransfer)]
        assert len(parts) == len(transfers)
        return Packed(b"", [(_pack(weights, part, part.banking)[0], 0) for part in parts])

    def lower(self, layer: LayerLowering, op: LoadSparseOp, at: Indices) -> None:
        region = HeldRegion(op.constant.string_value(), k=span(at, op.k, op.channels), c=span(at, op.c, op.depth))
        layer.load_bytes(op.buffer, region, op.constant, Scratchpad.COEF)


class ConvGatherRule(TileRule):
    """`conv.gather` of a PSUM tile."""

    operation = ConvGatherOp

    def lower(self, layer: LayerLowering, op: ConvGatherOp, at: Indices) -> None:
        act, act_address = layer.held(op.act)
        weights, coef = layer.held(op.coef)
        c, of = span(at, op.c, op.depth), op.of.value.data
        part, psum = partial_sums(layer, op, at, c.first == 0, c, of)
        if weights.c != c or weights.k != part.k:
            raise layer.fault("a convolution and the stream of its weights name different channels")
        how = Gathering.of(op.banks.value.data, op.bundle.value.data, of, c.first)
        _, size, _ = layer.piece(SymbolRefAttr(weights.source), part.k.first, c.first)
        layer.emit(
            "conv.gather",
            **input_fields(layer, op, act, act_address, part, c),
            **psum,
            coef=coef,
            size=size,
            c=c.extent,
            accumulate=int(c.first > 0),
            banks=how.banks,
            bank=how.bank,
            step=how.step,
            rows=how.rows,
        )


class GatherKind(ConvolutionKind):
    """`esc.gather_conv2d`."""

    name = GatherWork.name
    rules = (LoadSparseRule(), ConvGatherRule(), RequantRule())

    def faults(self, op: esc.EscOp, target: Target) -> Iterator[str]:
        if not isinstance(op, GatherConv2dOp):
            return
        yield from window_faults("conv.gather", op.kernel, *op.window)
        r, s = op.kernel
        c = min(shape_of(op.input)[3], target.array.chunk)
        needs = [
            ("input of one position", c, target.scratchpad.act),
            ("window of a channel", r * s, window_room(target)),
        ]
        yield from room_faults(target, needs)
        for what, value in (("banks", op.banks), ("bundle", op.bundle)):
            if value.value.data > lanes(target):
                yield f"{what} {value.value.data}; requires at most {lanes(target)}, the multipliers of a block"

    def stages(self, op: esc.RequantizeOp) -> Stages | None:
        conv = op.input.owner
        if not isinstance(conv, GatherConv2dOp):
            return None
        return Stages([conv], conv, conv.kernel, 1, conv.sparse, layout=conv.banking)

    def work(self, constants: ConvConstants, density: float, target: Target) -> Workload:
        weights = np.asarray(constants.weight, np.int8)
        k, r, s, c = weights.shape
        return GatherWork(weights.tobytes(), (k, r, s, c), Banking(*constants.layout))

    def work_with_data(
        self, work: Workload, constants: ConvConstants, packed: float, density: float, target: Target
    ) -> Workload:
        assert isinstance(work, GatherWork)
        return replace(work, exact=True)

    def form_constants(self, form: WeightForm) -> tuple[NDArray[np.generic], Sequence[NDArray[np.generic]]]:
        if not isinstance(form, Gathered):
            return super().form_constants(form)
        return form.integers, ()

    def form_layout(self, form: WeightForm) -> tuple[int, ...]:
        return form.banking if isinstance(form, Gathered) else super().form_layout(form)

    def transfers(self, p: TilingProblem, t: Tiling, layout: tuple[int, ...]) -> list[Transfer]:
        return [SparseTransfer(part.k, part.c, banking=Banking(*layout)) for part in weight_transfers(p, t)]

    def load_weights(self, build: LoopNestBuilder, constant: str) -> Emit:
        work, t, buffer = build.problem.work, build.tiling, build.buffer["weights"]
        assert isinstance(work, GatherWork)
        return lambda at: [LoadSparseOp(buffer, constant, build.channel_range(t.weights, at), at["c"], work.banking)]

    def compute(
        self, build: LoopNestBuilder, stages: Stages, resident: Sequence[SSAValue], part: Part, further: bool
    ) -> Emit:
        cpg, banking = build.problem.cpg, Banking(*stages.layout)
        return lambda at: [ConvGatherOp(channels_tile(build, part, at), cpg, banking)]


KIND = GatherKind()
