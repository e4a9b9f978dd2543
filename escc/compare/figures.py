"""What a comparison finds, as plain data: written as JSON by `esc-compare --json`, read back by `--diff`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from isa.elementary import exp2, log2

SCHEMA_VERSION = 1
BATCH = 16
"""Images that machines which share weights among images run together."""


@dataclass(frozen=True)
class FigurePart:
    """A named share of a figure."""

    name: str
    value: float


def parts_of(values: Mapping[str, float]) -> tuple[FigurePart, ...]:
    """Parts in the order of a mapping."""
    return tuple(FigurePart(name, float(value)) for name, value in values.items())


def added(groups: Iterable[tuple[FigurePart, ...]]) -> tuple[FigurePart, ...]:
    """Parts of the same names added up."""
    total: dict[str, float] = {}
    for group in groups:
        for part in group:
            total[part.name] = total.get(part.name, 0.0) + part.value
    return parts_of(total)


@dataclass(frozen=True)
class Figures:
    """Cost of one image.

    `compute_cycles` are those of computing alone; `time` shares out `cycles`: computing, and waiting by cause.
    `energy_uj` is microjoule by component, `dram_bytes` traffic by kind.
    """

    cycles: float
    compute_cycles: float
    time: tuple[FigurePart, ...]
    energy_uj: tuple[FigurePart, ...]
    dram_bytes: tuple[FigurePart, ...]

    @property
    def energy(self) -> float:
        """Microjoule of all components."""
        return sum(p.value for p in self.energy_uj)

    @property
    def dram(self) -> float:
        """Bytes of all kinds."""
        return sum(p.value for p in self.dram_bytes)


def total_of(layers: Iterable[Figures]) -> Figures:
    """Layers one after the other."""
    rows = list(layers)
    return Figures(
        sum(f.cycles for f in rows),
        sum(f.compute_cycles for f in rows),
        added(f.time for f in rows),
        added(f.energy_uj for f in rows),
        added(f.dram_bytes for f in rows),
    )


@dataclass(frozen=True)
class LayerFigures:
    """One layer of a system; `nodes` are the ONNX nodes that it stands for."""

    name: str
    nodes: tuple[str, ...]
    figures: Figures


@dataclass(frozen=True)
class System:
    """A network on a machine: one of our schemes, a binary, or a baseline with the weights that suit it.

    `kind` is "scheme", "binary" or "machine". `weights` says in words what the weights are. `model_bytes` are the
    weights as the system stores them (ours: all constants of the binary), `coded_bytes` the same entropy-coded where
    the system does not do so already. `batch` is the cost of an image in a batch of `BATCH`, `coded` that of a single
    image if weights travelled entropy-coded. `top1` is in percent.
    """

    name: str
    kind: str
    description: str
    weights: str
    multipliers: int
    memory_bytes: int
    model_bytes: float
    coded_bytes: float | None
    top1: float | None
    total: Figures
    batch: Figures
    coded: Figures | None
    layers: tuple[LayerFigures, ...]

    @property
    def ours(self) -> bool:
        """Whether the emulator ran it."""
        return self.kind != "machine"


@dataclass(frozen=True)
class Counted:
    """Conversions and movements of one image in a processing-in-memory design."""

    name: str
    description: str
    counts: tuple[FigurePart, ...]


@dataclass(frozen=True)
class Compared:
    """One network: `images` were timed, `evaluated` ones classified."""

    name: str
    images: int
    evaluated: int
    systems: tuple[System, ...]
    counted: tuple[Counted, ...]


@dataclass(frozen=True)
class Comparison:
    """Networks beside the same target."""

    schema_version: int
    target: str
    frequency_mhz: float
    dram_bytes_per_cycle: float
    networks: tuple[Compared, ...]

    def ratios(self, measure: str, batched: bool = False) -> dict[tuple[str, str], float]:
        """How many times the `measure` of a baseline our systems save: geometric means over the networks.

        A measure is "cycles", "compute_cycles" or "energy", of a single image or, `batched`, of one in a batch.
        Keys are (our system, baseline); only pairs that every network has, and that differ from nothing, count.
        """
        found: dict[tuple[str, str], list[float]] = {}
        for network in self.networks:
            for ours in (s for s in network.systems if s.ours):
                for machine in (s for s in network.systems if not s.ours):
                    both = ((s.batch if batched else s.total) for s in (ours, machine))
                    mine, theirs = (float(getattr(figures, measure)) for figures in both)
                    if mine > 0 and theirs > 0:
                        found.setdefault((ours.name, machine.name), []).append(theirs / mine)
        complete = {pair: values for pair, values in found.items() if len(values) == len(self.networks)}
        return {pair: float(exp2(log2(values).mean())) for pair, values in complete.items()}


RATIOS = (
    ("latency of a baseline over ours", "cycles", False),
    ("computing alone of a baseline over ours", "compute_cycles", False),
    (f"latency in a batch of {BATCH} of a baseline over ours", "cycles", True),
    ("energy of a baseline over ours", "energy", False),
    (f"energy in a batch of {BATCH} of a baseline over ours", "energy", True),
)
"""Titles and arguments of the ratios that a comparison shows."""


@dataclass(frozen=True)
class PublishedRatio:
    """A mean that a paper states, of its own machine, networks and baselines."""

    source: str
    text: str


PUBLISHED = (
    PublishedRatio("ESCALATE, MICRO 2021", "latency 17.9x less than dense and 2.16x less than sparse accelerators"),
    PublishedRatio("ESCALATE, MICRO 2021", "energy 8.3x less than dense and 3.77x less than sparse accelerators"),
    PublishedRatio("ESCALATE, MICRO 2021", "weights up to 325x (CIFAR-10) and 11x (ImageNet) smaller"),
)
