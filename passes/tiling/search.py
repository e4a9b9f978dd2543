"""The search for the cheapest tiling: a small, ordered set of candidates, each checked against the scratchpads and
costed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from isa.formats import TensorFormat
from isa.integers import Number, choose
from isa.layout import ceil_div, requant_block_bytes
from isa.target import Target
from passes.tiling.cost import LONG_SEGMENT, CostModel
from passes.tiling.geometry import balanced, step_choices
from passes.tiling.memory import reserve
from passes.tiling.problem import Tiling, TilingProblem, act_bytes, buffers, fits

ORDERS = ("spatial", "channel")
_PARAMETER_LOADS = 4
"""Loads of requantisation parameters that PAR has room for, if the tiling allows."""


def segment_choices(width: int) -> list[int]:
    """Segments of a bitmap tensor in order of preference: whole rows when narrow, else about `LONG_SEGMENT` positions;
    then halves.

    Long lines pack better and cost fewer bursts; short ones let tiles be narrow.
    """
    first = width if width <= 2 * LONG_SEGMENT else balanced(width, LONG_SEGMENT)
    found = [first]
    while found[-1] > 1:
        found.append(ceil_div(found[-1], 2))
    return found


@dataclass(frozen=True)
class _Inner:
    """What to try within output tiles of so many channels and input tiles of so many: PSUM channels, depth, channels of
    a load of weights and of one of parameters, and the part of PSUM that a tile may take, as columns of one length.
    """

    psum_channels: NDArray[np.int64]
    depth: NDArray[np.int64]
    weights: NDArray[np.int64]
    parameters: NDArray[np.int64]
    whole_psum: NDArray[np.int64]
    """0: half of PSUM; 1: all of it."""


def _inner(p: TilingProblem, channels: int, input_channels: int, room: int, target: Target) -> _Inner:
    """What to try within output tiles; `room` bytes of PAR are free for requantisation parameters."""
    coef = target.scratchpad.coef
    rows: list[tuple[int, int, int, int, int]] = []
    for pn in _psum_channel_choices(p, channels, target):
        par = _parameters((p.k,) if p.band else (p.k, channels, pn), room, target)
        if not par:
            continue
        depths = [input_channels]
        if p.splits_input_channels and not p.band:
            per_channel = p.work.weight_bytes(p, pn, 1, target)
            for limit in (coef // 2, coef):
                if per_channel <= limit < per_channel * input_channels:
                    depths.append(balanced(input_channels, limit // per_channel))
        found: list[tuple[int, int]] = []
        for depth in dict.fromkeys(depths):
            options = (pn,) if depth < p.cpg else (p.k,) if p.band else (p.k, channels, pn)
            for weights in dict.fromkeys(options):
                if p.work.weight_bytes(p, weights, depth, target) <= coef:
                    found.append((depth, weights))
        rows += [(pn, depth, weights, par, whole) for whole in (0, 1) for depth, weights in found]
    return _Inner(*np.array(rows, np.int64).reshape(-1, 5).T)


def _psum_channel_choices(p: TilingProblem, channels: int, target: Target) -> list[int]:
    """Channels of a PSUM tile: whole groups or parts of one, and whole numbers of them in an output tile unless it is
    the last.
    """
    blocks = target.array.blocks
    wanted = {channels, 1, 2, 4, 8, 16, 32, 64, 128, 256, blocks, 2 * blocks, 4 * blocks}
    wanted |= p.work.psum_channels(p, channels, target)
    if p.kpg != p.k:
        wanted |= {p.kpg * n for n in (1, 2, 4, 8, 16, 32, 64)}
    whole = channels == p.k
    found = [
        n
        for n in wanted
        if n <= channels and (whole or channels % n == 0) and (p.kpg == p.k or n % p.kpg == 0 or p.kpg % n == 0)
    ]
    return sorted(found, reverse=True)


def _outer(p: TilingProblem, segment: int, chunk: int) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
    """Channels of output tiles to try, with rows and columns [n] to try for each."""
    if p.band:
        yield p.k, np.array([min(p.band, p.oh)]), np.array([p.ow])
        return
    if p.in_place:
        for channels in step_choices(p.k, chunk):
            yield channels, np.array([p.oh]), np.array([p.ow])
        return
    pool_rows, pool_columns = p.pool
    multiple = segment * pool_columns if p.output_format is TensorFormat.BITMAP else pool_columns
    widths = step_choices(p.ow, multiple)
    if p.output_format is TensorFormat.RAW:
        widths = [w for w in widths if w == p.ow or w <= 128]
    heights = step_choices(p.oh, pool_rows)
    rows, columns = np.tile(heights, len(widths)), np.repeat(widths, len(heights))
    for channels in step_choices(p.k, chunk):
        if p.kpg != p.k and channels != p.k and channels % p.kpg and p.kpg % channels:
            continue
        yield channels, rows, columns


def _candidates(p: TilingProblem, segment: int, target: Target) -> NDArray[np.int64]:
    """Tilings worth a look, int64 [n, 10]: the first fields of a `Tiling`, and the index of the order of the loops,
    both of them where it matters.
    """
    room = target.scratchpad.par - sum(reserve(n) for n in p.parameter_bytes)
    act = target.scratchpad.act
    found: list[NDArray[np.int64]] = []
    for channels, rows, columns in _outer(p, segment, target.array.chunk):
        left = act - rows * columns // math.prod(p.pool) * (0 if p.output_resident else channels)
        free = np.flatnonzero(left > 0)
        tiles = _Tiles(channels, rows[free], columns[free], left[free])
        fields = _of_tiles(p, tiles, room, target)
        twice = (channels < p.k) & ((fields[:, 0] < p.oh) | (fields[:, 1] < p.ow))
        places = np.repeat(np.arange(len(fields)), 1 + twice)
        again = np.diff(places, prepend=-1) == 0
        found.append(np.column_stack([fields[places], again]))
    return np.concatenate(found)


class _Tiles(NamedTuple):
    """Output tiles of so many channels: rows, columns and the bytes of ACT that they leave [n]."""

    channels: int
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    left: NDArray[np.int64]


def _of_tiles(p: TilingProblem, tiles: _Tiles, room: int, target: Target) -> NDArray[np.int64]:
    """The fields [n, 9] of the tilings worth a look with these output tiles, tile by tile."""
    channels, rows, columns, _ = tiles
    if not p.accumulates:
        fixed = (channels, p.cpg, p.cpg, channels, channels)
        return np.column_stack(
            [rows, columns, np.full_like(rows, channels), rows, *(np.full_like(rows, n) for n in fixed)]
        )
    # One row for each output tile and choice of input channels, in that order.
    choices = _input_channel_choices(p, tiles, target.array.chunk)
    tile, which = np.nonzero(choices)
    inputs = choices[tile, which]
    found: list[NDArray[np.int64]] = []
    origin: list[NDArray[np.int64]] = []
    for count in np.unique(inputs):
        of_count = np.flatnonzero(inputs == count)
        inner = _inner(p, channels, int(count), room, target)
        h, w = rows[tile[of_count], None], columns[tile[of_count], None]
        shape = (of_count.size, inner.depth.size)
        # Whole windows of rows, where maxima of them are written.
        line = w * inner.psum_channels * p.pool[0]
        words, lines = target.scratchpad.psum // 4, h // p.pool[0]
        half, whole = (
            np.where(limit < line, 0, balanced(lines, limit // line) * p.pool[0]) for limit in (words // 2, words)
        )
        height = np.where(inner.whole_psum, np.where(whole == half, 0, whole), half)
        if p.in_place:
            height = np.where(height == h, height, 0)
        at, column = np.nonzero(height)
        fields = (h, w, channels, height, inner.psum_channels, count, inner.depth, inner.weights, inner.parameters)
        found.append(np.column_stack([np.broadcast_to(field, shape)[at, column] for field in fields]))
        origin.append(of_count[at])
    if not found:
        return np.empty((0, 9), np.int64)
    return np.concatenate(found)[np.argsort(np.concatenate(origin), kind="stable")]


def _parameters(choices: Sequence[int], room: int, target: Target) -> int:
    """Output channels of a load of requantisation parameters: as many as leave room for those that follow, among them
    those of the next layer; 0 if not even the fewest fit `room` bytes.
    """
    wanted = target.scratchpad.par // _PARAMETER_LOADS
    found = next((n for n in choices if reserve(requant_block_bytes(n)) <= wanted), choices[-1])
    return found if reserve(requant_block_bytes(found)) <= room else 0


def _input_channel_choices(p: TilingProblem, tiles: _Tiles, chunk: int) -> NDArray[np.int64]:
    """Input channels of an input tile to try for each output tile, int64 [n, 2], 0 for none: all where they fit what is
    left of ACT; else whole chunks, as many as leave room for two tiles, or one.
    """
    channels, rows, columns, left = tiles

    def nbytes(inputs: int) -> NDArray[np.int64]:
        t = Tiling(rows, columns, channels, 1, 1, inputs, 1, 1, 1, "", 1, 1)
        return np.broadcast_to(act_bytes(p, t, p.sources[0], chunk), rows.shape)

    found = np.zeros((rows.size, 2), np.int64)
    fits = np.ones(rows.shape, np.bool_) if p.sources[0].resident else nbytes(p.cpg) <= left
    found[fits, 0] = p.cpg
    if fits.all() or not p.splits_input_channels or p.cpg <= chunk or p.band:
        return found
    one, chunks = nbytes(chunk), ceil_div(p.cpg, chunk)
    two, alone = left // 2 // one, left // one
    counts = np.stack([two, np.where(alone == two, 0, alone)], axis=1)
    split = np.where(counts > 0, balanced(chunks, counts) * chunk, 0)
    return np.where(fits[:, None], found, split)


def search(p: TilingProblem, target: Target) -> Tiling | None:
    """The cheapest tiling of a layer; None if none fits the scratchpads.

    Deterministic: ties go to the candidate that comes first. Bitmap outputs try narrower segments only when wider
    ones do not fit.
    """
    found = cheapest(p, target)
    return None if found is None else found[1]


def solve(p: TilingProblem, target: Target, place: int = 0) -> tuple[TilingProblem, Tiling] | None:
    """The problem that the machine solves and its tiling at a place of the order of estimated cycles, the cheapest at
    0: the layer with whole windows, or with windows in parts if no whole one fits, which has one place. None if nothing
    fits, or if there are not so many tilings.
    """
    if place:
        tilings = ranked(p, target)
        return (p, tilings[place][1]) if place < len(tilings) else None
    tiling = search(p, target)
    return search_parts(p, target) if tiling is None else (p, tiling)


def search_parts(p: TilingProblem, target: Target) -> tuple[TilingProblem, Tiling] | None:
    """For a convolution that takes its window in parts, of which no whole one fits: the problem of one part of the
    window, and its cheapest tiling. Parts are whole rows of the window, if those fit, else pieces of one row.

    Among the parts that fit, those up to twice as many as needed are tried: small ones can be double buffered.
    """
    if not p.work.takes_window_in_parts:
        return None
    r, s = p.kernel
    best: tuple[float, TilingProblem, Tiling] | None = None
    fewest = 0
    for kernel in (*((rows, s) for rows in step_choices(r)), *((1, columns) for columns in step_choices(s))):
        count = ceil_div(r, kernel[0]) * ceil_div(s, kernel[1])
        if count == 1:
            continue
        if best is not None and count > 2 * fewest:
            break
        # Pads of 0 bound the input tiles of every part.
        part = replace(p, kernel=kernel, pads=(0, 0), parts=count)
        found = cheapest(part, target)
        if found is None:
            continue
        fewest = fewest or count
        if best is None or found[0] < best[0]:
            best = (found[0], part, found[1])
    return None if best is None else best[1:]


def _tiling(fields: Iterable[Number], order: str, groups: Number, segment: int) -> Tiling:
    """A tiling, or the columns of many, from the fields of a candidate."""
    rows, columns, channels, ph, pn, inputs, depth, weights, parameters = fields
    return Tiling(rows, columns, channels, ph, pn, inputs, depth, weights, parameters, order, groups, segment)


@lru_cache(maxsize=1024)
def cheapest(p: TilingProblem, target: Target) -> tuple[float, Tiling] | None:
    """The estimated cycles of the cheapest tiling of a layer, and the tiling; None if none fits the scratchpads."""
    found = next(_costed(p, target), None)
    return None if found is None else found.tiling(int(np.argmin(found.cycles)))


@lru_cache(maxsize=256)
def ranked(p: TilingProblem, target: Target) -> tuple[tuple[float, Tiling], ...]:
    """All tilings that the search looks at and that fit, with their estimated cycles, the cheapest first."""
    found = next(_costed(p, target), None)
    if found is None:
        return ()
    order = np.argsort(found.cycles, kind="stable")[: np.count_nonzero(np.isfinite(found.cycles))]
    return tuple(found.tiling(int(i)) for i in order)


class _Costed(NamedTuple):
    """Candidates int64 [n, 10], the index of the order last; row groups and estimated cycles [n] of each, infinite
    where it does not fit; the segment of all.
    """

    candidates: NDArray[np.int64]
    groups: NDArray[np.int64]
    cycles: NDArray[np.float64]
    segment: int

    def tiling(self, number: int) -> tuple[float, Tiling]:
        """The cycles of a candidate, and the candidate."""
        *fields, order = (int(n) for n in self.candidates[number])
        tiling = _tiling(fields, ORDERS[order], int(self.groups[number]), self.segment)
        return float(self.cycles[number]), tiling


def _costed(p: TilingProblem, target: Target) -> Iterator[_Costed]:
    """The candidates of each segment of which some fit, in the order of preference."""
    width = p.output[1]
    segments = segment_choices(width) if p.output_format is TensorFormat.BITMAP else [width]
    if p.segment and not p.output_resident:
        segments = [p.segment]
    for segment in segments:
        candidates = _candidates(p, segment, target)
        if len(candidates):
            found = _estimated(p, target, candidates, segment)
            if np.isfinite(found.cycles).any():
                yield found


def _estimated(p: TilingProblem, target: Target, candidates: NDArray[np.int64], segment: int) -> _Costed:
    """Candidates with their row groups and cycles."""
    model = CostModel(p, target)
    cost = np.full(len(candidates), np.inf)
    groups = np.ones(len(candidates), np.int64)
    for index, order in enumerate(ORDERS):
        places = np.flatnonzero(candidates[:, -1] == index)
        if not places.size:
            continue
        t = _tiling(candidates[places, :-1].T, order, groups[places], segment)
        if p.accumulates:
            t = replace(t, row_groups=model.best_groups(t))
        needed = buffers(p, t, target)
        cost[places] = choose(fits(needed, target), model.cycles(t, needed), np.inf)
        groups[places] = t.row_groups
    return _Costed(candidates, groups, cost, segment)


def smallest_need(p: TilingProblem, target: Target) -> tuple[str, int, int]:
    """For a layer that does not tile, in parts of its window neither: the scratchpad its smallest tile exceeds most,
    needed and available bytes.
    """
    chunk = target.array.chunk
    k = min(p.k, chunk)
    pn = 1 if p.kpg == p.k else min(p.kpg, k)
    splits = p.splits_input_channels
    if p.work.takes_window_in_parts:
        p = replace(p, kernel=(1, 1), pads=(0, 0))
    inputs = min(p.cpg, chunk) if splits else p.cpg
    rows, columns = p.pool
    t = Tiling(rows, columns, k, rows, pn, inputs, 1 if splits else p.cpg, pn, pn, "spatial", 1, 1)
    used: dict[str, int] = {}
    for b in buffers(p, t, target):
        used[b.space] = used.get(b.space, 0) + reserve(b.nbytes)
    space = max(used, key=lambda s: used[s] / getattr(target.scratchpad, s))
    return space, used[space], getattr(target.scratchpad, space)
