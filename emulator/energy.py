"""Energy: counted events times the energies of the target, in microjoule by component."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from isa.counts import Count
from isa.table import INSTRUCTIONS
from isa.target import PerMemory, Target

SCRATCHPADS = ("act", "coef", "par", "psum")
MEMORIES = (*SCRATCHPADS, "registers", "fifo")
"""What the target has energies for: beside the scratchpads, coefficient registers and broadcast FIFOs of the blocks."""
DRAM_COUNTS = {
    "activations_in": Count.DRAM_ACTIVATIONS_IN,
    "activations_out": Count.DRAM_ACTIVATIONS_OUT,
    "weights": Count.DRAM_WEIGHTS,
    "parameters": Count.DRAM_PARAMETERS,
}
TRAFFIC = {name: (Count[f"{name.upper()}_READ"], Count[f"{name.upper()}_WRITE"]) for name in MEMORIES}
"""What counts the bytes read and written of each of `MEMORIES`."""
COMPONENTS = ("dram", *MEMORIES, "accumulators", "mac_rows", "gather", "post", "leakage")
"""Beside these there may be components of instructions from other packages, which declare what logic they switch."""


def energy(counts: Sequence[int], cycles: float, instruction_bytes: int, target: Target) -> dict[str, float]:
    """Microjoule of every component of `COMPONENTS`, and of those that other packages add, for event counts
    [len(Count)] and a stretch of `cycles`.
    """
    e = target.energy

    def n(count: Count) -> float:
        return float(counts[count])

    def pad(table: PerMemory, name: str) -> float:
        return float(getattr(table, name))

    picojoule = {"dram": e.dram_byte * (sum(n(c) for c in DRAM_COUNTS.values()) + instruction_bytes)}
    for name, (read, write) in TRAFFIC.items():
        picojoule[name] = pad(e.sram_read_byte, name) * n(read) + pad(e.sram_write_byte, name) * n(write)
    picojoule["accumulators"] = e.add_int8 * n(Count.CA_ADD_INT8) + e.add_int32 * n(Count.CA_ADD_INT32)
    picojoule["mac_rows"] = e.mul_int8 * n(Count.MAC_MUL_INT8) + e.add_int32 * n(Count.MAC_ADD_INT32)
    for spec in INSTRUCTIONS:
        for logic in spec.switching(target):
            already = picojoule.get(logic.component, 0.0)
            picojoule[logic.component] = already + logic.picojoule(target) * n(logic.count)
    picojoule["post"] = (
        e.add_int8 * n(Count.POST_ADD_INT8)
        + e.add_int32 * n(Count.POST_ADD_INT32)
        + e.mul_int32 * n(Count.POST_MUL_INT32)
    )
    milliwatt = sum(pad(e.leakage_mw, f.name) for f in fields(PerMemory))
    picojoule["leakage"] = milliwatt * cycles / target.clock.frequency_mhz * 1e3
    return {name: value * 1e-6 for name, value in picojoule.items()}
