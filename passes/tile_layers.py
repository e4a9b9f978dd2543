"""From one operation of level `esc` to one `bfs.layer`: the tiling problem it poses, and the loop nest that solves
it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from xdsl.ir import Operation, SSAValue

from dialects import bfs, bfs_compute, bfs_tiles, esc
from dialects.attributes import ints
from dialects.blob import DenseAttr
from dialects.esc import q_of, shape_of
from dialects.locations import describe, fused, node_names
from isa.instructions import TensorFormat
from isa.layout import ADD_BLOCK_BYTES, TABLE_BYTES
from isa.target import Target
from passes.layer_builder import LayerBuilder, Part
from passes.math.geometry import ChannelMap, steps
from passes.math.tile_search import search, search_parts, smallest_need
from passes.math.tiling import Problem, Source, buffers
from passes.pool_rewrites import average_as_convolution, separate_maximum

DENSITY = 0.5
"""Expected share of non-zeros of an activation after a ReLU; schedules do not depend on calibration."""

MAX_WINDOW = 255
MAX_EXTENT = (1 << 16) - 1
STAGES = (esc.Conv2dOp, esc.CoeffCombineOp, esc.BasisConv2dOp)


def tensor_format(signed: bool, averaged: bool) -> TensorFormat:
    """Layout of an activation tensor that the machine writes: bitmaps pay where zeros are expected.

    Signed tensors have passed no ReLU, averages hide the zeros of their input: both are dense.
    """
    return TensorFormat.RAW if signed or averaged else TensorFormat.BITMAP


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


def add_block(mult_a: int, mult_b: int, shift: int, lo: int, hi: int) -> NDArray[np.uint8]:
    """PAR bytes of the parameters of an addition."""
    return np.frombuffer(struct.pack("<iihhB", mult_a, mult_b, lo, hi, shift), np.uint8)


@dataclass(frozen=True)
class Tensor:
    """A declared DRAM tensor."""

    name: str
    shape: tuple[int, int, int]
    format: TensorFormat

    def source(self, channels: ChannelMap) -> Source:
        """The tensor as an input of a layer."""
        density = 1.0 if self.format is TensorFormat.RAW else DENSITY
        return Source(self.shape[2], self.format, channels, density)

    def whole(self) -> Source:
        """The tensor read channel by channel."""
        return self.source(ChannelMap(0, self.shape[2], 0, 1))


@dataclass
class Declarations:
    """Tensors and constants of the program under construction."""

    tensors: dict[SSAValue, Tensor] = field(default_factory=dict[SSAValue, Tensor])
    tensor_ops: list[Operation] = field(default_factory=list[Operation])
    constant_ops: list[Operation] = field(default_factory=list[Operation])
    _shared: dict[DenseAttr, str] = field(default_factory=dict[DenseAttr, str])

    def tensor(self, value: SSAValue, format: TensorFormat, segment: int) -> Tensor:
        """Declare the tensor of an esc value."""
        _, h, w, c = shape_of(value)
        tensor = Tensor(f"t{len(self.tensors)}", (h, w, c), format)
        form = "raw" if format is TensorFormat.RAW else "bitmap"
        self.tensors[value] = tensor
        self.tensor_ops.append(bfs.TensorOp(tensor.name, tensor.shape, q_of(value), form, segment))
        return tensor

    def constant(self, array: NDArray[np.generic] | DenseAttr) -> str:
        """Symbol of a constant of the current layer; equal ones share it. Every layer cuts its constants in its own
        way.
        """
        attr = array if isinstance(array, DenseAttr) else DenseAttr.of(array)
        if attr not in self._shared:
            name = f"c{len(self.constant_ops)}"
            self._shared[attr] = name
            self.constant_ops.append(bfs.ConstantOp(name, attr))
        return self._shared[attr]

    def close_layer(self) -> None:
        """Constants declared from here on belong to another layer."""
        self._shared.clear()


class LayerTiler:
    """Tiles operations one at a time; faults are collected in `causes`."""

    def __init__(self, target: Target, declared: Declarations) -> None:
        self.target = target
        self.declared = declared
        self.causes: list[str] = []
        self.layers: list[bfs.LayerOp] = []
        self._names: set[str] = set()

    def add(self, op: Operation) -> None:
        """Append the layer of an operation that computes a tensor. Operations whose inputs have failed are passed
        over.
        """
        if isinstance(op, esc.RequantizeOp):
            self._convolution(op)
        elif isinstance(op, esc.AddOp):
            self._add(op)
        elif isinstance(op, esc.MaxPoolOp | esc.AvgPoolOp):
            self._pool(op)
        elif isinstance(op, esc.LookupOp | esc.ConcatOp | esc.SliceOp):
            self._map(op)
        else:
            self.causes.append(f"{describe(op)}: the machine has no such operation")

    # Helpers ------------------------------------------------------------------------------------------------------

    def _inputs(self, *values: SSAValue) -> list[Tensor] | None:
        found = [self.declared.tensors.get(v) for v in values]
        tensors = [t for t in found if t is not None]
        return tensors if len(tensors) == len(found) else None

    def _start(self, op: Operation, p: Problem) -> LayerBuilder | None:
        """Search a tiling, with a window in parts if no whole one fits; None, with a cause, if there is none."""
        limits = (
            ("kernel", max(p.kernel), MAX_WINDOW),
            ("stride", max(p.strides), MAX_WINDOW),
            ("extent", max(p.h, p.w, p.oh, p.ow, p.k, *(s.c for s in p.sources)), MAX_EXTENT),
        )
        broken = [f"{describe(op)}: {what} {value} exceeds {most}" for what, value, most in limits if value > most]
        if broken:
            self.causes += broken
            return None
        tiling = search(p, self.target)
        if tiling is not None:
            return LayerBuilder(p, tiling, buffers(p, tiling, self.target.array.chunk))
        parts = search_parts(p, self.target)
        if parts is None:
            space, need, have = smallest_need(p, self.target)
            self.causes.append(
                f"{describe(op)}: its smallest tile needs {need} bytes of {space}; "
                f"target '{self.target.name}' has {have}"
            )
            return None
        return LayerBuilder(*parts, buffers(*parts, self.target.array.chunk))

    def _finish(
        self,
        build: LayerBuilder,
        value: SSAValue,
        sources: Sequence[Operation],
        macs: int = 0,
        weights: int = 0,
    ) -> None:
        """Declare the output and close the layer."""
        p = build.problem
        tensor = self.declared.tensor(value, p.output_format, build.tiling.segment)
        self.declared.close_layer()
        build.open_and_store(tensor.name)
        location = fused(*sources)
        nodes = node_names(location)
        name = self._unique(nodes[0] if nodes else f"layer{len(self.layers)}")
        layer = bfs.LayerOp(name, p.kind, tensor.name, nodes, macs, weights, build.build())
        layer.location = location
        self.layers.append(layer)

    def _unique(self, name: str) -> str:
        unique, n = name, 2
        while unique in self._names:
            unique, n = f"{name}_{n}", n + 1
        self._names.add(unique)
        return unique

    def _resident(self, build: LayerBuilder, index: int, constant: NDArray[np.generic] | DenseAttr) -> SSAValue:
        """Load parameter block `index` once, at the start of the layer."""
        buffer = build.buffer[f"parameter{index}"]
        symbol = self.declared.constant(constant)
        build.before("resident", lambda _: [bfs_tiles.LoadBytesOp(buffer, symbol)])
        return buffer

    def _output(self, p: Problem, value: SSAValue, averaged: bool = False) -> Problem:
        format = tensor_format(q_of(value).signed, averaged)
        return replace(p, output_format=format, output_density=1.0 if format is TensorFormat.RAW else DENSITY)

    # Layers -------------------------------------------------------------------------------------------------------

    def _convolution(self, op: esc.RequantizeOp, average: bool = False) -> None:
        """`average`: the convolution stands for an average pooling, whose weights of 1 count as none."""
        stage = op.input.owner
        if isinstance(stage, esc.Conv2dOp):
            stages: list[Operation] = [stage]
        elif isinstance(stage, esc.BasisConv2dOp) and isinstance(stage.input.owner, esc.CoeffCombineOp):
            stages = [stage.input.owner, stage]
        else:
            self.causes.append(f"{describe(op)}: its input must come from a convolution")
            return
        values = [stages[0].operands[0], *([] if op.residual is None else [op.residual])]
        inputs = self._inputs(*values)
        if inputs is None:
            return
        problem = self._conv_problem(op, stages, inputs)
        if average:
            problem = self._output(problem, op.output, averaged=True)
        build = self._start(stages[0], problem)
        if build is None:
            return
        p, declared = build.problem, self.declared
        # PAR blocks in the order of `_parameter_bytes`.
        index = 0
        basis = table = addition = None
        weight: DenseAttr
        weights = 0 if average else p.k * problem.taps * p.cpg
        ic_shift = 0
        if isinstance(stages[0], esc.Conv2dOp):
            weight = stages[0].weight
        else:
            assert isinstance(stages[0], esc.CoeffCombineOp) and isinstance(stages[1], esc.BasisConv2dOp)
            weight, ic_shift = stages[0].coefficients, stages[0].ic_shift.value.data
            basis = self._resident(build, index, stages[1].basis)
            index += 1
        if op.table is not None:
            table = self._resident(build, index, op.table)
            index += 1
        if op.residual is not None:
            addition = self._resident(build, index, self._addition(op))
        parts = self._parts(problem, p.kernel, weight)
        parameters = np.stack([np.asarray(a, np.int32) for a in (op.bias.array, op.mult.array, op.shift.array)])
        build.convolve(inputs[0].name, parts, declared.constant(parameters), ic_shift, basis)
        residual = None
        if op.residual is not None:
            residual = build.buffer["residual"]
            build.before("residual", build.load_tile(residual, inputs[1].name, ChannelMap(0, p.k, 0, 1)))
        out, psum, par = build.buffer["out"], build.buffer["psum"], build.buffer["parameters"]
        lo, hi, q_signed = op.lo.value.data, op.hi.value.data, op.mid_type.signed
        build.after(
            "psum",
            lambda _: [bfs_compute.RequantOp(out, psum, par, table, residual, addition, lo, hi, q_signed)],
        )
        self._finish(build, op.output, [*stages, op], p.oh * p.ow * weights, weights)

    def _parts(self, whole: Problem, kernel: tuple[int, int], weight: DenseAttr) -> list[Part]:
        """The window of a convolution in parts of `kernel`, the last ones clipped."""
        if kernel == whole.kernel:
            return [Part(kernel, whole.pads, self.declared.constant(weight))]
        return [
            Part(
                (rows.extent, columns.extent),
                (whole.pads[0] - rows.first, whole.pads[1] - columns.first),
                self.declared.constant(weight.array[:, rows.first : rows.end, columns.first : columns.end]),
            )
            for rows in steps(0, whole.kernel[0], kernel[0])
            for columns in steps(0, whole.kernel[1], kernel[1])
        ]

    def _addition(self, op: esc.RequantizeOp) -> NDArray[np.uint8]:
        values = (op.mult_a, op.mult_b, op.add_shift, op.add_lo, op.add_hi)
        return add_block(*(0 if v is None else v.value.data for v in values))

    def _conv_problem(self, op: esc.RequantizeOp, stages: Sequence[Operation], inputs: Sequence[Tensor]) -> Problem:
        h, w, c = inputs[0].shape
        _, oh, ow, k = shape_of(op.output)
        last = stages[-1]
        v, cycles, density = 0, 0.0, 0.0
        fixed: list[int] = []
        groups = 1
        kind = "dense"
        if isinstance(last, esc.Conv2dOp):
            kernel = last.weight.array.shape[1:3]
            groups = last.groups.value.data
            if groups == c > 1:
                kind = "depthwise"
            window = last
        else:
            assert isinstance(last, esc.BasisConv2dOp) and isinstance(stages[0], esc.CoeffCombineOp)
            kind, window = "escalate", last
            v, *kernel = last.basis.array.shape
            t = stages[0].coefficients.array
            fixed.append(v * kernel[0] * kernel[1])
            share = 1.0 if inputs[0].format is TensorFormat.RAW else DENSITY
            array = self.target.array
            cycles = match_cycles(t, share, array.chunk, array.ca_lanes, array.slices)
            density = float(np.count_nonzero(t)) / max(1, t.size)
        if op.table is not None:
            fixed.append(TABLE_BYTES)
        if op.residual is not None:
            fixed.append(ADD_BLOCK_BYTES)
        pads = ints(window.pads)
        sy, sx = ints(window.strides)
        problem = Problem(
            kind=kind,
            h=h,
            w=w,
            oh=oh,
            ow=ow,
            k=k,
            sources=(inputs[0].source(ChannelMap(0, k, 0, k // groups)),),
            kernel=(kernel[0], kernel[1]),
            strides=(sy, sx),
            pads=(pads[0], pads[1]),
            cpg=c // groups,
            kpg=k // groups,
            v=v,
            match_cycles=cycles,
            coefficient_density=density,
            residual=None if op.residual is None else inputs[1].whole(),
            parameter_bytes=tuple(fixed),
        )
        return self._output(problem, op.output)

    def _add(self, op: esc.AddOp) -> None:
        inputs = self._inputs(op.lhs, op.rhs)
        if inputs is None:
            return
        h, w, c = inputs[0].shape
        p = Problem(
            "add", h, w, h, w, c, (inputs[0].whole(),), residual=inputs[1].whole(), parameter_bytes=(ADD_BLOCK_BYTES,)
        )
        build = self._start(op, self._output(p, op.output))
        if build is None:
            return
        values = (op.mult_a, op.mult_b, op.shift, op.lo, op.hi)
        parameters = self._resident(build, 0, add_block(*(v.value.data for v in values)))
        same = ChannelMap(0, c, 0, 1)
        out, lhs, rhs = build.buffer["out"], build.buffer["act"], build.buffer["residual"]
        build.before("act", build.load_tile(lhs, inputs[0].name, same))
        build.before("residual", build.load_tile(rhs, inputs[1].name, same))
        build.innermost(lambda _: [bfs_compute.AddOp(out, lhs, rhs, parameters)])
        self._finish(build, op.output, [op])

    def _pool(self, op: esc.MaxPoolOp | esc.AvgPoolOp) -> None:
        inputs = self._inputs(op.input)
        if inputs is None:
            return
        h, w, c = inputs[0].shape
        _, oh, ow, _ = shape_of(op.output)
        kernel, strides, pads = ints(op.kernel), ints(op.strides), ints(op.pads)
        average = isinstance(op, esc.AvgPoolOp)
        p = Problem(
            "pool",
            h,
            w,
            oh,
            ow,
            c,
            (inputs[0].whole(),),
            (kernel[0], kernel[1]),
            (strides[0], strides[1]),
            (pads[0], pads[1]),
            parameter_bytes=(op.mult.array.nbytes,) if average else (),
        )
        p = self._output(p, op.output, averaged=average)
        if max(kernel) <= MAX_WINDOW and search(p, self.target) is None and self._pool_in_parts(op):
            return
        build = self._start(op, p)
        if build is None:
            return
        out, act = build.buffer["out"], build.buffer["act"]
        build.before("act", build.load_act(inputs[0].name, p.sources[0].channels))
        if isinstance(op, esc.AvgPoolOp):
            parameters = self._resident(build, 0, op.mult)
            count, padded = (
                [a.value.data for a in (op.count0, op.shift, op.lo, op.hi)],
                op.count_include_pad.value.data != 0,
            )
            settings = (count[0], count[1], count[2], count[3])
            build.innermost(
                lambda _: [bfs_compute.PoolOp(out, act, "average", kernel, strides, pads, padded, parameters, settings)]
            )
        else:
            build.innermost(lambda _: [bfs_compute.PoolOp(out, act, "max", kernel, strides, pads)])
        self._finish(build, op.output, [op])

    def _pool_in_parts(self, op: esc.MaxPoolOp | esc.AvgPoolOp) -> bool:
        """Tile a pooling of which no whole window fits as other operations; False if there are none for it."""
        if isinstance(op, esc.AvgPoolOp):
            requantize = average_as_convolution(op)
            if requantize is not None:
                self._convolution(requantize, average=True)
            return requantize is not None
        passes = separate_maximum(op)
        for part in passes or ():
            self._pool(part)
        return passes is not None

    def _map(self, op: esc.LookupOp | esc.ConcatOp | esc.SliceOp) -> None:
        inputs = self._inputs(*op.operands)
        if inputs is None:
            return
        h, w, _ = inputs[0].shape
        _, oh, ow, k = shape_of(op.output)
        strides, offsets = (1, 1), (0, 0, 0)
        if isinstance(op, esc.SliceOp):
            (sy, sx), (oy, ox, oc) = ints(op.strides), ints(op.offsets)
            strides, offsets = (sy, sx), (oy, ox, oc)
        maps: list[ChannelMap] = []
        first = 0
        for tensor in inputs:
            count = tensor.shape[2] if isinstance(op, esc.ConcatOp) else k
            maps.append(ChannelMap(first, count, offsets[2] - first, 1))
            first += tensor.shape[2]
        sources = tuple(t.source(m) for t, m in zip(inputs, maps, strict=True))
        fixed = (TABLE_BYTES,) if isinstance(op, esc.LookupOp) else ()
        pads = (-offsets[0], -offsets[1])
        p = Problem("map", h, w, oh, ow, k, sources, strides=strides, pads=pads, parameter_bytes=fixed)
        build = self._start(op, self._output(p, op.output))
        if build is None:
            return
        out, act = build.buffer["out"], build.buffer["act"]
        table = self._resident(build, 0, op.table) if isinstance(op, esc.LookupOp) else None
        for tensor, m in zip(inputs, maps, strict=True):
            load = build.load_act(tensor.name, m)
            moved = (offsets[0], offsets[1], m.offset)

            def move(moved: tuple[int, int, int] = moved, m: ChannelMap = m) -> Operation:
                return bfs_compute.MapOp(out, act, table, strides, moved, (m.first, m.extent))

            if len(inputs) == 1:
                build.before("act", load)
                build.innermost(lambda _, move=move: [move()])
            else:
                build.innermost(lambda at, load=load, move=move: [*load(at), move()])
        self._finish(build, op.output, [op])
