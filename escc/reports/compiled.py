"""The page of `escc --report`: sizes, densities and mapping of every layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from escc.printing import times_smaller
from escc.report import LayerReport
from escc.reports.bars import bars
from escc.reports.components import host_card
from escc.reports.graph import LayerGraph, LayerNode, edges_of
from escc.reports.page import Card, Page
from escc.reports.table import Column, Table, Value
from escc.reports.vega import Chart
from isa.program import Program

_COLUMNS: tuple[tuple[Column, Callable[[LayerReport], Value]], ...] = (
    (Column("layer"), lambda r: r.name),
    (Column("kind"), lambda r: r.kind),
    (Column("output"), lambda r: "x".join(map(str, r.output))),
    (Column("MACs", ","), lambda r: r.macs),
    (Column("float32 bytes", ","), lambda r: r.original_bytes),
    (Column("packed bytes", ","), lambda r: r.packed_bytes),
    (Column("bits / weight", ".2f"), lambda r: r.bits_per_weight),
    (Column("density", ".1%"), lambda r: r.density),
    (Column("coefficient bytes", ","), lambda r: r.coefficient_bytes or None),
    (Column("their entropy bound", ",.0f"), lambda r: r.coefficient_entropy_bytes),
    (Column("largest coefficient", "d"), lambda r: r.coefficient_level),
    (Column("tile"), lambda r: str(r.tile) if r.tile else None),
    (Column("scratchpad bytes"), lambda r: _buffers(r)),
)


def page(program: Program, layers: Sequence[LayerReport], totals: Mapping[str, Any], title: str) -> Page:
    """The page of a compilation; `totals` as in the JSON form."""
    subtitle = f"target {program.target.name}; {program.producer}"
    sections = [_bytes(layers), _graph(program, layers), _table(layers, totals)]
    cards = _cards(totals)
    if program.hosted is not None:
        cards.append(host_card(program.hosted.work))
    return Page(title, subtitle, cards, sections)


def _cards(totals: Mapping[str, Any]) -> list[Card]:
    ratio, bits = totals["compression"], totals["bits_per_weight"]
    return [
        _smaller(ratio),
        Card(f"{totals['constant_bytes']:,}", "bytes of constants in DRAM"),
        Card("–" if bits is None else f"{bits:.2f}", "bits a weight"),
        Card(f"{totals['macs'] / 1e6:,.1f} M", "multiply-accumulates"),
        Card(f"{totals['instructions']:,}", "instructions"),
        Card(f"{totals['arena_bytes'] * 1e-3:,.1f} kB", "of DRAM for inputs, outputs and activations off the chip"),
    ]


def _smaller(ratio: float | None) -> Card:
    """How many times fewer bytes the constants have than float32 weights, or how many times more."""
    if ratio is None:
        return Card("–", "smaller than float32 weights")
    times, _, what = times_smaller(ratio, 1.0).partition(" ")
    return Card(times, f"{what} than float32 weights")


def _bytes(layers: Sequence[LayerReport]) -> Chart:
    parts = {
        "coefficients": [r.coefficient_bytes for r in layers],
        "bases and parameters": [r.packed_bytes - r.coefficient_bytes for r in layers],
    }
    text = "Constants of each layer as the binary holds them."
    return bars("Bytes", text, [r.name for r in layers], parts, "bytes")


def _graph(program: Program, layers: Sequence[LayerReport]) -> LayerGraph:
    nodes = [LayerNode(port.name, "input", None, "") for port in program.inputs]
    nodes += [LayerNode(r.name, r.kind, r.packed_bytes, f"{r.packed_bytes:,}") for r in layers]
    text = "Layers in the order in which they run, coloured by packed bytes."
    return LayerGraph("Network", text, nodes, edges_of(program))


def _buffers(layer: LayerReport) -> str | None:
    buffers = layer.tile.buffers if layer.tile else {}
    return ", ".join(f"{space} {size:,}" for space, size in buffers.items()) or None


def _table(layers: Sequence[LayerReport], totals: Mapping[str, Any]) -> Table:
    keys = ("macs", "original_bytes", "packed_bytes", "bits_per_weight", "density", "coefficient_bytes")
    last: list[Value] = ["total", f"{len(layers)} layers", "", *(totals[key] for key in keys)]
    last += [totals["coefficient_entropy_bytes"], "", "", ""]
    return Table(
        "Layers",
        "A click on a head sorts; docs/performance.md defines every number.",
        [column for column, _ in _COLUMNS],
        [[value(layer) for _, value in _COLUMNS] for layer in layers],
        last,
        [", ".join(layer.nodes) for layer in layers],
    )
