"""`double-buffer`: further instances for buffers that are filled more than once, so that one is filled while another is
read.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass

from dialects.attributes import i64_array
from dialects.bfs import BufferOp, LayerOp
from dialects.bfs_compute import ConvTileOp
from dialects.bfs_tiles import SPACES, TileOp
from isa.errors import UserError
from isa.target import Target
from passes.analysis.preserved import Preserved
from passes.layers.table import constant_rule
from passes.plan_memory import act_taken, stacks
from passes.tiling.bfs_module import bfs_program
from passes.tiling.loop_nest import Indices, executions, in_loop, span
from passes.tiling.memory import banded, instances_per_buffer, reserve, stack_above, with_act
from passes.tiling.reuse import Filling, Scratch

_SMALL = 8
"""A tile of which so many fit PSUM is computed so soon that the next one may wait for it."""


def _fills(op: Operation, buffer: BufferOp) -> bool:
    """Whether the operation fills the buffer, and may do so again later."""
    return isinstance(op, TileOp) and op.FILLS and op.operands[0] is buffer.result


def is_streamed(buffer: BufferOp) -> bool:
    """Whether a buffer is filled more than once: by an operation in a loop, or by several."""
    filling = [use.operation for use in buffer.result.uses if _fills(use.operation, buffer)]
    return len(filling) > 1 or any(in_loop(op) for op in filling)


def _region(op: TileOp, at: Indices) -> Hashable:
    """What an operation fills its buffer with."""
    if (rule := constant_rule(op)) is not None:
        return rule.transfer(op, at)
    if isinstance(op, ConvTileOp):
        return span(at, op.y, op.rows), span(at, op.x, op.columns), span(at, op.k, op.channels)
    return None


def fillings(layer: LayerOp, instances: Mapping[SSAValue, int]) -> dict[SSAValue, Filling]:
    """What those buffers of a layer of which `instances` says how many there must be hold one after the other, in the
    order in which they are first filled.
    """
    sizes: dict[SSAValue, int] = {b.result: b.nbytes for b in layer.buffers if b.result in instances}
    regions: dict[SSAValue, list[Hashable]] = {}
    kept: dict[SSAValue, bool] = {}
    for op, at in executions(layer):
        constant = constant_rule(op) is not None
        if (op.FILLS or constant) and (buffer := op.operands[0]) in instances:
            found, region = regions.setdefault(buffer, []), _region(op, at)
            kept[buffer] = constant
            if not found or region is None or found[-1] != region:
                found.append(region)
    order = [*regions, *(buffer for buffer in sizes if buffer not in regions)]
    return {b: Filling(sizes[b], instances[b], regions.get(b, ()), kept.get(b, False)) for b in order}


def _pairs(group: Sequence[LayerOp], space: str, target: Target, taken: int, from_top: bool) -> None:
    """A second address for buffers of layers that run together, next to the first one, where all first ones fit too."""
    apart = stacks(group, space, from_top)
    free = with_act(banded(target, len(apart)), taken)
    for stacked in apart:
        buffers = stacked.buffers
        wanted = [(str(i), b.space, b.nbytes, is_streamed(b)) for i, b in enumerate(buffers)]
        counts = instances_per_buffer(wanted, free)
        sizes = [b.nbytes for i, b in enumerate(buffers) for _ in range(int(counts[str(i)]))]
        addresses = iter(stack_above(sizes, space, target, taken, stacked.from_top))
        for i, buffer in enumerate(buffers):
            buffer.addresses = i64_array([next(addresses) for _ in range(int(counts[str(i)]))])


def _instances(group: Sequence[LayerOp], space: str, target: Target) -> dict[SSAValue, int]:
    """Instances of the buffers of layers that run together, of which each has bytes of its own: the largest are the
    first to get two.
    """
    buffers = sorted((b for layer in group for b in layer.buffers if b.space == space), key=lambda b: -b.nbytes)
    counts = instances_per_buffer([(str(i), space, b.nbytes, is_streamed(b)) for i, b in enumerate(buffers)], target)
    return {b.result: int(counts[str(i)]) for i, b in enumerate(buffers)}


def _as_many_as_fit(group: Sequence[LayerOp], space: str, target: Target, scratch: Scratch) -> None:
    """New addresses for all buffers of layers that run together, in a scratchpad of which `scratch` says what the
    groups before have left there.
    """
    buffers: dict[SSAValue, BufferOp] = {b.result: b for layer in group for b in layer.buffers}
    instances = _instances(group, space, target)
    found: dict[SSAValue, Filling] = {}
    for layer in group:
        found |= fillings(layer, instances)
    for b, places in zip(found, scratch.place(list(found.values())), strict=True):
        buffers[b].addresses = i64_array(places)


def _fit_apart(group: Sequence[LayerOp], target: Target) -> bool:
    """Whether the partial sums of layers that run together fit PSUM with two instances each, those of small tiles with
    one.
    """
    counts, capacity = _instances(group, "psum", target), target.scratchpad.psum
    buffers = [b for layer in group for b in layer.buffers if b.result in counts]
    doubled = all(counts[b.result] == 2 or not is_streamed(b) or b.nbytes <= capacity // _SMALL for b in buffers)
    return doubled and sum(reserve(b.nbytes) * counts[b.result] for b in buffers) <= capacity


def double_buffers(
    group: Sequence[LayerOp], target: Target, taken: int, from_top: bool, scratches: Mapping[str, Scratch]
) -> None:
    """Give streamed buffers of placed layers that run together further addresses as far as the scratchpads allow,
    without the first `taken` bytes of ACT. `scratches`: the other scratchpads after the groups before.

    No layer keeps anything in PSUM from one tile to the next. Layers side by side that do not fit apart there keep to
    one of its ends, so that neighbours work apart; one of which only one instance fits its half takes all the room.
    """
    for space in SPACES:
        scratch = scratches.get(space)
        shared = space == "psum" and len(group) > 1 and not _fit_apart(group, target)
        if scratch is None or shared:
            _pairs(group, space, target, taken, from_top)
        if scratch is not None:
            for part in [(layer,) for layer in group if _has_single(layer, space)] if shared else [group]:
                _as_many_as_fit(part, space, target, scratch)


def _has_single(layer: LayerOp, space: str) -> bool:
    """Whether a layer has streamed buffers of one instance in a scratchpad."""
    return any(b.space == space and is_streamed(b) and len(b.places) == 1 for b in layer.buffers)


@dataclass(frozen=True)
class DoubleBufferPass(ModulePass):
    """Turn single buffers into several instances where they fit.

    ACT takes pairs: first of the input tiles, then in the order of the layer's declarations. In the other scratchpads
    a buffer has as many instances as there is room, each where the layers before need the bytes no longer first. So
    loads run ahead as far as there is room, those of the next layers among them. The machine's queues run ahead of
    each other only as far as buffers allow; without this pass the program is the same, slower.
    """

    name = "double-buffer"
    PRESERVES: ClassVar[Preserved] = Preserved.OUTPUTS

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        program = bfs_program(op)
        target = program.machine
        unplaced = [x.layer_name.data for x in program.layers if any(not b.places for b in x.buffers)]
        if unplaced:
            raise UserError(
                [f"layer '{name}': buffers have no addresses" for name in unplaced], "run plan-memory first"
            )
        taken = act_taken(program)
        scratches = {space: Scratch(getattr(target.scratchpad, space)) for space in SPACES if space != "act"}
        for i, group in enumerate(program.groups):
            double_buffers(group, target, taken[i], i % 2 == 1, scratches)
