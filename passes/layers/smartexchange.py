"""The layer kind `smartexchange`: a dense convolution whose weights `load.se` makes out of coefficients and vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dialects.attributes import ints
from dialects.bfs_smartexchange import LoadSumsOp
from dialects.esc_smartexchange import SmartExchangeConv2dOp
from isa.coefficients import StreamCode, pack_streams, stream_code
from isa.instructions import load_se
from isa.target import Target
from passes.decomposition.smartexchange import SmartExchange
from passes.decomposition.weight_form import WeightForm
from passes.layers.convolution import ConvConstants
from passes.layers.dense import ConvRule
from passes.layers.rebuilt import PatchedKind, PatchedRule, PatchedWork
from passes.layers.requantise import RequantRule
from passes.tiling.layer_kind import Packed, Transfer
from passes.tiling.layer_to_instructions import HeldRegion, LayerLowering
from passes.tiling.loop_nest import Indices, span
from passes.tiling.loop_nest_builder import Emit, LoopNestBuilder
from passes.tiling.problem import TilingProblem, WeightStream, Workload


@dataclass(frozen=True)
class SmartExchangeWork(PatchedWork):
    """A patch of `patch` columns and channels is the sum of `terms` vectors, shifted right by `shift`; `own`: each
    output channel has vectors of its own.
    """

    terms: int = 1
    shift: int = 0
    own: bool = False

    name = "smartexchange"

    def weight_stream(self, p: TilingProblem, channels: int, depth: int, target: Target) -> WeightStream:
        columns, deep = self.patch
        rows, run = p.taps // columns, depth // deep
        count = channels * rows * run * self.terms
        size = max(1, round(count * self.packed))
        fields = {"size": size, "kn": channels, "rows": rows, "run": run, "terms": self.terms}
        fields |= {"span": columns, "depth": deep}
        return WeightStream(size, load_se.cycles(fields, target, round(count * self.nonzeros)))


def _streams(coefficients: NDArray[np.generic]) -> NDArray[np.int8]:
    """Coefficients [K, J, R, S/span, C/depth] in the order of streams: [K, J*R*S/span, C/depth]."""
    k, run = len(coefficients), coefficients.shape[-1]
    return np.ascontiguousarray(coefficients, np.int8).reshape(k, -1, run)


class LoadSumsRule(PatchedRule):
    """`load.se`; the coding of a transfer is the code of its streams."""

    operation = LoadSumsOp
    axes = (0, 4)

    def pack(self, value: NDArray[np.generic], transfers: Sequence[Transfer]) -> Packed:
        streams = _streams(value)
        code = stream_code(streams)
        parts = [streams[t.k.first : t.k.end, :, t.c.first : t.c.end] for t in transfers]
        return Packed(b"", [(pack_streams(part, code), code.coding) for part in parts])

    def lower(self, layer: LayerLowering, op: LoadSumsOp, at: Indices) -> None:
        k, c, (columns, deep) = span(at, op.k, op.channels), span(at, op.c, op.depth), ints(op.patch)
        address, size, coding = layer.piece(op.constant, k.first, c.first // deep)
        terms, rows, own = op.terms.value.data, op.rows.value.data, op.own is not None
        layer.require_room(op.buffer, k.extent * rows * columns * c.extent)
        vectors = layer.held(op.vectors)[1]
        state = layer.states[op.buffer]
        if state.fill(HeldRegion(op.constant.string_value(), k=k, c=c)):
            count_bits, level, common = StreamCode.of(coding)
            layer.emit(
                "load.se",
                dram=address,
                size=size,
                dst=state.address,
                vectors=vectors + (k.first * terms * columns * deep if own else 0),
                own=int(own),
                kn=k.extent,
                terms=terms,
                rows=rows,
                run=c.extent // deep,
                span=columns,
                depth=deep,
                shift=op.shift.value.data,
                level=level,
                common=common,
                count_bits=count_bits,
            )


class SmartExchangeKind(PatchedKind):
    """A convolution whose weights are sums of vectors."""

    name = SmartExchangeWork.name
    operation = SmartExchangeConv2dOp
    rules = (LoadSumsRule(), ConvRule(), RequantRule())

    def work(self, constants: ConvConstants, density: float, target: Target) -> Workload:
        sets, terms, columns, depth = constants.resident[0].shape
        each = columns * depth / terms
        return SmartExchangeWork(each=each, terms=terms, patch=(columns, depth), shift=constants.shift, own=sets > 1)

    def form_constants(self, form: WeightForm) -> tuple[NDArray[np.generic], Sequence[NDArray[np.generic]]]:
        if not isinstance(form, SmartExchange):
            raise TypeError(f"layer kind '{self.name}' computes no weight form '{form.name}'")
        return form.coefficients, (form.vectors,)

    def load_weights(self, build: LoopNestBuilder, constant: str) -> Emit:
        t, buffer, vectors = build.tiling, build.buffer["weights"], build.buffer["parameter0"]
        work = build.problem.work
        assert isinstance(work, SmartExchangeWork)
        rest = work.terms, build.problem.taps // work.patch[0], work.patch, work.shift, work.own
        return lambda at: [LoadSumsOp(buffer, vectors, constant, build.channel_range(t.weights, at), at["c"], *rest)]


KIND = SmartExchangeKind()
