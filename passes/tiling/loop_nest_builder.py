"""Building the loop nest of a `bfs.layer` from a tiling."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from xdsl.dialects import arith
from xdsl.dialects.builtin import IntegerAttr
from xdsl.ir import Block, Operation, SSAValue

from dialects.bfs import BufferOp, ResidentOp
from dialects.bfs_loops import ForOp
from dialects.bfs_tiles import (
    INDEX,
    BufferType,
    LoadParametersOp,
    LoadTileOp,
    OpenTileOp,
    Range,
    StoreTileOp,
)
from passes.tiling.geometry import ChannelMap
from passes.tiling.problem import Buffer, Loop, Tiling, TilingProblem, dependencies, loops, placement

Ranges = dict[str, Range]
Emit = Callable[[Ranges], Sequence[Operation]]


_INNER = {"k": "pk", "y": "py", "a": "c"}
"""Axes that are tiled twice, and the axis of their inner loop."""


def _nothing(_: Ranges) -> Sequence[Operation]:
    """No operation."""
    return ()


@dataclass(frozen=True)
class Part:
    """A part of a window: its rows and columns, its pads, and the constant that holds its weights."""

    kernel: tuple[int, int]
    pads: tuple[int, int]
    weights: str


@dataclass
class _Item:
    depth: int
    emit: Emit


@dataclass
class LoopNestBuilder:
    """Collects the operations of a layer, each in the loop it belongs to; `build` returns the body of the
    `bfs.layer`.
    """

    problem: TilingProblem
    tiling: Tiling
    needed: Sequence[Buffer]
    residents: Mapping[str, str] = field(default_factory=dict[str, str])
    """Tensors that lie in ACT as a whole, by the name of the buffer that they stand for (see `source_buffer`)."""
    _top: list[Operation] = field(default_factory=list[Operation])
    _constants: dict[int, SSAValue] = field(default_factory=dict[int, SSAValue])
    _before: list[_Item] = field(default_factory=list[_Item])
    _after: list[_Item] = field(default_factory=list[_Item])
    _innermost: list[Emit] = field(default_factory=list[Emit])

    def __post_init__(self) -> None:
        self.nest: tuple[Loop, ...] = tuple(loop for loop in loops(self.problem, self.tiling) if loop.trips > 1)
        self.depends = dependencies(self.problem, self.tiling)
        self.whole = {axis: self.range(0, n) for axis, n in self._extents().items()}
        self.buffer: dict[str, SSAValue] = {}
        for b in self.needed:
            op = BufferOp(BufferType(b.space), b.nbytes)
            op.result.name_hint = b.name
            self._top.append(op)
            self.buffer[b.name] = op.result
        standing: dict[str, SSAValue] = {}
        for name, tensor in self.residents.items():
            if tensor not in standing:
                op = ResidentOp(tensor)
                op.result.name_hint = name
                self._top.append(op)
                standing[tensor] = op.result
            self.buffer[name] = standing[tensor]

    def source_buffer(self, index: int = 0) -> SSAValue:
        """The buffer that holds tiles of a source, or the whole of it."""
        name = f"source{index}"
        return self.buffer[name if name in self.residents else "act"]

    def _extents(self) -> dict[str, int]:
        p = self.problem
        outer = {"y": p.oh, "x": p.ow, "k": p.k}
        return {**outer, "a": p.cpg, "c": p.cpg} if p.accumulates else outer

    def index(self, value: int) -> SSAValue:
        """An index constant."""
        if value not in self._constants:
            op = arith.ConstantOp(IntegerAttr(value, INDEX))
            op.result.name_hint = f"c{value}"
            self._top.append(op)
            self._constants[value] = op.result
        return self._constants[value]

    def range(self, first: int, extent: int) -> Range:
        """A constant range."""
        return self.index(first), self.index(extent)

    # Where operations stand ---------------------------------------------------------------------------------------

    def before(self, kind: str, emit: Emit) -> None:
        """Operations that prepare a transfer of `kind` (a key of `dependencies`), before the loops inside."""
        self._before.append(_Item(placement(self.nest, self.depends[kind]), emit))

    def after(self, kind: str, emit: Emit) -> None:
        """Operations that follow the loops inside."""
        self._after.append(_Item(placement(self.nest, self.depends[kind]), emit))

    def innermost(self, emit: Emit) -> None:
        """Operations in the innermost loop."""
        self._innermost.append(emit)

    # Common parts -------------------------------------------------------------------------------------------------

    def load_act(self, tensor: str, channels: ChannelMap, part: Part | None = None, index: int = 0) -> Emit:
        """Load of the input window (or of a part of it) of the output tile, from source `index`; nothing if that is
        resident.
        """
        p, t = self.problem, self.tiling
        if p.sources[index].resident:
            return _nothing
        kernel, pads = (p.kernel, p.pads) if part is None else (part.kernel, part.pads)

        def emit(at: Ranges) -> Sequence[Operation]:
            c, used = at["k"], channels
            if p.work.reads_all_channels:
                source = p.sources[0].c
                c = at["a"] if t.input_channels < p.cpg else self.range(0, source)
                used = ChannelMap(0, source, 0, 1)
            buffer = self.buffer["act"]
            taken = (p.rows, p.columns)
            return [LoadTileOp(buffer, tensor, at["y"], at["x"], c, kernel, p.strides, pads, used, taken)]

        return emit

    def load_tile(
        self,
        buffer: SSAValue,
        tensor: str,
        channels: ChannelMap,
        spread: tuple[bool, bool, bool] = (False, False, False),
    ) -> Emit:
        """Load of exactly the positions of the output tile; nothing if the buffer stands for a resident tensor.

        `spread`: axes y, x, k along which the tensor has one index, which every tile reads.
        """
        if isinstance(buffer.owner, ResidentOp):
            return _nothing

        def emit(at: Ranges) -> Sequence[Operation]:
            y, x, k = (self.range(0, 1) if one else at[axis] for axis, one in zip("yxk", spread, strict=True))
            return [LoadTileOp(buffer, tensor, y, x, k, (1, 1), (1, 1), (0, 0), channels)]

        return emit

    def load_parameters(self, constant: str) -> None:
        """Load of requantisation parameters."""
        t = self.tiling

        def emit(at: Ranges) -> Sequence[Operation]:
            k = self.channel_range(t.parameters, at)
            return [LoadParametersOp(self.buffer["parameters"], constant, k, t.psum_channels)]

        self.before("parameters", emit)

    def channel_range(self, channels: int, at: Ranges) -> Range:
        """The output channels of a load that brings in so many of them: all, or those of the OUT or PSUM tile."""
        if channels == self.problem.k:
            return self.whole["k"]
        return at["k"] if channels == self.tiling.channels else at["pk"]

    def open_and_store(self, tensor: str) -> None:
        """Turn to the next output tile before, store it after the loops inside unless the output is resident."""
        out, pool = self.buffer["out"], self.problem.pool
        self.before("out", lambda at: [OpenTileOp(out, at["y"], at["x"], at["k"], pool)])
        if not self.problem.output_resident:
            self.after("out", lambda _: [StoreTileOp(tensor, out)])

    def convolve(
        self,
        tensor: str,
        parts: Sequence[Part],
        parameters: str,
        load_weights: Callable[[str], Emit],
        compute: Callable[[Part, bool], Emit],
    ) -> None:
        """The convolution in the innermost loop, and the loads of its constants and input.

        `load_weights` emits the load of a constant of weights, `compute` the convolution of a part of the window, which
        starts new partial sums unless it is told to accumulate. Several parts accumulate one after the other, each with
        loads of its own.
        """
        channels = self.problem.sources[0].channels
        if len(parts) == 1:
            self.before("weights", load_weights(parts[0].weights))
            self.load_parameters(parameters)
            self.before("act", self.load_act(tensor, channels))
            self.innermost(compute(parts[0], False))
            return
        self.load_parameters(parameters)
        for i, part in enumerate(parts):
            self.innermost(self.load_act(tensor, channels, part))
            self.innermost(load_weights(part.weights))
            self.innermost(compute(part, i > 0))

    # Assembly -----------------------------------------------------------------------------------------------------

    def build(self) -> list[Operation]:
        """The operations of the layer's body."""
        at = {**self.whole, "pk": self.whole["k"], "py": self.whole["y"]}
        body = self._level(0, at)
        return [*self._top, *body]

    def _level(self, depth: int, at: Ranges) -> list[Operation]:
        ops = [op for item in self._before if item.depth == depth for op in item.emit(at)]
        if depth < len(self.nest):
            ops.append(self._loop(depth, at))
        else:
            ops += [op for emit in self._innermost for op in emit(at)]
        return [*ops, *(op for item in self._after if item.depth == depth for op in item.emit(at))]

    def _loop(self, depth: int, at: Ranges) -> ForOp:
        t = self.tiling
        axis = self.nest[depth].axis
        step = {
            "y": t.rows,
            "x": t.columns,
            "k": t.channels,
            "pk": t.psum_channels,
            "py": t.psum_rows,
            "a": t.input_channels,
            "c": t.depth,
        }[axis]
        block = Block(arg_types=[INDEX, INDEX])
        index, size = block.args
        index.name_hint, size.name_hint = axis, f"{axis}n"
        inner = {**at, axis: (index, size)}
        if axis in _INNER:
            inner[_INNER[axis]] = (index, size)
        block.add_ops(self._level(depth + 1, inner))
        first, extent = at[axis]
        return ForOp(first, extent, step, block)
