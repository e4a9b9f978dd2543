"""The layers of a program as they are to be tiled: their problems, and the tensors that they read and compute."""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace

from passes.tiling.problem import InputSource, TilingProblem


@dataclass(frozen=True)
class LayerRecord:
    """A layer to tile: its problem, the tensors that it reads (its sources, then its residual) and computes, and the
    tensors that have the bytes of those that are parts.
    """

    problem: TilingProblem
    reads: tuple[str, ...]
    output: str
    storage: Mapping[str, str] = field(default_factory=dict[str, str])

    def stored(self, name: str) -> str:
        """The tensor that has the bytes of one of the layer's."""
        return self.storage.get(name, name)

    @property
    def output_bytes(self) -> int:
        """Bytes in ACT of the tensor that has those of the output."""
        p = self.problem
        return math.prod(p.output) * (p.stored_c or p.k)

    @property
    def operands(self) -> tuple[str, ...]:
        """The tensors of which a value is read just where the value of the output is written: operands of an addition
        or a product.
        """
        p, count = self.problem, len(self.problem.sources)
        if p.residual is None:
            return ()
        second = () if any(p.residual_spread) else (self.reads[count],)
        return second if p.accumulates else (*second, self.reads[0])

    @property
    def consumed(self) -> tuple[str, ...]:
        """The tensors of which a channel is read by the same channel of the output alone: those of a depthwise
        convolution that keeps the extents.
        """
        return self.reads[:1] if self.problem.channelwise else ()

    @property
    def residents(self) -> Mapping[str, str]:
        """The resident tensors of the layer by the names of the buffers that they stand for."""
        p = self.problem
        sides = [*p.sources, *(() if p.residual is None else (p.residual,))]
        names = [*(f"source{i}" for i in range(len(p.sources))), "residual"]
        found = {name: tensor for name, tensor, side in zip(names, self.reads, sides, strict=False) if side.resident}
        return {**found, "out": self.output} if p.output_resident else found

    def posed(self, resident: Set[str], over: str | None = None) -> TilingProblem:
        """The problem if these tensors are resident, and the output is computed in the place of one of them."""
        p, count = self.problem, len(self.problem.sources)

        def side(source: InputSource, name: str) -> InputSource:
            return replace(source, resident=self.stored(name) in resident)

        return replace(
            p,
            sources=tuple(side(s, name) for s, name in zip(p.sources, self.reads, strict=False)),
            residual=None if p.residual is None else side(p.residual, self.reads[count]),
            output_resident=self.stored(self.output) in resident,
            in_place=over in self.consumed,
        )
