"""The memory that a machine spends on operands: every scratchpad, FIFO and register file, from its declaration."""

from __future__ import annotations

from dataclasses import fields

from isa.integers import ceil_div
from isa.table import INSTRUCTIONS
from isa.target import Target


def operand_memories(target: Target) -> dict[str, int]:
    """Bytes of each memory that holds activations, coefficients, weights, parameters or sums, over the whole machine.

    A chunk in a broadcast FIFO takes its bitmap and a byte a channel. Buffers of instructions and addresses are not
    operands.
    """
    a, found = target.array, {f.name: int(getattr(target.scratchpad, f.name)) for f in fields(target.scratchpad)}
    for spec in INSTRUCTIONS:
        found |= spec.memories(target)
    found["broadcast FIFOs"] = ceil_div(a.blocks, a.fifo_blocks) * a.fifo_chunks * (a.chunk + a.chunk // 8)
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
