"""The page of `esc-compare --report`: our schemes and the baselines side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from emulator.energy import OWN_COMPONENTS
from escc.compare.figures import PUBLISHED, RATIOS, Compared, Comparison, FigurePart, Figures, System
from escc.reports.accuracy import Measured, accuracy
from escc.reports.bars import bars
from escc.reports.components import STALL_TEXT
from escc.reports.page import Card, Page, Section
from escc.reports.table import Column, Table, Value
from escc.reports.vega import Chart

_FIGURES: tuple[tuple[str, str, str, str, Callable[[Figures], Mapping[str, float]]], ...] = (
    ("Cycles", "Computing, and waiting by cause.", "cycles", ",.0f", lambda f: _by_kind(f.time, _TIME)),
    ("Energy", "Microjoule of an image, by component.", "µJ", ",.3f", lambda f: _by_kind(f.energy_uj, _KINDS)),
    ("DRAM traffic", "Bytes of an image, by kind.", "bytes", ",.0f", lambda f: _by_kind(f.dram_bytes, _TRAFFIC)),
)
_KINDS = {
    "DRAM": ("dram",),
    "arithmetic": ("arithmetic", "mac_rows", "accumulators", *OWN_COMPONENTS, "post"),
    "memory of activations": ("act", "out", "activations", "inputs"),
    "memory of weights": ("coef", "par", "weights", "filters"),
    "memory of sums": ("psum", "sums"),
    "shared memory": ("buffer",),
    "coefficient registers": ("registers",),
    "broadcast FIFOs": ("fifo",),
}
"""Components of energy that serve the same end in machines which name their parts differently."""
_TIME = {"computes": ("compute",), **{text: (name,) for name, text in STALL_TEXT.items()}, "waits for DRAM": ("dram",)}
_TRAFFIC = {"inputs": ("activations_in",), "outputs": ("activations_out",)}
_COLUMNS: tuple[tuple[Column, Callable[[System], Value]], ...] = (
    (Column("system"), lambda s: s.name),
    (Column("weights"), lambda s: s.weights),
    (Column("multipliers", ","), lambda s: s.multipliers),
    (Column("memory KiB", ",.1f"), lambda s: s.memory_bytes / 1024),
    (Column("model kB", ",.1f", "weights as the system stores them"), lambda s: s.model_bytes / 1e3),
    (Column("coded kB", ",.1f", "entropy-coded"), lambda s: None if s.coded_bytes is None else s.coded_bytes / 1e3),
    (Column("cycles", ",.0f"), lambda s: s.total.cycles),
    (Column("compute cycles", ",.0f", "without waiting for DRAM"), lambda s: s.total.compute_cycles),
    (Column("energy µJ", ",.2f"), lambda s: s.total.energy),
    (Column("DRAM kB", ",.1f"), lambda s: s.total.dram / 1e3),
    (Column("top-1 %", ".2f"), lambda s: s.top1),
)


def page(comparison: Comparison) -> Page:
    """The page of a comparison of one or several networks."""
    sections = [section for network in comparison.networks for section in _network(network)]
    published = Table(
        "Published, of other machines",
        "What papers state of their own machines, networks and baselines; never mixed with the figures above.",
        [Column("source"), Column("statement")],
        [[ratio.source, ratio.text] for ratio in PUBLISHED],
    )
    means = [table for ratio in RATIOS if (table := _ratios(comparison, *ratio)) is not None]
    subtitle = (
        f"target {comparison.target} at {comparison.frequency_mhz:g} MHz, "
        f"{comparison.dram_bytes_per_cycle:g} bytes a cycle from DRAM, for every machine"
    )
    names = ", ".join(network.name for network in comparison.networks)
    return Page(f"Comparison: {names}", subtitle, _cards(comparison), [*sections, *means, published])


def _cards(comparison: Comparison) -> list[Card]:
    """What our best system gains over the baseline that comes closest to it."""
    cards: list[Card] = []
    for measure, what in (("cycles", "the cycles"), ("energy", "the microjoules")):
        best: dict[str, tuple[float, str]] = {}
        for (ours, machine), ratio in comparison.ratios(measure).items():
            best[machine] = max(best.get(machine, (0.0, "")), (ratio, ours))
        if best:
            machine, (ratio, ours) = min(best.items(), key=lambda item: item[1])
            cards.append(Card(f"{ratio:.2f}x", f"{what} of {machine}, the closest baseline, over those of {ours}"))
    return cards


def _network(network: Compared) -> list[Section]:
    systems = network.systems
    names = [s.name for s in systems]
    charts: list[Section] = []
    for title, text, unit, form, parts in _FIGURES:
        found = [parts(s.total) for s in systems]
        kinds = dict.fromkeys(kind for values in found for kind in values)
        shares = {kind: [values.get(kind, 0.0) for values in found] for kind in kinds}
        charts.append(bars(f"{network.name}: {title}", text, names, shares, unit, form))
    points = [
        Measured(s.name, "ours" if s.ours else "baseline", s.model_bytes, s.top1)
        for s in systems
        if s.top1 is not None and s.model_bytes > 0
    ]
    text = f"Top-1 over {network.evaluated} images against the weights as each system stores them."
    chart: Chart | None = accuracy(f"{network.name}: accuracy against bytes", text, points)
    rows = [[value(s) for _, value in _COLUMNS] for s in systems]
    note = f"Cost of one image, mean of {network.images}; docs/comparison.md says how."
    tips = [s.description for s in systems]
    table = Table(f"{network.name}: systems", note, [column for column, _ in _COLUMNS], rows, tips=tips)
    return [*charts, *([chart] if chart else []), table]


def _ratios(comparison: Comparison, title: str, measure: str, batched: bool) -> Table | None:
    ratios = comparison.ratios(measure, batched)
    if not ratios:
        return None
    ours = list(dict.fromkeys(pair[0] for pair in ratios))
    theirs = list(dict.fromkeys(pair[1] for pair in ratios))
    rows: list[list[Value]] = [[machine, *(ratios.get((o, machine)) for o in ours)] for machine in theirs]
    return Table(
        f"{title[0].upper()}{title[1:]}",
        "Geometric mean over the networks; above 1, ours is better.",
        [Column("baseline"), *(Column(o, ".2f") for o in ours)],
        rows,
        wide=False,
    )


def _by_kind(parts: Sequence[FigurePart], kinds: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Parts added up by what they are for; a part that no kind names is one of its own."""
    kind_of = {name: kind for kind, members in kinds.items() for name in members}
    total: dict[str, float] = {}
    for part in parts:
        kind = kind_of.get(part.name, part.name.replace("_", " "))
        total[kind] = total.get(kind, 0.0) + part.value
    return total
