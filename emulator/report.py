"""Statistics as a table for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from emulator.statistics import EVENT_TABLES
from emulator.tables import TextColumn, TextTable, paragraph
from isa.events import EventTable
from isa.hosted import described
from isa.text import printable, quantity

Data: TypeAlias = Mapping[str, Any]

_TITLE = 11
"""Characters before the lines below the table."""


def _percent(part: float) -> str:
    return f"{100 * part:.1f}"


def _of_window(cycles: float, d: Data) -> str:
    return _percent(cycles / d["cycles"] if d["cycles"] else 0.0)


def _stall(name: str) -> Callable[[Data], str]:
    return lambda d: _of_window(d["stall_cycles"][name], d)


def _longest_wait(d: Data) -> str:
    """What the compute unit waits for most, and how long."""
    cause, cycles = max(d["stall_cycles"].items(), key=lambda item: item[1])
    return f"{cause} {_of_window(cycles, d):>4}" if cycles else "-"


def _or_dash(text: Callable[[Data], str], present: Callable[[Data], object]) -> Callable[[Data], str]:
    return lambda d: text(d) if present(d) else "-"


def _density(share: float | None) -> str:
    return "-" if share is None else f"{share:.2f}"


def _kilo(*kinds: str) -> Callable[[Data], str]:
    return lambda d: f"{sum(d['dram_bytes'][kind] for kind in kinds) * 1e-3:,.1f}"


def _bound(resource: str) -> Callable[[Data], str]:
    return lambda d: f"{d['lower_bound'][resource]:,.0f}"


_BINDING = {"mac_rows": "M", "accumulators": "A", "post": "P", "dram": "D", "": "-"}
"""One letter for what binds a layer."""

_COLUMNS: tuple[tuple[TextColumn, Callable[[Data], str]], ...] = (
    (TextColumn("cycles"), lambda d: f"{round(d['cycles']):,}"),
    (TextColumn("share", "%", only="wide"), lambda d: _percent(d["share"])),
    (TextColumn("busy", "%", only="wide"), lambda d: _of_window(d["busy_cycles"]["compute"], d)),
    (TextColumn("waits for", "%", only="brief"), _longest_wait),
    (TextColumn("load", "%", only="wide"), _stall("load")),
    (TextColumn("post", "%", only="wide"), _stall("post")),
    (TextColumn("store", "%", only="wide"), _stall("store")),
    (TextColumn("fetch", "%", only="wide"), _stall("fetch")),
    (TextColumn("drain", "%", only="wide"), _stall("drain")),
    (TextColumn("bound", "%"), lambda d: _percent(d["lower_bound"]["efficiency"])),
    (TextColumn("by"), lambda d: _BINDING[d["lower_bound"]["binding"]]),
    (TextColumn("M", "cycles", only="wide"), _bound("mac_rows")),
    (TextColumn("A", "cycles", only="wide"), _bound("accumulators")),
    (TextColumn("P", "cycles", only="wide"), _bound("post")),
    (TextColumn("D", "cycles", only="wide"), _bound("dram")),
    (
        TextColumn("mult", "util %", only="wide"),
        _or_dash(lambda d: _percent(d["multiplier_utilisation"]), lambda d: d["multiplications"]),
    ),
    (
        TextColumn("accum", "util %", only="wide"),
        _or_dash(lambda d: _percent(d["accumulator_utilisation"]), lambda d: d["matches"]),
    ),
    (
        TextColumn("dense", "MMAC", only="wide"),
        _or_dash(lambda d: f"{d['dense_macs'] * 1e-6:.2f}", lambda d: d["dense_macs"]),
    ),
    (
        TextColumn("done", "Mop", only="wide"),
        _or_dash(lambda d: f"{d['effective_operations'] * 1e-6:.2f}", lambda d: d["effective_operations"]),
    ),
    (TextColumn("input", "density", only="wide"), lambda d: _density(d["input_density"])),
    (TextColumn("weight", "density", only="wide"), lambda d: _density(d["weight_density"])),
    (TextColumn("DRAM", "kB", only="brief"), _kilo("total")),
    (TextColumn("in", "kB", only="wide"), _kilo("activations_in")),
    (TextColumn("out", "kB", only="wide"), _kilo("activations_out")),
    (TextColumn("weights", "kB", only="wide"), _kilo("weights")),
    (TextColumn("energy", "uJ"), lambda d: f"{d['energy_uj']['total']:.2f}"),
)


def table(data: Data) -> TextTable:
    """Layers and totals; `data` as in `Statistics.data`."""
    rows = [[d["name"], d["kind"], *(text(d) for _, text in _COLUMNS)] for d in data["layers"]]
    columns = [TextColumn("layer", text=True), TextColumn("kind", text=True), *(column for column, _ in _COLUMNS)]
    return TextTable(columns, rows, ["total", "", *(text(data["totals"]) for _, text in _COLUMNS)])


def summary(data: Data, wide: bool = False) -> list[str]:
    """Lines about the whole run: time, energy, memory, bounds and slices."""
    found = [line for title, text in _summary(data) for line in paragraph(title, printable(text), _TITLE, wide)]
    return found if data["images"] == 1 else [*found, f"{'':{_TITLE}}means over {data['images']} images"]


def _summary(data: Data) -> list[tuple[str, str]]:
    """Title and text of each paragraph."""
    totals, machine = data["totals"], data["machine"]
    dram, energy = totals["dram"], totals["energy_uj"]
    moved = ", ".join(
        f"{name.replace('_', ' ')} {quantity(n, 'B')}" for name, n in totals["dram_bytes"].items() if name != "total"
    )
    pads = "; ".join(
        f"{name} {quantity(n['read'], 'B')} read, {quantity(n['write'], 'B')} written"
        for name, n in totals["scratchpad_bytes"].items()
    )
    parts = sorted(((n, name) for name, n in energy.items() if name != "total" and n), reverse=True)
    power = ", ".join(f"{name.replace('_', ' ')} {quantity(n * 1e-6, 'J')}" for n, name in parts)
    bound = totals["lower_bound"]
    needs = ", ".join(
        f"{letter} {name.replace('_', ' ')} {bound[name]:,.0f}" for name, letter in _BINDING.items() if name
    )
    lines = [
        (
            "time",
            f"{round(totals['cycles']):,} cycles = {quantity(totals['time_ms'] * 1e-3, 's')} at "
            f"{machine['frequency_mhz']:g} MHz ({machine['target']}): {totals['images_per_s']:,.0f} images/s, "
            f"{quantity(totals['effective_tops'] * 1e12, 'OPS')} on dense operations",
        ),
        (
            "energy",
            f"{quantity(energy['total'] * 1e-6, 'J')} an image, {quantity(totals['average_power_mw'] * 1e-3, 'W')} "
            f"on average: {power}",
        ),
        (
            "DRAM",
            f"{quantity(totals['dram_bytes']['total'], 'B')}: {moved}; {dram['effective_gb_per_s']:.2f} of "
            f"{machine['dram_peak_gb_per_s']:.1f} GB/s, {dram['row_hits']:,.0f} row hits, "
            f"{dram['row_misses']:,.0f} misses",
        ),
        ("memories", pads),
        (
            "bound",
            f"at least {bound['cycles']:,.0f} cycles, {_percent(bound['efficiency'])} % of those taken; cycles that "
            f"each would need alone: {needs}",
        ),
    ]
    if host := data.get("host"):
        lines.append(("host", described(host)))
    lines += [
        (table.title, _counted(table, totals[table.name])) for table in EVENT_TABLES if any(totals[table.name].values())
    ]
    return lines


def _counted(table: EventTable, numbers: Mapping[str, float]) -> str:
    """The events of a single instruction: shares of their whole if they are parts of one, else numbers."""
    whole = sum(numbers.values())
    texts = [f"{_percent(n / whole)} %" if table.parts else f"{n:,.0f}" for n in numbers.values()]
    named = ", ".join(f"{name.replace('_', ' ')} {text}" for name, text in zip(numbers, texts, strict=True))
    return f"{table.unit}: {named}"
