"""What a layer kind is: how operations of level `esc` become a layer of level `bfs`, and its tile operations bytes and
instructions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from xdsl.ir import Operation

from dialects.bfs_tiles import TileOp
from dialects.esc_base import EscOp
from isa.target import Target
from passes.decomposition.weight_form import WeightForm
from passes.tiling.conv_shape import ConvShape
from passes.tiling.esc_op_to_layer import LayerTiler
from passes.tiling.geometry import Span
from passes.tiling.layer_to_instructions import LayerLowering
from passes.tiling.loop_nest import Indices
from passes.tiling.problem import Tiling, TilingProblem


class TileRule(ABC):
    """How one tile operation becomes instructions."""

    operation: ClassVar[type[TileOp]]
    """The operation that the rule lowers."""

    @abstractmethod
    def lower(self, layer: LayerLowering, op: Any, at: Indices) -> None:
        """Append the instructions of `op`, an instance of `operation`, for these values of the loop indices.

        Raises `UserError` if the operation reads what its buffers do not hold.
        """


@dataclass(frozen=True)
class Transfer:
    """A part of a constant that one load brings in: output channels `k`, input channels `c`; both are empty where the
    constant is always loaded whole. `block`: channels that share a parameter block, 0 for constants without blocks.
    """

    k: Span
    c: Span
    block: int = 0


@dataclass(frozen=True)
class Packed:
    """A packed constant: bytes that all of its transfers share, then the bytes and the coding of each transfer."""

    shared: bytes
    pieces: Sequence[tuple[bytes, int]]


class ConstantRule(TileRule):
    """How a load of a constant becomes instructions, and its constant the bytes that they read."""

    axes: ClassVar[tuple[int | None, int | None]] = (None, None)
    """Axes of the constant that `Transfer.k` and `Transfer.c` are ranges of; None where the range is not one."""

    @abstractmethod
    def transfer(self, op: Any, at: Indices) -> tuple[str, Transfer]:
        """Symbol of the constant, and the part of it that the operation loads for these values of the indices."""

    def packed_bytes(self, value: NDArray[np.generic], transfers: Sequence[Transfer]) -> int:
        """Bytes that `pack` gives, in all."""
        packed = self.pack(value, transfers)
        return len(packed.shared) + sum(len(data) for data, _ in packed.pieces)

    @abstractmethod
    def pack(self, value: NDArray[np.generic], transfers: Sequence[Transfer]) -> Packed:
        """The bytes of a constant for all of its transfers."""


class LayerKind(ABC):
    """A kind of layer: `KIND` of a module of `passes/layers/`, or an entry point `escc.layers` of another package."""

    name: ClassVar[str]
    """The kind in `bfs.layer`, in programs and in statistics."""
    rules: ClassVar[Sequence[TileRule]] = ()
    """Rules of the tile operations that the kind alone uses, or shares with other kinds."""

    @abstractmethod
    def matches(self, op: Operation) -> bool:
        """Whether the kind computes the tensor of an `esc` operation. At most one installed kind may say so."""

    def faults(self, op: EscOp, target: Target) -> Iterator[str]:
        """Why the machine cannot compute an operation, whatever the tiling; nothing for operations of other kinds."""
        return iter(())

    def problem(self, form: WeightForm, shape: ConvShape, target: Target) -> TilingProblem:
        """The tiling problem of a convolution with weights of a form, as the compiler poses it.

        Kinds that are named by a weight form answer; others raise TypeError.
        """
        raise TypeError(f"layer kind '{self.name}' computes no weight form, asked for '{form.name}'")

    def with_data(
        self, p: TilingProblem, t: Tiling, form: WeightForm, shape: ConvShape, target: Target
    ) -> tuple[TilingProblem, int]:
        """A solved problem with what is known of weights and inputs, and bytes of the weights in DRAM."""
        raise TypeError(f"layer kind '{self.name}' computes no weight form, asked for '{form.name}'")

    @abstractmethod
    def tile(self, op: Operation, tiler: LayerTiler, averaged: bool = False) -> None:
        """Append the layer of a matching operation to `tiler`, or a cause why there is none.

        `averaged`: the layer stands for an average pooling; its weights count as none, its output as dense.
        """
