"""The layer kind `circulant`: a dense convolution whose weights `load.circ` spreads from circulant blocks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dialects import esc
from dialects.bfs_circulant import LoadCirculantOp
from dialects.esc_circulant import CirculantConv2dOp
from dialects.rebuilt import RebuiltConv2d
from isa.instructions import load_circ
from isa.integers import ceil_div
from isa.layout import WEIGHT_TABLE_BYTES
from isa.target import Target
from passes.decomposition.circulant import Circulant
from passes.decomposition.weight_form import WeightForm
from passes.layers.convolution import ConvConstants, Stages, packed_together
from passes.layers.dense import ConvRule
from passes.layers.rebuilt import RebuiltKind, RebuiltWork
from passes.layers.requantise import RequantRule
from passes.tiling.geometry import Span, balanced
from passes.tiling.layer_kind import ConstantRule, Packed, Transfer
from passes.tiling.layer_to_instructions import HeldRegion, LayerLowering
from passes.tiling.loop_nest import Indices, span
from passes.tiling.loop_nest_builder import Emit, LoopNestBuilder
from passes.tiling.problem import TilingProblem, WeightStream, Workload


@dataclass(frozen=True)
class CirculantWork(RebuiltWork):
    """Blocks have `block` channels. A load brings in whole blocks, of which it may use a part."""

    block: int = 2

    name = "circulant"

    def splits_input_channels(self, p: TilingProblem) -> bool:
        return False

    def psum_channels(self, p: TilingProblem, channels: int, target: Target) -> set[int]:
        """Whole blocks, so that no two loads bring in the same one."""
        blocks = ceil_div(channels, self.block)
        return {min(channels, self.block * balanced(blocks, n)) for n in range(1, blocks + 1)}

    def weight_stream(self, p: TilingProblem, channels: int, depth: int, target: Target) -> WeightStream:
        fields = {"first": 0, "kn": channels, "taps": p.taps, "run": depth, "block": self.block}
        count = load_circ.values(fields)
        size = round(count * min(self.packed, 1.0))
        cycles = load_circ.cycles({**fields, "size": size}, target, round(count * self.nonzeros))
        return WeightStream(size, cycles, WEIGHT_TABLE_BYTES)


class BlocksRule(ConstantRule):
    """A load of circulant blocks. All transfers share one table, which comes first; a transfer has whole blocks of all
    input channels, and the number of its values for its coding.
    """

    def transfer(self, op: Any, at: Indices) -> tuple[str, Transfer]:
        return op.constant.string_value(), Transfer(span(at, op.k, op.channels), Span(0, 0))

    def pack(self, value: NDArray[np.generic], transfers: Sequence[Transfer]) -> Packed:
        block = value.shape[-1]
        parts = [np.ascontiguousarray(value[t.k.first // block : ceil_div(t.k.end, block)], np.int8) for t in transfers]
        return Packed(*packed_together(parts))

    @abstractmethod
    def instruction(self, op: Any, k: Span, c: Span, count: int) -> tuple[str, int, dict[str, int]]:
        """The mnemonic of a load of `count` values, the bytes that it writes to COEF, and fields of its own."""

    def lower(self, layer: LayerLowering, op: Any, at: Indices) -> None:
        k, c = span(at, op.k, op.channels), span(at, op.c, op.depth)
        if c.first:
            raise layer.fault("a load of circulant blocks must take all input channels")
        address, size, count = layer.piece(op.constant, k.first, 0)
        mnemonic, nbytes, fields = self.instruction(op, k, c, count)
        layer.require_room(op.buffer, nbytes)
        state = layer.states[op.buffer]
        if state.fill(HeldRegion(op.constant.string_value(), k=k, c=c)):
            table = layer.shared(op.constant)
            layer.emit(mnemonic, dram=address, size=size, table=table, dst=state.address, **fields)


class LoadCirculantRule(BlocksRule):
    """`load.circ`, which spreads the blocks."""

    operation = LoadCirculantOp

    def instruction(self, op: LoadCirculantOp, k: Span, c: Span, count: int) -> tuple[str, int, dict[str, int]]:
        taps, block = op.taps.value.data, op.block.value.data
        fields = {"first": k.first % block, "kn": k.extent, "taps": taps, "run": c.extent, "block": block}
        return "load.circ", k.extent * taps * c.extent, fields


class CirculantKind(RebuiltKind):
    """A convolution whose weights are circulant blocks."""

    name = CirculantWork.name
    operation = CirculantConv2dOp
    fast: ClassVar[bool] = False
    """Whether the kind takes convolutions by fast products, or the others."""
    rules = (LoadCirculantRule(), ConvRule(), RequantRule())

    def faults(self, op: esc.EscOp, target: Target) -> Iterator[str]:
        return super().faults(op, target) if self._is_mine(op) else iter(())

    def stages(self, op: esc.RequantizeOp) -> Stages | None:
        return super().stages(op) if self._is_mine(op.input.owner) else None

    def _is_mine(self, op: object) -> bool:
        return isinstance(op, CirculantConv2dOp) and op.is_fast == self.fast

    def cuts_input_channels(self, op: RebuiltConv2d) -> bool:
        return False

    def work(self, constants: ConvConstants, density: float, target: Target) -> Workload:
        block = constants.weight.shape[-1]
        return CirculantWork(each=float(block), block=block)

    def form_constants(self, form: WeightForm) -> tuple[NDArray[np.generic], Sequence[NDArray[np.generic]]]:
        if not isinstance(form, Circulant):
            raise TypeError(f"layer kind '{self.name}' computes no weight form '{form.name}'")
        return form.values, ()

    def load_weights(self, build: LoopNestBuilder, constant: str) -> Emit:
        t, buffer, work = build.tiling, build.buffer["weights"], build.problem.work
        assert isinstance(work, CirculantWork)
        taps, block = build.problem.taps, work.block
        return lambda at: [LoadCirculantOp(buffer, constant, build.channel_range(t.weights, at), at["c"], taps, block)]


KIND = CirculantKind()
