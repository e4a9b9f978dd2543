"""A comparison as text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from emulator.tables import TextColumn, TextTable, paragraph
from escc.compare.figures import BATCH, PUBLISHED, RATIOS, Compared, Comparison, System
from isa.text import printable

Draw: TypeAlias = Callable[[TextTable], Sequence[str]]

_COLUMNS: tuple[tuple[TextColumn, Callable[[System], str]], ...] = (
    (TextColumn("system", text=True), lambda s: s.name),
    (TextColumn("weights", text=True, only="wide"), lambda s: s.weights),
    (TextColumn("mult", only="wide"), lambda s: f"{s.multipliers:,}"),
    (TextColumn("memory", "KiB", only="wide"), lambda s: f"{s.memory_bytes / 1024:,.1f}"),
    (TextColumn("model", "kB"), lambda s: _thousands(s.model_bytes)),
    (TextColumn("coded", "kB", only="wide"), lambda s: "-" if s.coded_bytes is None else _thousands(s.coded_bytes)),
    (TextColumn("cycles", "K"), lambda s: _thousands(s.total.cycles)),
    (TextColumn("compute", "K"), lambda s: _thousands(s.total.compute_cycles)),
    (TextColumn("energy", "uJ"), lambda s: f"{s.total.energy:,.1f}"),
    (TextColumn("DRAM", "kB"), lambda s: _thousands(s.total.dram)),
    (TextColumn("top-1", "%"), lambda s: "-" if s.top1 is None else f"{s.top1:.2f}"),
)
_BATCH_COLUMNS: tuple[tuple[TextColumn, Callable[[System], str]], ...] = (
    (TextColumn("system", text=True), lambda s: s.name),
    (TextColumn("cycles", "K"), lambda s: _thousands(s.batch.cycles)),
    (TextColumn("compute", "K"), lambda s: _thousands(s.batch.compute_cycles)),
    (TextColumn("energy", "uJ"), lambda s: f"{s.batch.energy:,.1f}"),
    (TextColumn("coded cycles", "K"), lambda s: _thousands(s.coded.cycles) if s.coded else "-"),
    (TextColumn("coded energy", "uJ"), lambda s: f"{s.coded.energy:,.1f}" if s.coded else "-"),
)
_LABEL = 8
"""Characters before the lines about weights."""


def lines_of(
    comparison: Comparison, wide: bool = False, draw: Callable[[TextTable, bool], list[str]] = TextTable.lines
) -> Iterator[str]:
    """The tables, line by line; `draw` makes lines of a table, `wide` or not."""

    def drawn(table: TextTable) -> list[str]:
        return draw(table, wide)

    yield (
        f"target {printable(comparison.target)}: {comparison.frequency_mhz:g} MHz, "
        f"{comparison.dram_bytes_per_cycle:g} bytes a cycle from DRAM, for every machine"
    )
    for network in comparison.networks:
        yield ""
        yield from _network(network, wide, drawn)
    yield from _ratios(comparison, drawn)


def _network(network: Compared, wide: bool, drawn: Draw) -> Iterator[str]:
    name = printable(network.name)
    answered = f"top-1 over {network.evaluated}" if network.evaluated else "no labels"
    yield f"{name}: cost of one image, mean of {network.images}; {answered}"
    yield from drawn(_table(_COLUMNS, network.systems))
    machines = [s for s in network.systems if not s.ours]
    if not wide:
        yield from _weights(machines)
    if machines:
        yield ""
        yield f"{name}: baselines in a batch of {BATCH}; and alone, weights entropy-coded"
        yield from drawn(_table(_BATCH_COLUMNS, machines))
    if network.counted:
        yield ""
        yield f"{name}: processing in memory, thousands of events, no times"
        columns = [TextColumn("design", text=True), *(TextColumn(p.name) for p in network.counted[0].counts)]
        rows = [[c.name, *(_thousands(p.value) for p in c.counts)] for c in network.counted]
        yield from drawn(TextTable(columns, rows))


def _table(columns: Sequence[tuple[TextColumn, Callable[[System], str]]], systems: Sequence[System]) -> TextTable:
    return TextTable([column for column, _ in columns], [[text(s) for _, text in columns] for s in systems])


def _weights(machines: Sequence[System]) -> Iterator[str]:
    """What the weights of the baselines are, where the table has no column for that."""
    found: dict[str, list[str]] = {}
    for machine in machines:
        found.setdefault(machine.weights, []).append(machine.name)
    for number, (weights, names) in enumerate(found.items()):
        yield from paragraph("" if number else "weights", printable(f"{weights}: {', '.join(names)}"), _LABEL)


def _ratios(comparison: Comparison, drawn: Draw) -> Iterator[str]:
    """How our systems stand to each baseline; what the paper says of its own comes after, apart."""
    for title, measure, batched in RATIOS:
        ratios = comparison.ratios(measure, batched)
        if not ratios:
            return
        ours = list(dict.fromkeys(pair[0] for pair in ratios))
        theirs = list(dict.fromkeys(pair[1] for pair in ratios))
        mean = f", geometric mean of {len(comparison.networks)} networks" if len(comparison.networks) > 1 else ""
        yield ""
        yield f"{title} (above 1: ours is better){mean}"
        rows = [[t, *(f"{ratios[o, t]:.2f}" if (o, t) in ratios else "-" for o in ours)] for t in theirs]
        yield from drawn(TextTable([TextColumn("baseline", text=True), *map(TextColumn, ours)], rows))
    yield ""
    yield "published, other machine (never mixed with the figures above):"
    for ratio in PUBLISHED:
        head = f"  {ratio.source}: "
        yield from paragraph(head, ratio.text, len(head))


def _thousands(value: float) -> str:
    return f"{value * 1e-3:,.1f}"
