"""The page of `esc-emu --report`: where the cycles, the energy and the bytes of a run went."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from emulator.bounds import RESOURCES
from emulator.statistics import STALLS
from escc.reports.bars import bars
from escc.reports.components import COMPONENT_TEXT, STALL_TEXT, host_card
from escc.reports.graph import LayerGraph, LayerNode, edges_of
from escc.reports.page import Card, Page, Section
from escc.reports.roofline import Point, roofline
from escc.reports.table import Column, Table, Value
from escc.reports.vega import Chart
from isa.program import Program
from isa.text import quantity

Data: TypeAlias = Mapping[str, Any]

BINDINGS = {"mac_rows": "MAC rows", "accumulators": "accumulators", "post": "post unit", "dram": "DRAM", "": "nothing"}
"""What binds a layer, for people."""

_COLUMNS: tuple[tuple[Column, Callable[[Data], Value]], ...] = (
    (Column("cycles", ",.0f", "length of the layer's window"), lambda d: d["cycles"]),
    (Column("share", ".1%"), lambda d: d["share"]),
    (Column("busy", ".1%", "compute unit at work"), lambda d: d["busy_cycles"]["compute"] / (d["cycles"] or 1)),
    (Column("bound", ",.0f", "lower bound in cycles"), lambda d: d["lower_bound"]["cycles"]),
    (Column("bound by"), lambda d: BINDINGS[d["lower_bound"]["binding"]]),
    (Column("efficiency", ".1%", "bound over active cycles"), lambda d: d["lower_bound"]["efficiency"]),
    (Column("MMAC", ",.2f", "of the undecomposed layer"), lambda d: d["dense_macs"] * 1e-6 or None),
    (Column("Mop done", ",.2f", "multiplications and matches"), lambda d: d["effective_operations"] * 1e-6 or None),
    (Column("input density", ".2f"), lambda d: d["input_density"]),
    (Column("weight density", ".2f"), lambda d: d["weight_density"]),
    (Column("DRAM kB", ",.1f"), lambda d: d["dram_bytes"]["total"] * 1e-3),
    (Column("weights kB", ",.1f"), lambda d: d["dram_bytes"]["weights"] * 1e-3),
    (Column("energy µJ", ",.2f"), lambda d: d["energy_uj"]["total"]),
)


def page(program: Program, data: Data, title: str, accuracy: float | None = None) -> Page:
    """The page of a run; `data` as in `emulator.statistics`, `accuracy`: measured top-1 share of right answers."""
    totals, machine, images = data["totals"], data["machine"], data["images"]
    run = f"mean of {images} images" if images > 1 else "one image"
    subtitle = f"target {machine['target']} at {machine['frequency_mhz']:g} MHz, {run}; {program.producer}"
    sections = [_cycles(data), _graph(program, data), _energy(data), _bytes(data), _roofline(program, data)]
    return Page(title, subtitle, _cards(program, totals, accuracy), [*filter(None, sections), _table(data)])


def _cards(program: Program, totals: Data, accuracy: float | None) -> list[Card]:
    bound, time = totals["lower_bound"], quantity(totals["time_ms"] * 1e-3, "s", 3).replace("u", "µ")
    cards = [
        Card(f"{totals['cycles']:,.0f}", f"cycles, {time} an image"),
        Card(f"{bound['efficiency']:.1%}", f"efficiency: lower bound ({BINDINGS[bound['binding']]}) over cycles"),
        Card(f"{totals['energy_uj']['total']:,.2f} µJ", f"an image, {totals['average_power_mw']:,.0f} mW"),
        Card(f"{totals['dram_bytes']['total'] * 1e-3:,.1f} kB", "moved to and from DRAM"),
        Card(f"{len(program.rodata) * 1e-3:,.1f} kB", "constants in DRAM"),
    ]
    if program.hosted is not None:
        cards.append(host_card(program.hosted.work))
    if accuracy is not None:
        cards.append(Card(f"{accuracy:.2%}", "top-1 accuracy"))
    return cards


def _names(data: Data) -> list[str]:
    return [d["name"] for d in data["layers"]]


def _cycles(data: Data) -> Chart:
    layers: Sequence[Data] = data["layers"]
    parts = {"computes": [d["busy_cycles"]["compute"] for d in layers]}
    parts |= {STALL_TEXT[name]: [d["stall_cycles"][name] for d in layers] for name in STALLS}
    text = "What the compute unit does in each cycle: it computes, or it waits, and this is the unit that it waits for."
    return bars("Cycles by stall cause", text, _names(data), parts, "cycles")


def _energy(data: Data) -> Chart:
    energy: Data = data["totals"]["energy_uj"]
    kinds = [name for name, value in energy.items() if name != "total" and value]
    parts = {COMPONENT_TEXT.get(name, name): [d["energy_uj"][name] for d in data["layers"]] for name in kinds}
    return bars("Energy by component", "Microjoule of an image.", _names(data), parts, "µJ", ",.3f")


def _bytes(data: Data) -> Chart:
    kinds = [name for name in data["totals"]["dram_bytes"] if name != "total"]
    parts = {name.replace("_", " "): [d["dram_bytes"][name] for d in data["layers"]] for name in kinds}
    return bars("DRAM traffic", "Bytes that cross the channel, in whole bursts.", _names(data), parts, "bytes")


def _roofline(program: Program, data: Data) -> Chart | None:
    points = [
        Point(
            d["name"],
            d["dense_macs"],
            d["dram_bytes"]["total"] - d["dram_bytes"]["instructions"],
            d["lower_bound"]["active_cycles"],
            d["lower_bound"]["cycles"],
            BINDINGS[d["lower_bound"]["binding"]],
        )
        for d in data["layers"]
    ]
    bindings = [BINDINGS[name] for name in RESOURCES]
    return roofline(points, data["machine"]["multipliers"], program.target.dram_bytes_per_cycle, bindings)


def _graph(program: Program, data: Data) -> Section:
    nodes = [LayerNode(port.name, "input", None, "") for port in program.inputs]
    nodes += [LayerNode(d["name"], d["kind"], d["cycles"], f"{d['cycles']:,.0f}") for d in data["layers"]]
    edges = edges_of(program)
    return LayerGraph("Network", "Layers in the order in which they run, coloured by cycles.", nodes, edges)


def _table(data: Data) -> Table:
    columns = [Column("layer"), Column("kind"), *(column for column, _ in _COLUMNS)]
    rows = [[d["name"], d["kind"], *(value(d) for _, value in _COLUMNS)] for d in data["layers"]]
    totals = ["total", "", *(value(data["totals"]) for _, value in _COLUMNS)]
    tips = [", ".join(d["nodes"]) for d in data["layers"]]
    return Table(
        "Layers", "A click on a head sorts; docs/performance.md defines every number.", columns, rows, totals, tips
    )
