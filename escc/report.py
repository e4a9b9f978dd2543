"""`--report`: what became of every layer, as JSON or as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from html import escape as escape_markup
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import IntegerAttr, ModuleOp
from xdsl.ir import BlockArgument, Operation, SSAValue
from xdsl.passes import ModulePass

from dialects import bfs, esc
from dialects.bfs_compute import ConvDwOp, ConvEscOp, ConvOp
from dialects.bfs_tiles import OpenTileOp
from dialects.locations import node_names
from isa.elementary import log2
from isa.errors import UserError
from isa.formats import Scratchpad
from isa.hazards import accesses
from isa.jsonform import published
from isa.program import Layer, Program
from isa.text import printable

SCHEMA_VERSION = 2


@dataclass(frozen=True)
class Weights:
    """What the `esc` level knows of a layer's weights: how many are stored, how many of them are not 0, their entropy.

    `coefficient_entropy_bytes`: what an ideal code needs for the weights or ternary coefficients if each value is drawn
    independently from the layer's own distribution; `entropy_bytes`: that and the bases as they are.
    """

    stored: int
    nonzero: int
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
    scheme: str
    output: tuple[int, int, int]
    macs: int
    weights: int
    original_bytes: int
    packed_bytes: int
    bits_per_weight: float | None
    coefficients: int | None
    density: float | None
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
        if step.name in ("quantize", "decompose-conv", "drop-dead-channels", "esc-legalize"):
            self._weights = _weights_of(module)
        elif step.name in ("tile-basis-first", "plan-memory", "double-buffer"):
            self._tiles = {
                layer.layer_name.data: _tile_of(layer) for layer in module.walk() if isinstance(layer, bfs.LayerOp)
            }

    def layers(self, program: Program) -> list[LayerReport]:
        """A line for each layer of a program."""
        return [self._layer(layer, program) for layer in program.layers]

    def _layer(self, layer: Layer, program: Program) -> LayerReport:
        known = next((self._weights[n] for n in layer.nodes if n in self._weights), None) if layer.weights else None
        packed = sum(size for _, size in layer.rodata)
        return LayerReport(
            name=layer.name,
            nodes=layer.nodes,
            scheme=layer.kind,
            output=(layer.output.h, layer.output.w, layer.output.c),
            macs=layer.macs,
            weights=layer.weights,
            original_bytes=4 * layer.weights,
            packed_bytes=packed,
            bits_per_weight=8 * packed / layer.weights if layer.weights else None,
            coefficients=known.stored if known else None,
            density=known.nonzero / known.stored if known else None,
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
        }

    def text(self, program: Program | None, suffix: str, title: str) -> str:
        """The report as ".json" or ".html". Raises UserError without a program."""
        if program is None:
            raise UserError("--report needs the whole pipeline", "use --emit eisa, asm or bin")
        if suffix == ".json":
            return published(self.as_dict(program, title), indent=2)
        return _html(self.layers(program), program, title)


def _coefficient_bytes(layer: Layer, program: Program) -> int:
    """Bytes of `.rodata` that the layer fetches into COEF: packed coefficients or dense weights, nothing else."""
    fetched = {
        (access.low, access.high - access.low)
        for i in program.instructions[layer.start : layer.end]
        if i.spec.mnemonic in ("load.coef", "load.weights")
        or (i.spec.mnemonic == "load.bytes" and i["pad"] == Scratchpad.COEF)
        for access in accesses(i, program.target)
        if access.space == "dram"
    }
    return sum(size for _, size in fetched)


def _weights_of(module: ModuleOp) -> dict[str, Weights]:
    found: dict[str, Weights] = {}
    for op in module.walk():
        names = node_names(op)
        if not names:
            continue
        if isinstance(op, esc.Conv2dOp):
            w = op.weight.array
            bound = entropy_bytes(w)
            found[names[0]] = Weights(w.size, int(np.count_nonzero(w)), bound, bound)
        elif isinstance(op, esc.BasisConv2dOp) and isinstance(op.input.owner, esc.CoeffCombineOp):
            t = op.input.owner.coefficients.array
            bound = entropy_bytes(t)
            found[names[0]] = Weights(t.size, int(np.count_nonzero(t)), bound, bound + op.basis.array.nbytes)
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
        if isinstance(op, ConvOp | ConvDwOp | ConvEscOp):
            groups = op.properties.get("row_groups")
            return Tile(
                _extent(op.rows),
                _extent(op.columns),
                _extent(op.channels),
                _extent(op.depth) if isinstance(op, ConvOp) else None,
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


_STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --soft: #667085; --line: #e4e7ec; --back: #fbfbfd; --card: #fff;
  --dense: #8f9bb3; --escalate: #2f6fed; --depthwise: #12a594; --other: #c9b458; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ef; --soft: #98a2b3; --line: #2b3240; --back: #12151c; --card: #1a1f29; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 92rem; padding: 2.5rem 1.5rem; background: var(--back); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.5rem; margin: 0; } p { color: var(--soft); margin: .2rem 0 1.6rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .8rem;
  margin-bottom: 1.6rem; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .8rem 1rem; }
.card b { display: block; font-size: 1.35rem; font-weight: 600; } .card span { color: var(--soft); font-size: .85rem; }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: .6rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: .5rem .75rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 500; text-align: right; } tr:last-child td { border-bottom: 0; font-weight: 600; }
td:first-child, th:first-child, td.text, th.text { text-align: left; }
.tag { border-radius: 1rem; padding: .1rem .6rem; color: #fff; background: var(--other); font-size: .8rem; }
.tag.dense { background: var(--dense); } .tag.escalate { background: var(--escalate); }
.tag.depthwise { background: var(--depthwise); }
.bar { display: inline-block; height: .55rem; border-radius: .3rem; background: var(--escalate); margin-left: .5rem;
  min-width: 1px; vertical-align: middle; opacity: .75; }
.track { display: inline-block; width: 5.5rem; text-align: left; }
"""

_COLUMNS = (
    ("layer", "first"),
    ("scheme", "text"),
    ("output", ""),
    ("MACs", ""),
    ("float32 bytes", ""),
    ("packed bytes", ""),
    ("bits / weight", ""),
    ("density", ""),
    ("coefficient bytes", ""),
    ("their entropy bound", ""),
    ("tile", "text"),
)


def _markup(text: str) -> str:
    """A name as markup that shows it, in an attribute too."""
    return escape_markup(printable(text), quote=True)


def _cell(text: str, kind: str = "", tip: str = "") -> str:
    attributes = (f' class="{kind}"' if kind else "") + (f' title="{_markup(tip)}"' if tip else "")
    return f"<td{attributes}>{text}</td>"


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _row(layer: LayerReport, largest: int) -> str:
    width = 5 * layer.packed_bytes / largest if largest else 0
    bar = f'<span class="track"><span class="bar" style="width:{width:.2f}rem"></span></span>'
    tile = layer.tile
    buffers = ", ".join(f"{space} {size:,} B" for space, size in tile.buffers.items()) if tile else ""
    cells = [
        _cell(_markup(layer.name), tip=", ".join(layer.nodes)),
        _cell(f'<span class="tag {_markup(layer.scheme)}">{_markup(layer.scheme)}</span>', "text"),
        _cell("x".join(map(str, layer.output))),
        _cell(f"{layer.macs:,}"),
        _cell(f"{layer.original_bytes:,}"),
        _cell(f"{layer.packed_bytes:,}{bar}"),
        _cell(_number(layer.bits_per_weight, ".2f")),
        _cell(_number(layer.density, ".1%")),
        _cell(f"{layer.coefficient_bytes:,}" if layer.coefficient_bytes else "–"),
        _cell(_number(layer.coefficient_entropy_bytes, ",.0f")),
        _cell(_markup(str(tile)) if tile else "–", "text", buffers),
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _html(layers: Sequence[LayerReport], program: Program, title: str) -> str:
    totals = _totals(layers, program)
    ratio = totals["compression"]
    cards = [
        (_number(ratio, ".1f") + ("x" if ratio else ""), "smaller than float32 weights"),
        (f"{totals['constant_bytes']:,}", "bytes of constants in DRAM"),
        (_number(totals["bits_per_weight"], ".2f"), "bits a weight"),
        (f"{totals['macs'] / 1e6:,.1f} M", "multiply-accumulates"),
        (f"{totals['instructions']:,}", "instructions"),
        (f"{totals['arena_bytes'] / 1024:,.0f} KiB", "activation arena"),
    ]
    boxes = "".join(f'<div class="card"><b>{value}</b><span>{label}</span></div>' for value, label in cards)
    head = "".join(f'<th class="{kind}">{name}</th>' for name, kind in _COLUMNS)
    largest = max((layer.packed_bytes for layer in layers), default=0)
    rows = "\n".join(_row(layer, largest) for layer in layers)
    last = [
        _cell("total"),
        _cell(f"{len(layers)} layers", "text"),
        _cell(""),
        _cell(f"{totals['macs']:,}"),
        _cell(f"{totals['original_bytes']:,}"),
        _cell(f'{totals["packed_bytes"]:,}<span class="track"></span>'),
        _cell(_number(totals["bits_per_weight"], ".2f")),
        _cell(_number(totals["density"], ".1%")),
        _cell(f"{totals['coefficient_bytes']:,}"),
        _cell(_number(totals["coefficient_entropy_bytes"], ",.0f")),
        _cell("", "text"),
    ]
    name = _markup(title)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name} - escc</title><style>{_STYLE}</style></head>
<body><h1>{name}</h1><p>target {_markup(program.target.name)}, {_markup(program.producer)}</p>
<div class="cards">{boxes}</div>
<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>
{rows}
<tr>{"".join(last)}</tr></tbody></table></div></body></html>
"""
