"""The layer kind `codebook`: a dense convolution whose weights `load.vq` makes out of codes and a book."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import SymbolRefAttr

from dialects.attributes import ints
from dialects.bfs_codebook import LoadCodesOp
from dialects.esc_codebook import CodebookConv2dOp
from isa.instructions import load_vq
from isa.layout import WEIGHT_TABLE_BYTES
from isa.target import Target
from passes.decomposition.codebook import Codebook
from passes.decomposition.weight_form import WeightForm
from passes.layers.convolution import ConvConstants, packed_together, weight_parts
from passes.layers.dense import ConvRule
from passes.layers.rebuilt import PatchedKind, PatchedRule, PatchedWork
from passes.layers.requantise import RequantRule
from passes.tiling.layer_kind import Packed, Transfer
from passes.tiling.layer_to_instructions import HeldRegion, LayerLowering
from passes.tiling.loop_nest import Indices, span
from passes.tiling.loop_nest_builder import Emit, LoopNestBuilder
from passes.tiling.problem import TilingProblem, WeightStream, Workload


@dataclass(frozen=True)
class CodebookWork(PatchedWork):
    """The numbers are codes."""

    name = "codebook"

    def weight_stream(self, p: TilingProblem, channels: int, depth: int, target: Target) -> WeightStream:
        count = channels * p.taps * depth // (self.patch[0] * self.patch[1])
        size = round(count * min(self.packed, 1.0))
        fields = {"size": size, "count": count, "span": self.patch[0], "depth": self.patch[1]}
        cycles = load_vq.cycles(fields, target, round(count * self.nonzeros))
        return WeightStream(size, cycles, WEIGHT_TABLE_BYTES)


class LoadCodesRule(PatchedRule):
    """`load.vq`; the coding of a transfer is its number of codes. All transfers share one table, which comes first."""

    operation = LoadCodesOp
    axes = (0, 3)

    def pack(self, value: NDArray[np.generic], transfers: Sequence[Transfer]) -> Packed:
        return Packed(*packed_together(weight_parts(value, transfers)))

    def lower(self, layer: LayerLowering, op: LoadCodesOp, at: Indices) -> None:
        k, c, (columns, deep) = span(at, op.k, op.channels), span(at, op.c, op.depth), ints(op.patch)
        region = HeldRegion(op.constant.string_value(), k=k, c=c)
        address, size, count = layer.piece(op.constant, k.first, c.first // deep)
        layer.require_room(op.buffer, count * columns * deep)
        book, held = layer.held(op.book)
        _, nbytes, _ = layer.piece(SymbolRefAttr(book.source), 0, 0)
        state = layer.states[op.buffer]
        if state.fill(region):
            layer.emit(
                "load.vq",
                dram=address,
                size=size,
                table=layer.shared(op.constant),
                count=count,
                dst=state.address,
                book=held,
                entries=nbytes // (columns * deep),
                span=columns,
                depth=deep,
                run=c.extent // deep,
            )


class CodebookKind(PatchedKind):
    """A convolution whose weights are vectors from a book."""

    name = CodebookWork.name
    operation = CodebookConv2dOp
    beside = "book"
    rules = (LoadCodesRule(), ConvRule(), RequantRule())

    def work(self, constants: ConvConstants, density: float, target: Target) -> Workload:
        _, columns, depth = constants.resident[0].shape
        return CodebookWork(each=float(columns * depth), patch=(columns, depth))

    def form_constants(self, form: WeightForm) -> tuple[NDArray[np.generic], Sequence[NDArray[np.generic]]]:
        if not isinstance(form, Codebook):
            raise TypeError(f"layer kind '{self.name}' computes no weight form '{form.name}'")
        return form.codes, (form.book,)

    def load_weights(self, build: LoopNestBuilder, constant: str) -> Emit:
        t, buffer, book = build.tiling, build.buffer["weights"], build.buffer["parameter0"]
        work = build.problem.work
        assert isinstance(work, CodebookWork)
        return lambda at: [LoadCodesOp(buffer, book, constant, build.channel_range(t.weights, at), at["c"], work.patch)]


KIND = CodebookKind()
