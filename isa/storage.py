"""The memory that a machine spends on operands: every scratchpad, FIFO and register file, from its declaration."""

from __future__ import annotations

from dataclasses import fields

from isa.target import Target


def operand_memories(target: Target) -> dict[str, int]:
    """Bytes of each memory that holds activations, coefficients, weights, parameters or sums, over the whole machine.

    A broadcast FIFO is counted with one chunk a position. Buffers of instructions and addresses are not operands.
    """
    a, found = target.array, {f.name: int(getattr(target.scratchpad, f.name)) for f in fields(target.scratchpad)}
    found["broadcast FIFOs"] = a.blocks * a.fifo_depth * (a.chunk + a.chunk // 8)
    found["intermediate FIFOs"] = a.blocks * a.slices * a.ic_fifo_depth * -(-a.ic_bits // 8)
    found["load FIFO"] = target.dma.load_fifo
    found["store FIFO"] = target.dma.store_fifo
    return found


def operand_memory_text(target: Target) -> str:
    """Comment lines of a target file: the bytes of every memory, and their sum."""
    memories = operand_memories(target)
    parts = ", ".join(f"{name} {size:,}" for name, size in memories.items())
    return f"# operand memory: {sum(memories.values()):,} bytes\n#   {parts}\n"
