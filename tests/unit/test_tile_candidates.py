"""The candidates of the tile search, made as columns, against nested loops that name one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise, product
from math import ceil

import pytest
from test_tile_math import LAYERS

from isa.formats import TensorFormat
from isa.layout import requant_block_bytes
from isa.target import Target, load_target
from passes.tiling.geometry import step_choices
from passes.tiling.memory import reserve
from passes.tiling.problem import Tiling, TilingProblem, act_bytes, buffers, fits
from passes.tiling.search import ORDERS, ranked, segment_choices

SMALL = {"act": 96 << 10, "coef": 8 << 10, "psum": 16 << 10}


def even(extent: int, largest: int) -> int:
    """The fewest pieces of at most `largest`, as equal as possible."""
    return ceil(extent / ceil(extent / min(largest, extent)))


def input_channels(p: TilingProblem, t: Tiling, left: int, target: Target) -> list[int]:
    def nbytes(channels: int) -> int:
        return act_bytes(p, replace(t, input_channels=channels), p.sources[0], chunk)

    chunk = target.array.chunk
    if p.sources[0].resident or nbytes(p.cpg) <= left:
        return [p.cpg]
    if not p.splits_input_channels or p.cpg <= chunk or p.band:
        return []
    counts = [room // nbytes(chunk) for room in (left // 2, left)]
    return [even(ceil(p.cpg / chunk), n) * chunk for n in dict.fromkeys(counts) if n]


def psum_channels(p: TilingProblem, channels: int, target: Target) -> list[int]:
    blocks = target.array.blocks
    wanted = {channels, *(1 << n for n in range(9)), blocks, 2 * blocks, 4 * blocks}
    wanted |= p.work.psum_channels(p, channels, target)
    if p.kpg < p.k:
        wanted |= {p.kpg << n for n in range(7)}
    fitting = [n for n in wanted if n <= channels and (channels == p.k or channels % n == 0)]
    return sorted((n for n in fitting if p.kpg == p.k or n % p.kpg == 0 or p.kpg % n == 0), reverse=True)


def parameters(p: TilingProblem, channels: int, pn: int, target: Target) -> int:
    """As many as fit a quarter of PAR, else the fewest; 0 if PAR has no room."""
    choices = [p.k] if p.band else [p.k, channels, pn]
    small = [n for n in choices if reserve(requant_block_bytes(n)) <= target.scratchpad.par // 4]
    found = (small or choices[-1:])[0]
    room = target.scratchpad.par - sum(map(reserve, p.parameter_bytes))
    return found if reserve(requant_block_bytes(found)) <= room else 0


def within(p: TilingProblem, t: Tiling, target: Target) -> Iterator[Tiling]:
    """The candidates with the output tiles and input channels of a tiling."""
    psum, coef = target.scratchpad.psum // 4, target.scratchpad.coef
    for pn in psum_channels(p, t.channels, target):
        heights = [even(t.rows, words // (t.columns * pn)) for words in (psum // 2, psum) if words >= t.columns * pn]
        depths = [t.input_channels]
        if p.splits_input_channels and not p.band:
            each = p.work.weight_bytes(p, pn, 1, target)
            depths += [even(t.input_channels, n // each) for n in (coef // 2, coef) if each <= n < each * depths[0]]
        for height, depth in product(dict.fromkeys(heights), dict.fromkeys(depths)):
            loads = [pn] if depth < p.cpg else [p.k] if p.band else [p.k, t.channels, pn]
            for weights in dict.fromkeys(loads):
                par = parameters(p, t.channels, pn, target)
                if p.work.weight_bytes(p, weights, depth, target) <= coef and par:
                    yield replace(t, psum_rows=height, psum_channels=pn, depth=depth, weights=weights, parameters=par)


def literal(p: TilingProblem, segment: int, target: Target) -> Iterator[Tiling]:
    bitmap = p.output_format is TensorFormat.BITMAP
    tiles = product(
        step_choices(p.k, target.array.chunk), step_choices(p.ow, segment if bitmap else 1), step_choices(p.oh)
    )
    if p.band:
        tiles = [(p.k, p.ow, min(p.band, p.oh))]
    for k, w, h in tiles:
        left = target.scratchpad.act - (0 if p.output_resident else h * w * k)
        whole_groups = p.kpg == p.k or k == p.k or k % p.kpg == 0 or p.kpg % k == 0
        if left <= 0 or not (p.band or (whole_groups and (bitmap or w == p.ow or w <= 128))):
            continue
        t = Tiling(h, w, k, h, k, p.cpg, p.cpg, k, k, ORDERS[0], 1, segment)
        found = [t]
        if p.accumulates:
            found = [
                n for c in input_channels(p, t, left, target) for n in within(p, replace(t, input_channels=c), target)
            ]
        for n in found:
            yield from (
                replace(n, order=order) for order in (ORDERS if k < p.k and (h < p.oh or w < p.ow) else ORDERS[:1])
            )


@pytest.mark.parametrize("scratchpad", [{}, SMALL], ids=["esc1", "small"])
@pytest.mark.parametrize("change", [{}, {"band": 3}, {"output_resident": True}], ids=["tiles", "band", "resident"])
@pytest.mark.parametrize(
    "name", ["stem7", "deep", "fc25088", "classifier", "depthwise stride", "escalate deep", "global pool"]
)
def test_the_candidates_are_those_of_nested_loops(
    name: str, change: dict[str, int], scratchpad: dict[str, int]
) -> None:
    p, target = replace(LAYERS[name], **change), load_target()
    target = replace(target, scratchpad=replace(target.scratchpad, **scratchpad))
    found = [(cycles, replace(t, row_groups=1)) for cycles, t in ranked(p, target)]
    segment = found[0][1].segment if found else 1
    assert segment in (segment_choices(p.ow) if p.output_format is TensorFormat.BITMAP else [p.ow]) or not found
    places = {}
    for t in literal(p, segment, target):
        if fits(buffers(p, t, target), target):
            places.setdefault(t, len(places))
    assert {t for _, t in found} == set(places)
    # Of candidates with equal cycles, the one that the loops name first comes first.
    assert all(places[a] <= places[b] for (x, a), (y, b) in pairwise(found) if x == y)
