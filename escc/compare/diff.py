"""Two comparisons, or the statistics of two runs: which layers got slower or faster, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from escc.compare.figures import Comparison, FigurePart, Figures, LayerFigures, total_of
from escc.compare.ours import figures_of
from isa.errors import UserError
from isa.files import read_file
from isa.jsonform import FormError, from_plain, loads
from isa.text import printable

_SMALL = 0.005
"""Changes of a layer below this share of the system's cycles are summed up in one line."""


@dataclass(frozen=True)
class Run:
    """One system of a file: its totals and layers."""

    total: Figures
    layers: tuple[LayerFigures, ...]


def runs_of(path: str) -> dict[str, Run]:
    """Systems by name of a file of `esc-compare --json`, or of one of `esc-emu --stats-json`. Raises UserError."""
    data: object = loads(read_file(path).decode("utf-8", "replace"), path)
    table: Mapping[str, Any] = cast("Mapping[str, Any]", data) if isinstance(data, Mapping) else {}
    if "networks" in table:
        found = from_plain(Comparison, table, path)
        return {f"{n.name}, {s.name}": Run(s.total, s.layers) for n in found.networks for s in n.systems}
    if {"totals", "layers"} <= set(table):
        try:
            rows = [LayerFigures(str(r["name"]), tuple(r["nodes"]), figures_of(r)) for r in table["layers"]]
            return {"run": Run(figures_of(table["totals"]), tuple(rows))}
        except (KeyError, TypeError, ValueError) as e:
            raise FormError(f"{path}: not the statistics of a run: {type(e).__name__} {e}") from e
    raise UserError(
        f"{path}: neither a comparison nor the statistics of a run",
        "give files that esc-compare --json or esc-emu --stats-json has written",
    )


def difference(before: str, after: str) -> Iterator[str]:
    """Lines about every system that two files share. Raises UserError if there is none."""
    old, new = runs_of(before), runs_of(after)
    shared = [name for name in old if name in new]
    if not shared:
        raise UserError(
            f"{after}: shares no system with {before}",
            f"it holds {'; '.join(map(printable, new)) or 'nothing'}",
        )
    for number, name in enumerate(shared):
        if number:
            yield ""
        yield from _system(name, old[name], new[name])
    for path, names in ((before, old), (after, new)):
        alone = [printable(n) for n in names if n not in shared]
        if alone:
            yield ""
            yield f"only in {printable(path)}: {', '.join(alone)}"


def _system(name: str, old: Run, new: Run) -> Iterator[str]:
    yield f"{printable(name)}: {_change(old.total.cycles, new.total.cycles)} cycles, " + (
        f"{_change(old.total.energy, new.total.energy, 1)} uJ, {_change(old.total.dram, new.total.dram)} bytes of DRAM"
    )
    pairs = _pairs(old.layers, new.layers)
    both = [pair for pair in pairs if pair.old and pair.new]
    least = _SMALL * max(old.total.cycles, 1)
    large = sorted((pair for pair in both if abs(pair.delta) >= least), key=lambda pair: (-abs(pair.delta), pair.name))
    for pair in large:
        was, now = (total_of(layer.figures for layer in side) for side in (pair.old, pair.new))
        yield f"  {printable(pair.name)}: {_change(was.cycles, now.cycles)}: {_why(was, now)}"
    small = [pair.delta for pair in both if pair not in large and pair.delta]
    if small:
        yield f"  {len(small)} layers changed less: {sum(small):+,.0f} together"
    for title, lost in (("gone", [p for p in pairs if not p.new]), ("new", [p for p in pairs if not p.old])):
        if lost:
            yield f"  {title}: {', '.join(printable(pair.name) for pair in lost)}"


@dataclass(frozen=True)
class _Pair:
    """The layers of two runs that compute the same; none on the side of a run that does not compute it."""

    old: tuple[LayerFigures, ...]
    new: tuple[LayerFigures, ...]

    @property
    def name(self) -> str:
        """The name of the layer; where layers ran side by side in one run alone, the names of both runs."""
        was, now = (" + ".join(layer.name for layer in side) for side in (self.old, self.new))
        return was or now if was == now or not was or not now else f"{was} -> {now}"

    @property
    def delta(self) -> float:
        """Cycles more than before."""
        return sum(x.figures.cycles for x in self.new) - sum(x.figures.cycles for x in self.old)


def _pairs(old: Sequence[LayerFigures], new: Sequence[LayerFigures]) -> list[_Pair]:
    """Layers of one name and main node, then what shares nodes of the others: layers that run side by side in one run
    are compared with the same layers one after the other, or side by side in other company.
    """

    def identity(layer: LayerFigures) -> tuple[str, ...]:
        return (layer.name, *layer.nodes[:1])

    was, now = ({identity(layer): layer for layer in side} for side in (old, new))
    pairs = [_Pair((was[key],), (now[key],)) for key in was if key in now]
    left = [_Pair((was[key],), ()) for key in was if key not in now]
    for key in now:
        if key in was:
            continue
        joined = _Pair((), (now[key],))
        nodes = set(now[key].nodes)
        apart: list[_Pair] = []
        for pair in left:
            if any(nodes & set(layer.nodes) for layer in pair.old):
                joined = _Pair(joined.old + pair.old, pair.new + joined.new)
            else:
                apart.append(pair)
        left = [*apart, joined]
    return pairs + left


def _change(before: float, after: float, digits: int = 0) -> str:
    share = f" ({after / before - 1:+.1%})" if before else ""
    return f"{before:,.{digits}f} -> {after:,.{digits}f}{share}"


def _why(before: Figures, after: Figures) -> str:
    """Which parts of a layer's time changed, the largest change first."""

    def by_name(parts: tuple[FigurePart, ...]) -> dict[str, float]:
        return {p.name: p.value for p in parts}

    was, now = by_name(before.time), by_name(after.time)
    changes = {name: now.get(name, 0.0) - was.get(name, 0.0) for name in dict.fromkeys((*was, *now))}
    named = [(name if name == "compute" else f"waiting for {name}", d) for name, d in changes.items() if round(d)]
    return ", ".join(f"{name} {d:+,.0f}" for name, d in sorted(named, key=lambda item: -abs(item[1]))) or "no part"
