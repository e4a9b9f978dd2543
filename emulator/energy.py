"""Energy: counted events times the energies of the target, in microjoule by component.

Events that instructions share are priced here; what a single instruction counts brings its energy (`isa.events`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

from isa.counts import Count
from isa.events import Countable, EnergyComponent
from isa.table import EVENTS
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
_ARITHMETIC = ("accumulators", "mac_rows")
_BEHIND = ("post", "leakage")
OWN_COMPONENTS: Mapping[str, EnergyComponent] = {
    event.component.name: event.component
    for event in EVENTS
    if event.component is not None and event.component.name not in ("dram", *MEMORIES, *_ARITHMETIC, *_BEHIND)
}
"""By name, what consists of logic that single instructions declare."""
COMPONENTS = ("dram", *MEMORIES, *_ARITHMETIC, *OWN_COMPONENTS, *_BEHIND)


def energy(counts: Mapping[Countable, int], cycles: float, instruction_bytes: int, target: Target) -> dict[str, float]:
    """Microjoule of every one of `COMPONENTS`, for numbers of events and a stretch of `cycles`."""
    e = target.energy

    def n(count: Count) -> float:
        return float(counts[count])

    def pad(table: PerMemory, name: str) -> float:
        return float(getattr(table, name))

    picojoule = dict.fromkeys(COMPONENTS, 0.0)
    picojoule["dram"] = e.dram_byte * (sum(n(c) for c in DRAM_COUNTS.values()) + instruction_bytes)
    for name, (read, write) in TRAFFIC.items():
        picojoule[name] = pad(e.sram_read_byte, name) * n(read) + pad(e.sram_write_byte, name) * n(write)
    picojoule["accumulators"] = e.add_int8 * n(Count.CA_ADD_INT8) + e.add_int32 * n(Count.CA_ADD_INT32)
    picojoule["mac_rows"] = e.mul_int8 * n(Count.MAC_MUL_INT8) + e.add_int32 * n(Count.MAC_ADD_INT32)
    picojoule["post"] = (
        e.add_int8 * n(Count.POST_ADD_INT8)
        + e.add_int32 * n(Count.POST_ADD_INT32)
        + e.mul_int32 * n(Count.POST_MUL_INT32)
    )
    milliwatt = sum(pad(e.leakage_mw, f.name) for f in fields(PerMemory))
    picojoule["leakage"] = milliwatt * cycles / target.clock.frequency_mhz * 1e3
    for event in EVENTS:
        if event.component is not None and event.picojoule is not None:
            picojoule[event.component.name] += event.picojoule(target) * counts[event]
    return {name: value * 1e-6 for name, value in picojoule.items()}
