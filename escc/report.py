"""`--report`: what became of every layer, as JSON or as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import IntegerAttr, ModuleOp
from xdsl.ir import BlockArgument, Operation, SSAValue
from xdsl.passes import ModulePass

from dialects import bfs
from dialects.bfs_compute import ConvTileOp
from dialects.bfs_tiles import OpenTileOp
from dialects.esc_base import AccumulatorOp
from dialects.locations import node_names
from emulator.tables import TextColumn, TextTable
from isa.elementary import log2
from isa.errors import UserError
from isa.hazards import accesses
from isa.jsonform import published
from isa.program import Layer, Program

SCHEMA_VERSION = 3


@dataclass(frozen=True)
class Weights:
    """What the `esc` level knows of a layer's weights: how many are stored, how many of them are not 0, their entropy.

    `level`: the greatest magnitude of a coefficient, None for dense weights.
    `coefficient_entropy_bytes`: what an ideal code needs for the weights or coefficients if each value is drawn
    independently from the layer's own distribution; `entropy_bytes`: that and the bases as they are.
    """

    stored: int
    nonzero: int
    level: int | None
    coefficient_entropy_bytes: float
    entropy_bytes: float


@dataclass(frozen=True)
class Tile:
    """The tiler's choice: output rows, columns and channels of a tile (dense: input channels too), scratchpad bytes."""

    rows: int | None = None
    columns: int | None = None
    channels: int | None = None
    depth: int | None = None
    row_groups: int | None = None
    buffers: dict[str, int] = field(default_factory=dict[str, int])

    def __str__(self) -> str:
        extents = [("rows", self.rows), ("cols", self.columns), ("ch", self.channels), ("in ch", self.depth)]
        parts = [f"{value} {name}" for name, value in extents if value is not None]
        text = " x ".join(parts)
        return f"{text}, {self.row_groups} row groups" if self.row_groups and self.row_groups > 1 else text


@dataclass(frozen=True)
class LayerReport:
    """One line of the report; None where the level that knows it was not run."""

    name: str
    nodes: tuple[str, ...]
    kind: str
    output: tuple[int, int, int]
    macs: int
    weights: int
    original_bytes: int
    packed_bytes: int
    bits_per_weight: float | None
    coefficients: int | None
    density: float | None
    coefficient_level: int | None
    coefficient_bytes: int
    coefficient_entropy_bytes: float | None
    entropy_bytes: float | None
    tile: Tile | None


def entropy_bytes(values: NDArray[np.generic]) -> float:
    """Bytes that an ideal code for independent symbols of the array's own distribution needs."""
    _, counts = np.unique(values, return_counts=True)
    p = counts / values.size
    return float((p * log2(1 / p)).sum() * values.size / 8)


class Report:
    """Collects facts as passes run (`observe`), and writes them once the program is known."""

    def __init__(self) -> None:
        self._weights: dict[str, Weights] = {}
        self._tiles: dict[str, Tile] = {}

    def observe(self, step: ModulePass, module: ModuleOp) -> None:
        """Observer of `escc.driver.run_passes`: reads what the last pass of a level left."""
        if weights := _weights_of(module):
            self._weights = weights
        groups = [layers for op in module.walk() if isinstance(op, bfs.ProgramOp) for layers in op.groups]
        if groups:
            self._tiles = {bfs.group_name(layers): _tile_of(layers[-1]) for layers in groups}

    def layers(self, program: Program) -> list[LayerReport]:
        """A line for each layer of a program."""
        return [self._layer(layer, program) for layer in program.layers]

    def _layer(self, layer: Layer, program: Program) -> LayerReport:
        held = [self._weights[n] for n in layer.nodes if n in self._weights] if layer.weights else []
        known = _together(held) if held else None
        packed = sum(size for _, size in layer.rodata)
        return LayerReport(
            name=layer.name,
            nodes=layer.nodes,
            kind=layer.kind,
            output=(layer.output.h, layer.output.w, layer.output.c),
            macs=layer.macs,
            weights=layer.weights,
            original_bytes=4 * layer.weights,
            packed_bytes=packed,
            bits_per_weight=8 * packed / layer.weights if layer.weights else None,
            coefficients=known.stored if known else None,
            density=known.nonzero / known.stored if known else None,
            coefficient_level=known.level if known else None,
            coefficient_bytes=_coefficient_bytes(layer, program),
            coefficient_entropy_bytes=known.coefficient_entropy_bytes if known else None,
            entropy_bytes=known.entropy_bytes if known else None,
            tile=self._tiles.get(layer.name),
        )

    def as_dict(self, program: Program, title: str) -> dict[str, Any]:
        """The JSON form; every field is defined in docs/performance.md."""
        layers = self.layers(program)
        return {
            "schema_version": SCHEMA_VERSION,
            "producer": program.producer,
            "model": title,
            "target": program.target.name,
            "layers": [asdict(layer) for layer in layers],
            "totals": _totals(layers, program),
            **({} if program.hosted is None else {"host": program.hosted.work.figures()}),
        }

    def text(self, program: Program | None, suffix: str, title: str) -> str:
        """The report as ".json" or ".html". Raises UserError without a program or plotting library."""
        if program is None:
            raise UserError("--report needs the whole pipeline", "use --emit eisa, asm or bin")
        if suffix == ".json":
            return published(self.as_dict(program, title), indent=2)
        from escc.reports.compiled import page

        layers = self.layers(program)
        return page(program, layers, _totals(layers, program), title).html()


def layer_table(layers: Sequence[LayerReport], totals: Mapping[str, Any]) -> TextTable:
    """The layers as a table for people: what each makes, and what its weights became."""
    columns = [TextColumn("layer", text=True), TextColumn("kind", text=True), TextColumn("output", "HxWxC")]
    columns += [TextColumn("MACs", "M"), TextColumn("weights"), TextColumn("constants", "bytes")]
    columns += [TextColumn("bits", "a weight"), TextColumn("density", "%")]

    def row(name: str, kind: str, output: str, figures: Mapping[str, Any]) -> list[str]:
        bits, density = figures["bits_per_weight"], figures["density"]
        return [
            name,
            kind,
            output,
            f"{figures['macs'] * 1e-6:,.2f}",
            f"{figures['weights']:,}",
            f"{figures['packed_bytes']:,}",
            "-" if bits is None else f"{bits:.2f}",
            "-" if density is None else f"{100 * density:.1f}",
        ]

    rows = [row(x.name, x.kind, "x".join(map(str, x.output)), vars(x)) for x in layers]
    return TextTable(columns, rows, row("total", "", "", totals))


def _together(parts: Sequence[Weights]) -> Weights:
    """Those of a layer that holds the weights of several convolutions, as bands of rows do."""
    levels = [part.level for part in parts if part.level is not None]
    return Weights(
        stored=sum(part.stored for part in parts),
        nonzero=sum(part.nonzero for part in parts),
        level=max(levels) if levels else None,
        coefficient_entropy_bytes=sum(part.coefficient_entropy_bytes for part in parts),
        entropy_bytes=sum(part.entropy_bytes for part in parts),
    )


def _coefficient_bytes(layer: Layer, program: Program) -> int:
    """Bytes of `.rodata` that the layer fetches into COEF: packed coefficients or dense weights, nothing else."""
    fetched: set[tuple[int, int]] = set()
    for i in program.instructions[layer.start : layer.end]:
        touched = accesses(i, program.target)
        if any(access.write and access.space == "coef" for access in touched):
            fetched |= {(access.low, access.high - access.low) for access in touched if access.space == "dram"}
    return sum(size for _, size in fetched)


def _weights_of(module: ModuleOp) -> dict[str, Weights]:
    found: dict[str, Weights] = {}
    for op in module.walk():
        names = node_names(op)
        if not names or not isinstance(op, AccumulatorOp) or not (stored := op.stored_weights):
            continue
        coded, *others = stored
        bound = entropy_bytes(coded)
        whole = bound + sum(other.nbytes for other in others)
        found[names[0]] = Weights(coded.size, int(np.count_nonzero(coded)), op.coefficient_level, bound, whole)
    return found


def _extent(value: SSAValue) -> int | None:
    """Largest value of the extent of a range: the step of the loop that hands it down, or a constant."""
    if isinstance(value, BlockArgument):
        loop = value.block.parent_op()
        if not isinstance(loop, bfs.ForOp):
            return None
        whole = _extent(loop.extent)
        step = loop.step.value.data
        return step if whole is None else min(step, whole)
    owner = value.owner
    if isinstance(owner, Operation):
        constant = owner.properties.get("value")
        if isinstance(constant, IntegerAttr):
            return constant.value.data
    return None


def _tile_of(layer: bfs.LayerOp) -> Tile:
    buffers: dict[str, int] = {}
    for buffer in layer.buffers:
        buffers[buffer.space] = buffers.get(buffer.space, 0) + buffer.nbytes * max(1, len(buffer.places))
    for op in layer.walk():
        if isinstance(op, ConvTileOp):
            depth: SSAValue | None = getattr(op, "depth", None)
            groups = op.properties.get("row_groups")
            return Tile(
                _extent(op.rows),
                _extent(op.columns),
                _extent(op.channels),
                None if depth is None else _extent(depth),
                groups.value.data if isinstance(groups, IntegerAttr) else None,
                buffers,
            )
    for op in layer.walk():
        if isinstance(op, OpenTileOp):
            return Tile(_extent(op.rows), _extent(op.columns), _extent(op.channels), buffers=buffers)
    return Tile(buffers=buffers)


def _totals(layers: Sequence[LayerReport], program: Program) -> dict[str, Any]:
    weights = program.original_weights
    packed = sum(layer.packed_bytes for layer in layers)
    constants = len(program.rodata)  # everything counted: alignment too
    known = [layer for layer in layers if layer.coefficients]
    stored = sum(layer.coefficients or 0 for layer in known)
    nonzero = sum((layer.density or 0.0) * (layer.coefficients or 0) for layer in known)
    return {
        "layers": len(layers),
        "instructions": len(program.instructions),
        "macs": sum(layer.macs for layer in layers),
        "weights": weights,
        "original_bytes": 4 * weights,
        "packed_bytes": packed,
        "constant_bytes": constants,
        "arena_bytes": program.arena_bytes,
        "bits_per_weight": 8 * constants / weights if weights else None,
        "compression": 4 * weights / constants if constants and weights else None,
        "coefficients": stored if known else None,
        "density": nonzero / stored if known else None,
        "coefficient_bytes": sum(layer.coefficient_bytes for layer in layers),
        "coefficient_entropy_bytes": sum(layer.coefficient_entropy_bytes or 0.0 for layer in known) if known else None,
        "entropy_bytes": sum(layer.entropy_bytes or 0.0 for layer in known) if known else None,
    }
