"""Time and energy of a baseline's layer beside a target: the target's DRAM, clock and event energies."""

from __future__ import annotations

from dataclasses import dataclass

from escc.baselines.machine import BaselineMachine, Result
from isa.errors import UserError
from isa.target import Target


@dataclass(frozen=True)
class LayerCost:
    """A layer of one image: `cycles` until both computing and DRAM are done, and microjoule by component."""

    cycles: float
    compute_cycles: float
    energy_uj: dict[str, float]


def check_technology(machine: BaselineMachine, target: Target) -> None:
    """Raise UserError if the energies of a machine and of a target belong to different technologies."""
    wanted = target.energy.technology_nm
    if machine.technology_nm != wanted:
        raise UserError(
            f"baseline '{machine.name}': its memories have energies of {machine.technology_nm} nm; target "
            f"'{target.name}' has those of {wanted} nm",
            "compare with a target of the same technology",
        )


def layer_cost(machine: BaselineMachine, result: Result, target: Target) -> LayerCost:
    """Cost of a layer: it lasts as long as the slower of computing and DRAM."""
    moving = result.dram.total / target.dram_bytes_per_cycle
    cycles = max(result.cycles, moving)
    e = target.energy
    picojoule = {
        "dram": e.dram_byte * result.dram.total,
        "arithmetic": e.mul_int8 * result.multiplications + e.add_int32 * result.additions,
    }
    for memory in machine.memories:
        access = result.accesses.get(memory.name)
        if access is not None:
            picojoule[memory.name] = memory.read_pj * access.read + memory.write_pj * access.written
    milliwatt = sum(m.leakage_mw * m.count for m in machine.memories)
    picojoule["leakage"] = milliwatt * cycles / target.clock.frequency_mhz * 1e3
    return LayerCost(cycles, result.cycles, {name: value * 1e-6 for name, value in picojoule.items()})
