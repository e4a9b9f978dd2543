"""`double-buffer`: a second instance for buffers that are filled in a loop, so that one is filled while the other is
read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation
from xdsl.passes import ModulePass

from dialects.attributes import i64_array
from dialects.bfs import BufferOp, LayerOp
from dialects.bfs_tiles import SPACES, TileOp
from isa.errors import UserError
from isa.target import Target
from passes.analysis.preserved import Preserved
from passes.plan_memory import act_taken, stacks
from passes.tiling.bfs_module import bfs_program
from passes.tiling.loop_nest import in_loop
from passes.tiling.memory import banded, instances_per_buffer, stack_above, with_act


def _fills(op: Operation, buffer: BufferOp) -> bool:
    """Whether the operation fills the buffer, and may do so again later."""
    return isinstance(op, TileOp) and op.FILLS and op.operands[0] is buffer.result


def is_streamed(buffer: BufferOp) -> bool:
    """Whether a buffer is filled more than once: by an operation in a loop, or by several."""
    filling = [use.operation for use in buffer.result.uses if _fills(use.operation, buffer)]
    return len(filling) > 1 or any(in_loop(op) for op in filling)


def double_buffers(group: Sequence[LayerOp], target: Target, taken: int, from_top: bool) -> None:
    """Give streamed buffers of placed layers that run together a second address as far as the scratchpads allow,
    without the first `taken` bytes of ACT.
    """
    free = with_act(banded(target) if len(group) > 1 else target, taken)
    for space in SPACES:
        for stacked in stacks(group, space, from_top):
            buffers = stacked.buffers
            wanted = [(str(i), b.space, b.nbytes, is_streamed(b)) for i, b in enumerate(buffers)]
            counts = instances_per_buffer(wanted, free)
            doubled = [b for i, b in enumerate(buffers) if counts[str(i)] == 2]
            sizes = [b.nbytes for b in (*buffers, *doubled)]
            addresses = stack_above(sizes, space, target, taken, stacked.from_top)
            second = iter(addresses[len(buffers) :])
            for buffer, address in zip(buffers, addresses, strict=False):
                buffer.addresses = i64_array([address, next(second)] if buffer in doubled else [address])


@dataclass(frozen=True)
class DoubleBufferPass(ModulePass):
    """Turn single buffers into pairs where they fit: first the input tiles, then the order of the layer's
    declarations.

    The machine's queues run ahead of each other only as far as buffers allow; without this pass the program is the
    same, slower.
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
        for i, group in enumerate(program.groups):
            double_buffers(group, target, taken[i], from_top=i % 2 == 1)
