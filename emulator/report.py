"""Statistics as a table for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from isa.text import printable

Data: TypeAlias = Mapping[str, Any]

_NAME_WIDTH = 28


def _percent(part: float) -> str:
    return f"{100 * part:.1f}"


def _stall(name: str) -> Callable[[Data], str]:
    return lambda d: _percent(d["stall_cycles"][name] / d["cycles"] if d["cycles"] else 0.0)


def _or_dash(text: Callable[[Data], str], present: Callable[[Data], object]) -> Callable[[Data], str]:
    return lambda d: text(d) if present(d) else "-"


def _density(share: float | None) -> str:
    return "-" if share is None else f"{share:.2f}"


_BINDING = {"mac_rows": "M", "accumulators": "A", "post": "P", "dram": "D", "": "-"}
"""One letter for what binds a layer."""

_COLUMNS: tuple[tuple[str, str, Callable[[Data], str]], ...] = (
    ("cycles", "", lambda d: f"{round(d['cycles'])}"),
    ("share", "%", lambda d: _percent(d["share"])),
    ("busy", "%", lambda d: _percent(d["busy_cycles"]["compute"] / d["cycles"] if d["cycles"] else 0.0)),
    ("load", "%", _stall("load")),
    ("post", "%", _stall("post")),
    ("store", "%", _stall("store")),
    ("fetch", "%", _stall("fetch")),
    ("drain", "%", _stall("drain")),
    ("bound", "%", lambda d: _percent(d["lower_bound"]["efficiency"])),
    ("by", "", lambda d: _BINDING[d["lower_bound"]["binding"]]),
    ("mult", "util %", _or_dash(lambda d: _percent(d["multiplier_utilisation"]), lambda d: d["multiplications"])),
    ("accum", "util %", _or_dash(lambda d: _percent(d["accumulator_utilisation"]), lambda d: d["matches"])),
    ("dense", "MMAC", _or_dash(lambda d: f"{d['dense_macs'] * 1e-6:.2f}", lambda d: d["dense_macs"])),
    ("done", "Mop", _or_dash(lambda d: f"{d['effective_operations'] * 1e-6:.2f}", lambda d: d["effective_operations"])),
    ("input", "density", lambda d: _density(d["input_density"])),
    ("weight", "density", lambda d: _density(d["weight_density"])),
    ("in", "KB", lambda d: f"{d['dram_bytes']['activations_in'] * 1e-3:.1f}"),
    ("out", "KB", lambda d: f"{d['dram_bytes']['activations_out'] * 1e-3:.1f}"),
    ("weights", "KB", lambda d: f"{d['dram_bytes']['weights'] * 1e-3:.1f}"),
    ("energy", "uJ", lambda d: f"{d['energy_uj']['total']:.2f}"),
)


def table(data: Data) -> str:
    """Layers, totals, energy and memory as text; `data` as in `Statistics.data`."""
    totals: Data = data["totals"]
    rows = [["layer", "kind", *(c[0] for c in _COLUMNS)], ["", "", *(c[1] for c in _COLUMNS)]]
    rows += [[_short(d["name"]), printable(d["kind"]), *(c[2](d) for c in _COLUMNS)] for d in data["layers"]]
    rows.append(["total", "", *(c[2](totals) for c in _COLUMNS)])
    lines = _align(rows)
    rule = "-" * max(map(len, lines))
    lines[2:2] = [rule]
    lines[-1:-1] = [rule]
    return "\n".join([*lines, "", *_summary(data), ""])


def _short(name: str) -> str:
    name = printable(name)
    return name if len(name) <= _NAME_WIDTH else "..." + name[3 - _NAME_WIDTH :]


def _align(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            text.ljust(w) if i < 2 else text.rjust(w) for i, (text, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _summary(data: Data) -> list[str]:
    totals, machine = data["totals"], data["machine"]
    dram, energy = totals["dram"], totals["energy_uj"]
    images = data["images"]
    moved = ", ".join(
        f"{name.replace('_', ' ')} {_bytes(n)}" for name, n in totals["dram_bytes"].items() if name != "total"
    )
    pads = "; ".join(
        f"{name} {_bytes(n['read'])} read, {_bytes(n['write'])} written"
        for name, n in totals["scratchpad_bytes"].items()
    )
    parts = sorted(((n, name) for name, n in energy.items() if name != "total"), reverse=True)
    power = ", ".join(f"{name.replace('_', ' ')} {n:.2f}" for n, name in parts)
    lines = [
        f"time       {round(totals['cycles'])} cycles = {totals['time_ms']:.3f} ms at {machine['frequency_mhz']:g} MHz "
        f"({machine['target']}): {totals['images_per_s']:.1f} images/s, "
        f"{totals['effective_tops']:.3f} TOPS on dense operations",
        f"energy     {energy['total']:.2f} uJ an image, {totals['average_power_mw']:.1f} mW on average; uJ: {power}",
        f"DRAM       {_bytes(totals['dram_bytes']['total'])}: {moved}; {dram['effective_gb_per_s']:.2f} of "
        f"{machine['dram_peak_gb_per_s']:.1f} GB/s, {dram['row_hits']:.0f} row hits, {dram['row_misses']:.0f} misses",
        f"scratchpad {pads}",
    ]
    bound = totals["lower_bound"]
    needs = ", ".join(
        f"{letter} {name.replace('_', ' ')} {bound[name]:.0f}" for name, letter in _BINDING.items() if name
    )
    lines.append(
        f"bound      at least {bound['cycles']:.0f} cycles, {_percent(bound['efficiency'])} % of those taken; "
        f"cycles that each would need alone: {needs}"
    )
    slices = totals["slice_cycles"]
    whole = sum(slices.values())
    if whole:
        shares = ", ".join(f"{name.replace('_', ' ')} {_percent(n / whole)} %" for name, n in slices.items())
        lines.append(f"slices     cycles: {shares}")
    if images > 1:
        lines.append(f"           means over {images} images")
    return [printable(text) for text in lines]


def _bytes(n: float) -> str:
    return f"{n * 1e-6:.2f} MB" if n >= 1e6 else f"{n * 1e-3:.1f} KB"
