"""A comparison as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from escc.compare.figures import BATCH, PUBLISHED, RATIOS, Compared, Comparison, Figures, System
from isa.text import printable

_HEAD = ("system", "weights", "mult", "memory", "model", "coded", "cycles", "compute", "energy", "DRAM", "top-1")
_UNITS = ("", "", "", "KB", "KB", "KB", "K", "K", "uJ", "KB", "%")


def lines_of(comparison: Comparison) -> Iterator[str]:
    """The tables, line by line."""
    yield (
        f"target {printable(comparison.target)}: {comparison.frequency_mhz:g} MHz, "
        f"{comparison.dram_bytes_per_cycle:g} bytes a cycle from DRAM, for every machine"
    )
    for network in comparison.networks:
        yield ""
        yield from _network(network)
    yield from _ratios(comparison)


def _network(network: Compared) -> Iterator[str]:
    answered = f"top-1 over {network.evaluated}" if network.evaluated else "no labels"
    yield f"{printable(network.name)}: cost of one image, mean of {network.images}; {answered}"
    yield from _aligned([_HEAD, _UNITS, *(_row(s, s.total) for s in network.systems)], rule=2)
    machines = [s for s in network.systems if not s.ours]
    if machines:
        yield ""
        yield f"{printable(network.name)}: baselines, an image of a batch of {BATCH}; and alone, weights entropy-coded"
        head = ("system", "cycles", "compute", "energy", "coded cycles", "coded energy")
        rows = [
            (
                printable(s.name),
                _thousands(s.batch.cycles),
                _thousands(s.batch.compute_cycles),
                f"{s.batch.energy:.1f}",
                _thousands(s.coded.cycles) if s.coded else "-",
                f"{s.coded.energy:.1f}" if s.coded else "-",
            )
            for s in machines
        ]
        yield from _aligned([head, ("", "K", "K", "uJ", "K", "uJ"), *rows], rule=2)
    if network.counted:
        yield ""
        yield f"{printable(network.name)}: processing in memory, thousands of events of one image (counts, no times)"
        names = [p.name for p in network.counted[0].counts]
        rows = [(printable(c.name), *(_thousands(p.value) for p in c.counts)) for c in network.counted]
        yield from _aligned([("design", *names), *rows], rule=1)


def _row(system: System, total: Figures) -> tuple[str, ...]:
    return (
        printable(system.name),
        printable(system.weights),
        str(system.multipliers),
        _kilo(system.memory_bytes),
        _kilo(system.model_bytes),
        "-" if system.coded_bytes is None else _kilo(system.coded_bytes),
        _thousands(total.cycles),
        _thousands(total.compute_cycles),
        f"{total.energy:.1f}",
        _kilo(total.dram),
        "-" if system.top1 is None else f"{system.top1:.2f}",
    )


def _ratios(comparison: Comparison) -> Iterator[str]:
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
        rows = [(printable(o), *(f"{ratios[o, t]:.2f}" if (o, t) in ratios else "-" for t in theirs)) for o in ours]
        yield from _aligned([("", *map(printable, theirs)), *rows], rule=1)
    yield ""
    yield "published, other machine (never mixed with the figures above):"
    for ratio in PUBLISHED:
        yield f"  {ratio.source}: {ratio.text}"


def _thousands(value: float) -> str:
    return f"{value * 1e-3:,.1f}"


def _kilo(value: float) -> str:
    return f"{value / 1024:,.1f}"


def _aligned(rows: Sequence[Sequence[str]], rule: int) -> Iterator[str]:
    """Columns, the first two texts, the others numbers; a rule after so many rows."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    texts = 2 if rows[0][1] == "weights" else 1
    for number, row in enumerate(rows):
        if number == rule:
            yield "-" * (sum(widths) + 2 * (len(widths) - 1))
        cells = (
            text.ljust(width) if i < texts else text.rjust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()
