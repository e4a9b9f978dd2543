"""The memory that a machine spends on operands: every scratchpad, FIFO and register file, from its declaration."""

from __future__ import annotations

from dataclasses import fields

from isa.instructions.conv_esc import register_bits
from isa.integers import ceil_div
from isa.target import Target

_REGISTER_SETS = 2
"""Sets of coefficient registers of a block: one in use, one being filled."""


def operand_memories(target: Target) -> dict[str, int]:
    """Bytes of each memory that holds activations, coefficients, weights, parameters or sums, over the whole machine.

    A chunk in a broadcast FIFO takes its bitmap and a byte a channel. Buffers of instructions and addresses are not
    operands.
    """
    a, found = target.array, {f.name: int(getattr(target.scratchpad, f.name)) for f in fields(target.scratchpad)}
    registers = _REGISTER_SETS * a.coefficient_registers
    found["coefficient registers"] = a.blocks * ceil_div(registers * register_bits(1), 8)
    found["broadcast FIFOs"] = ceil_div(a.blocks, a.fifo_blocks) * a.fifo_chunks * (a.chunk + a.chunk // 8)
    found["intermediate FIFOs"] = a.blocks * a.slices * a.ic_fifo_depth * ceil_div(a.ic_bits, 8)
    found["load FIFO"] = target.dma.load_fifo
    found["store FIFO"] = target.dma.store_fifo
    return found


def operand_bytes(target: Target) -> int:
    """Bytes of all memories that hold operands."""
    return sum(operand_memories(target).values())


def operand_memory_text(target: Target) -> str:
    """Comment lines of a target file: the bytes of every memory, and their sum."""
    memories = operand_memories(target)
    parts = ", ".join(f"{name} {size:,}" for name, size in memories.items())
    return f"# operand memory: {operand_bytes(target):,} bytes\n#   {parts}\n"
