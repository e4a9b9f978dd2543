"""Our side of a comparison: binaries on the emulator."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, cast

from emulator.evaluate import predict
from emulator.host import quantise
from emulator.machine import Machine
from emulator.statistics import average
from escc.compare.figures import Figures, LayerFigures, System, parts_of
from escc.compare.network import Data
from isa.program import Program
from isa.storage import operand_bytes


def system_of(name: str, kind: str, weights: str, program: Program, data: Data) -> System:
    """Statistics of the timed images, and top-1 of the classified ones."""
    machine = Machine(program)
    port = program.inputs[0]
    runs = [
        machine.run_stored([quantise(port, data.timed[i : i + 1])], stats=True).statistics
        for i in range(len(data.timed))
    ]
    found = average([run.data for run in runs if run is not None])
    top1 = data.top1(predict(machine, data.classified, os.cpu_count() or 1)) if data.labels is not None else None
    total = figures_of(found["totals"])
    return System(
        name,
        kind,
        program.target.description,
        weights,
        int(found["machine"]["multipliers"]),
        operand_bytes(program.target),
        len(program.rodata),
        None,
        top1,
        total,
        total,
        None,
        tuple(LayerFigures(row["name"], tuple(row["nodes"]), figures_of(row)) for row in found["layers"]),
    )


def figures_of(row: Mapping[str, Any]) -> Figures:
    """The figures of a layer or of the totals of `Statistics.data`.

    The window of a layer is shared out between the compute unit at work and its stalls by cause.
    """

    def without_total(key: str) -> dict[str, float]:
        table = cast("Mapping[str, float]", row[key])
        return {name: float(value) for name, value in table.items() if name != "total"}

    time = {"compute": float(row["busy_cycles"]["compute"]), **without_total("stall_cycles")}
    return Figures(
        float(row["cycles"]),
        float(row["compute_cycles"]),
        parts_of(time),
        parts_of(without_total("energy_uj")),
        parts_of(without_total("dram_bytes")),
    )
