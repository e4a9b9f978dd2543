"""What the kinds of convolutions share: windows in parts, partial sums, requantisation with residual and table."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from xdsl.ir import Operation, SSAValue

from dialects import bfs_compute as compute
from dialects import esc
from dialects.attributes import ints
from dialects.bfs_tiles import LoadWeightsOp
from dialects.blob import DenseAttr
from dialects.esc import shape_of
from dialects.esc_base import AccumulatorOp
from isa.formats import Scratchpad, TensorFormat
from isa.layout import ADD_BLOCK_BYTES, TABLE_BYTES
from isa.target import Target
from isa.weights import pack_weights, weight_table
from passes.decomposition.weight_form import WeightForm
from passes.layers.pooled import with_maximum, write_maxima
from passes.layers.requantise import requantise
from passes.tiling.conv_shape import ConvShape
from passes.tiling.declarations import DENSITY, Declarations, DeclaredTensor
from passes.tiling.esc_op_to_layer import LayerTiler, with_output
from passes.tiling.geometry import ChannelMap, Span, steps, window_span
from passes.tiling.layer_kind import ConstantRule, LayerKind, Packed, Transfer
from passes.tiling.layer_to_instructions import HeldRegion, LayerLowering
from passes.tiling.limits import room_faults, window_faults
from passes.tiling.loop_nest import Indices, span
from passes.tiling.loop_nest_builder import Emit, LoopNestBuilder, Part, Ranges
from passes.tiling.problem import InputSource, Tiling, TilingProblem, Workload
from passes.tiling.two_tensors import add_block


@dataclass(frozen=True)
class Stages:
    """The operations of a convolution before its requantisation, and what of them all kinds handle alike.

    `operations` in order, the first reads the layer's input; `window` names the last one, which has strides and pads.
    `weight`: the constant that is loaded output channel by output channel, [K][...]. `resident`: constants that stay in
    PAR for the whole layer. `shift`: right shift of the sums of which a load makes weights. `layout`: numbers that tell
    how the weights lie, in terms of the kind's own.
    """

    operations: Sequence[Operation]
    window: AccumulatorOp
    kernel: tuple[int, int]
    groups: int
    weight: DenseAttr
    resident: Sequence[DenseAttr] = ()
    shift: int = 0
    layout: tuple[int, ...] = ()


class ConvConstants(NamedTuple):
    """The values by which a convolution multiplies: `weight` [K][...], loaded output channel by output channel, and
    `resident`, in PAR for the whole layer; the strides of its windows; `shift` and `layout` as in `Stages`.
    """

    weight: NDArray[np.generic]
    resident: Sequence[NDArray[np.generic]]
    strides: Sequence[int]
    shift: int = 0
    layout: tuple[int, ...] = ()


def dense_faults(op: AccumulatorOp, depth: int, target: Target) -> Iterator[str]:
    """Why the machine cannot compute a convolution with int8 weights of `depth` input channels each; its windows may be
    accumulated in parts.
    """
    yield from window_faults("conv.dense", op.kernel, *op.window)
    chunk, pads = target.array.chunk, target.scratchpad
    channels = min(shape_of(op.operands[0])[3], chunk)
    yield from room_faults(
        target,
        [
            ("input of one position", channels, pads.act),
            ("weights of one position and channel", min(depth, chunk), pads.coef),
        ],
    )


class ConvolutionKind(LayerKind):
    """A layer that ends in `esc.requantize`; subclasses say how its partial sums come about."""

    @abstractmethod
    def stages(self, op: esc.RequantizeOp) -> Stages | None:
        """The operations that the kind computes before the requantisation; None if they are not of the kind."""

    @abstractmethod
    def work(self, constants: ConvConstants, density: float, target: Target) -> Workload:
        """What the tiler asks of a layer with these constants, where a share `density` of the input is not zero."""

    def work_with_data(
        self, work: Workload, constants: ConvConstants, packed: float, density: float, target: Target
    ) -> Workload:
        """The same work with what schedules do not look at: `packed`, bytes in DRAM of a weight, and all values."""
        return work

    def form_constants(self, form: WeightForm) -> tuple[NDArray[np.generic], Sequence[NDArray[np.generic]]]:
        """The weights that are loaded output channel by output channel, and what stays in PAR, of a weight form that
        names the kind. Raises TypeError for any other.
        """
        raise TypeError(f"layer kind '{self.name}' computes no weight form, asked for '{form.name}'")

    def form_layout(self, form: WeightForm) -> tuple[int, ...]:
        """The layout (`Stages`) of a weight form that names the kind."""
        return ()

    def transfers(self, p: TilingProblem, t: Tiling, layout: tuple[int, ...]) -> list[Transfer]:
        """The parts of the weights that the loads of a tiling bring in."""
        return weight_transfers(p, t)

    def problem(self, form: WeightForm, shape: ConvShape, target: Target) -> TilingProblem:
        weight, resident = self.form_constants(form)
        (h, w), (oh, ow), k = shape.input, shape.output, shape.k
        density = 1.0 if shape.input_format is TensorFormat.RAW else DENSITY
        return TilingProblem(
            work=self.work(
                ConvConstants(weight, resident, shape.strides, layout=self.form_layout(form)), density, target
            ),
            h=h,
            w=w,
            oh=oh,
            ow=ow,
            k=k,
            sources=(InputSource(shape.c, shape.input_format, ChannelMap(0, k, 0, k), density),),
            kernel=shape.kernel,
            strides=shape.strides,
            pads=shape.pads,
            cpg=shape.c,
            kpg=k,
            parameter_bytes=tuple(constant.nbytes for constant in resident),
            output_format=shape.output_format,
            output_density=1.0 if shape.output_format is TensorFormat.RAW else DENSITY,
        )

    def with_data(
        self, p: TilingProblem, t: Tiling, form: WeightForm, shape: ConvShape, target: Target
    ) -> tuple[TilingProblem, int]:
        weight, resident = self.form_constants(form)
        rule = next(rule for rule in self.rules if isinstance(rule, ConstantRule))
        layout = self.form_layout(form)
        transfers = self.transfers(p, t, layout)
        nbytes = sum(rule.packed_bytes(part, transfers) for part in _window_parts(weight, shape.kernel, p.kernel))
        constants = ConvConstants(weight, resident, shape.strides, layout=layout)
        work = self.work_with_data(p.work, constants, nbytes / max(1, weight.size), shape.density, target)
        source = replace(p.sources[0], density=shape.density)
        return replace(p, work=work, sources=(source,)), nbytes + sum(constant.nbytes for constant in resident)

    @abstractmethod
    def load_weights(self, build: LoopNestBuilder, constant: str) -> Emit:
        """The load of a constant of weights."""

    @abstractmethod
    def compute(
        self, build: LoopNestBuilder, stages: Stages, resident: Sequence[SSAValue], part: Part, further: bool
    ) -> Emit:
        """The operation that computes a part of the window: the first one starts new partial sums, a `further` one adds
        to them. `resident` are the buffers of the constants of that name.
        """

    def matches(self, op: Operation) -> bool:
        return isinstance(op, esc.RequantizeOp) and self.stages(op) is not None

    def tile(self, op: Operation, tiler: LayerTiler, averaged: bool = False) -> None:
        assert isinstance(op, esc.RequantizeOp)
        stages = self.stages(op)
        assert stages is not None
        first = stages.operations[0]
        inputs = tiler.inputs(first.operands[0], *([] if op.residual is None else [op.residual]))
        if inputs is None:
            return
        strides, _ = stages.window.window
        resident_values = [constant.array for constant in stages.resident]
        constants = ConvConstants(stages.weight.array, resident_values, strides, stages.shift, stages.layout)
        work = self.work(constants, inputs[0].density, tiler.target)
        problem, value = with_output(_problem(work, stages, op, inputs), op.output, averaged), op.output
        operations: list[Operation] = [*stages.operations, op]
        _, oh, ow, _ = shape_of(value)
        if not averaged and (found := with_maximum(problem, op, tiler)) is not None:
            problem, maximum = found
            value = maximum.output
            operations.append(maximum)
            tiler.joined.add(maximum)
        build = tiler.start(first, problem, value)
        if build is None:
            return
        weights = 0 if averaged else problem.k * problem.taps * problem.cpg
        # PAR blocks in the order of `_parameter_bytes`.
        blocks = iter(range(len(problem.parameter_bytes)))
        resident = [tiler.resident(build, next(blocks), constant) for constant in stages.resident]
        table = None if op.table is None else tiler.resident(build, next(blocks), op.table)
        addition = None if op.residual is None else tiler.resident(build, next(blocks), _addition(op))
        parts = _parts(problem, build.problem.kernel, stages.weight, tiler.declared)
        parameters = np.stack([np.asarray(a, np.int32) for a in (op.bias.array, op.mult.array, op.shift.array)])

        build.convolve(
            inputs[0].name,
            parts,
            tiler.declared.constant(parameters),
            lambda constant: self.load_weights(build, constant),
            lambda part, further: self.compute(build, stages, resident, part, further),
        )
        if value is op.output:
            requantise(build, op, inputs, table, addition)
        else:
            write_maxima(build, op, table)
        tiler.finish(build, value, operations, oh * ow * weights, weights)


def _parameter_bytes(stages: Stages, op: esc.RequantizeOp) -> tuple[int, ...]:
    """Bytes of the PAR blocks that stay for the whole layer."""
    table = () if op.table is None else (TABLE_BYTES,)
    addition = () if op.residual is None else (ADD_BLOCK_BYTES,)
    return (*(constant.array.nbytes for constant in stages.resident), *table, *addition)


def _problem(work: Workload, stages: Stages, op: esc.RequantizeOp, inputs: Sequence[DeclaredTensor]) -> TilingProblem:
    h, w, c = inputs[0].shape
    _, oh, ow, k = shape_of(op.output)
    (sy, sx), pads = stages.window.window
    return TilingProblem(
        work=work,
        h=h,
        w=w,
        oh=oh,
        ow=ow,
        k=k,
        sources=(inputs[0].source(ChannelMap(0, k, 0, k // stages.groups)),),
        kernel=stages.kernel,
        strides=(sy, sx),
        pads=(pads[0], pads[1]),
        cpg=c // stages.groups,
        kpg=k // stages.groups,
        residual=None if op.residual is None else inputs[1].whole(),
        parameter_bytes=_parameter_bytes(stages, op),
    )


def _parts(whole: TilingProblem, kernel: tuple[int, int], weight: DenseAttr, declared: Declarations) -> list[Part]:
    """The window of a convolution in parts of `kernel`, the last ones clipped."""
    if kernel == whole.kernel:
        return [Part(kernel, whole.pads, declared.constant(weight))]
    return [
        Part(
            (rows.extent, columns.extent),
            (whole.pads[0] - rows.first, whole.pads[1] - columns.first),
            declared.constant(weight.array[:, rows.first : rows.end, columns.first : columns.end]),
        )
        for rows in steps(0, whole.kernel[0], kernel[0])
        for columns in steps(0, whole.kernel[1], kernel[1])
    ]


def weight_transfers(p: TilingProblem, t: Tiling) -> list[Transfer]:
    """The parts of the weights that the loads of a tiling bring in."""
    whole = [Span(0, p.k)]
    if t.weights != p.k:
        whole = list(steps(0, p.k, t.channels))
    if t.weights not in (p.k, t.channels):
        whole = [inner for outer in whole for inner in steps(outer.first, outer.extent, t.psum_channels)]
    depths = [
        inner for outer in steps(0, p.cpg, t.input_channels) for inner in steps(outer.first, outer.extent, t.depth)
    ]
    return [Transfer(k, c) for k in whole for c in depths]


def _window_parts(
    weight: NDArray[np.generic], whole: tuple[int, int], kernel: tuple[int, int]
) -> list[NDArray[np.generic]]:
    """The weights of each part of a window that is taken in parts of `kernel`; else all of them."""
    if kernel == whole:
        return [weight]
    return [
        weight[:, rows.first : rows.end, columns.first : columns.end]
        for rows in steps(0, whole[0], kernel[0])
        for columns in steps(0, whole[1], kernel[1])
    ]


def _addition(op: esc.RequantizeOp) -> NDArray[np.uint8]:
    assert op.addition is not None  # or the operation has no residual
    return add_block(op.addition)


def channels_tile(build: LoopNestBuilder, part: Part, at: Ranges) -> compute.ChannelsTile:
    """What a convolution over input channels works on in a part of the window, where the loops are at `at`."""
    p, buffer = build.problem, build.buffer
    return compute.ChannelsTile(
        buffer["psum"],
        build.source_buffer(),
        buffer["weights"],
        (at["py"], at["x"], at["pk"], at["c"]),
        (part.kernel, p.strides, part.pads),
    )


# Lowering ------------------------------------------------------------------------------------------------------------


def input_fields(
    layer: LayerLowering, op: compute.ConvTileOp, region: HeldRegion, address: int, part: HeldRegion, channels: Span
) -> dict[str, int]:
    """Fields of the input that a PSUM tile needs, `channels` of it, and of its windows: the padding seen from there.

    Raises `UserError` if the input tile does not hold all of that.
    """
    (r, s), (sy, sx), (pt, pl) = ints(op.kernel), ints(op.strides), ints(op.pads)
    h, w, _ = layer.source(region).extents
    y, x = window_span(part.y, r, sy, pt, h), window_span(part.x, s, sx, pl, w)
    return {
        **layer.act_fields(region, address, (y, x, channels)),
        "r": r,
        "s": s,
        "sy": sy,
        "sx": sx,
        "pt": y.first - (part.y.first * sy - pt),
        "pl": x.first - (part.x.first * sx - pl),
    }


_ONE = Span(0, 1)


def partial_sums(
    layer: LayerLowering, op: compute.ConvTileOp, at: Indices, first: bool, c: Span = _ONE, cpg: int = 1
) -> tuple[HeldRegion, dict[str, int]]:
    """The PSUM tile of a convolution: the next instance if `first`, else the current one.

    Every part of the window adds the input channels of a group in order and once: here `c` of `cpg`. Raises
    `UserError` otherwise.
    """
    part = HeldRegion("", span(at, op.y, op.rows), span(at, op.x, op.columns), span(at, op.k, op.channels))
    layer.require_room(op.psum, 4 * part.y.extent * part.x.extent * part.k.extent)
    state = layer.states[op.psum]
    if first:
        state.turn(part)
        state.summed = {}
    elif layer.held(op.psum)[0] != part:
        raise layer.fault("a convolution adds to other partial sums than were begun")
    window = (ints(op.kernel), ints(op.pads))
    done, _ = state.summed.get(window, (0, cpg))
    if c.first != done:
        raise layer.fault(f"a convolution adds input channels from {c.first} on where {done} have been added")
    state.summed[window] = c.end, cpg
    n = part.k.extent
    return part, {"psum": state.address, "oh": part.y.extent, "ow": part.x.extent, "kt": n, "kn": n}


def weight_parts(value: NDArray[np.generic], transfers: Sequence[Transfer]) -> list[NDArray[np.int8]]:
    """What each transfer brings in of a constant int8 [K, ., ., C]."""
    return [np.ascontiguousarray(value[t.k.first : t.k.end, :, :, t.c.first : t.c.end], np.int8) for t in transfers]


def packed_together(parts: Sequence[NDArray[np.int8]]) -> tuple[bytes, list[tuple[bytes, int]]]:
    """The code table that all parts of a constant share, and of each part its packed bytes and how many values it has.

    No parts need no table.
    """
    if not parts:
        return b"", []
    table = weight_table(np.concatenate([part.reshape(-1) for part in parts]))
    return table, [(pack_weights(part, table), part.size) for part in parts]


class LoadWeightsRule(ConstantRule):
    """`load.weights` of packed int8 weights, or `load.bytes` where packing does not make a constant smaller.

    All transfers of a constant share one code table, which comes first; the coding of a transfer is its number of
    weights.
    """

    operation = LoadWeightsOp
    axes = (0, 3)

    def transfer(self, op: LoadWeightsOp, at: Indices) -> tuple[str, Transfer]:
        return op.constant.string_value(), Transfer(span(at, op.k, op.channels), span(at, op.c, op.depth))

    def pack(self, value: NDArray[np.generic], transfers: Sequence[Transfer]) -> Packed:
        parts = weight_parts(value, transfers)
        table, packed = packed_together(parts)
        if len(table) + sum(len(data) for data, _ in packed) < sum(part.size for part in parts):
            return Packed(table, packed)
        return Packed(b"", [(part.tobytes(), 0) for part in parts])

    def lower(self, layer: LayerLowering, op: LoadWeightsOp, at: Indices) -> None:
        region = HeldRegion(op.constant.string_value(), k=span(at, op.k, op.channels), c=span(at, op.c, op.depth))
        address, size, count = layer.piece(op.constant, region.k.first, region.c.first)
        if not count:
            layer.load_bytes(op.buffer, region, op.constant, Scratchpad.COEF)
            return
        layer.require_room(op.buffer, count)
        state = layer.states[op.buffer]
        if state.fill(region):
            table = layer.shared(op.constant)
            layer.emit("load.weights", dram=address, size=size, table=table, count=count, dst=state.address)


def whole_groups(layer: LayerLowering, part: Span, kpg: int) -> Span:
    """The groups of `kpg` output channels that a range of output channels touches; several only if it begins one.

    Raises `UserError` otherwise.
    """
    groups = Span(part.first // kpg, -(-part.end // kpg) - part.first // kpg)
    if groups.extent > 1 and part.first % kpg:
        raise layer.fault("a convolution of several groups must take whole ones")
    return groups


class Int8ConvolutionKind(ConvolutionKind):
    """A convolution that reads its int8 weights as they are: `depthwise` says which of the two sorts a kind takes."""

    depthwise: ClassVar[bool]

    def faults(self, op: esc.EscOp, target: Target) -> Iterator[str]:
        if isinstance(op, esc.Conv2dOp) and op.is_depthwise == self.depthwise:
            return dense_faults(op, op.weight.array.shape[3], target)
        return iter(())

    def stages(self, op: esc.RequantizeOp) -> Stages | None:
        conv = op.input.owner
        if not isinstance(conv, esc.Conv2dOp) or conv.is_depthwise != self.depthwise:
            return None
        _, r, s, _ = conv.weight.array.shape
        return Stages([conv], conv, (r, s), conv.groups.value.data, conv.weight)

    def load_weights(self, build: LoopNestBuilder, constant: str) -> Emit:
        t, buffer = build.tiling, build.buffer["weights"]
        return lambda at: [LoadWeightsOp(buffer, constant, build.channel_range(t.weights, at), at["c"])]
