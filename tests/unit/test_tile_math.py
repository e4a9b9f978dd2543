"""Geometry, cost and search of tiles: plain numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from emulator_programs import Geometry, conv_program
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.machine import Machine
from isa.formats import TensorFormat
from isa.target import Target, load_target
from passes.layers.convolution import ConvConstants
from passes.layers.dense import DenseWork
from passes.layers.depthwise import DepthwiseWork
from passes.layers.escalate import EscalateWork
from passes.layers.pool import PoolWork
from passes.tiling.cost import CostModel, Queued, group_choices
from passes.tiling.geometry import ChannelMap, Span, balanced, pieces, step_choices, steps, total_span, window_span
from passes.tiling.problem import ComputeTile, InputSource, TilingProblem, Workload, buffers, executions, fits, loops
from passes.tiling.search import search, search_parts, segment_choices, smallest_need

RAW, BITMAP = TensorFormat.RAW, TensorFormat.BITMAP


@given(
    out=st.tuples(st.integers(0, 20), st.integers(1, 9)),
    kernel=st.integers(1, 7),
    stride=st.integers(1, 4),
    pad=st.integers(-9, 9),
    size=st.integers(1, 30),
)
def test_window_span_holds_every_position_that_a_window_reads(out, kernel, stride, pad, size) -> None:
    span = window_span(Span(*out), kernel, stride, pad, size)
    assert 0 <= span.first < span.end <= size
    read = {
        p
        for i in range(out[0], out[0] + out[1])
        for p in range(i * stride - pad, i * stride - pad + kernel)
        if 0 <= p < size
    }
    assert read <= set(range(span.first, span.end))
    if read and out[0] * stride - pad >= 0:
        assert span.first == min(read)


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 300))
def test_pieces_sum_to_the_extent(extent: int, outer: int, inner: int) -> None:
    found = pieces(extent, outer, inner)
    assert sum(size * count for size, count in found) == extent
    listed = sorted(s.extent for o in steps(0, extent, outer) for s in steps(o.first, o.extent, inner))
    assert sorted(size for size, count in found for _ in range(count)) == listed


@given(st.integers(1, 5000), st.integers(1, 64))
def test_step_choices_are_whole_multiples_from_everything_to_one(extent: int, multiple: int) -> None:
    choices = step_choices(extent, multiple)
    assert choices[0] == extent
    assert choices[-1] == min(extent, multiple)
    assert all(step == extent or step % multiple == 0 for step in choices)
    assert list(choices) == sorted(set(choices), reverse=True)


@given(st.integers(1, 1000), st.integers(1, 1000))
def test_balanced_takes_no_more_pieces(extent: int, largest: int) -> None:
    step = balanced(extent, largest)
    assert 1 <= step <= largest or step == extent <= largest
    assert math.ceil(extent / step) == math.ceil(extent / largest)


@given(
    out=st.tuples(st.integers(0, 200), st.integers(1, 80)),
    first=st.integers(0, 100),
    extent=st.integers(1, 100),
    offset=st.integers(-90, 90),
    per=st.integers(1, 4),
    channels=st.integers(1, 200),
    chunk=st.sampled_from([8, 32, 64]),
)
def test_channel_map_source(out, first, extent, offset, per, channels, chunk) -> None:
    m = ChannelMap(first, extent, offset, per)
    source = m.source(Span(*out), channels, chunk)
    covered = [i for i in range(out[0], out[0] + out[1]) if first <= i < first + extent]
    assert bool(source.extent) == bool(covered)
    if covered:
        assert source.first % chunk == 0
        assert source.end <= channels
        wanted = {i // per + offset for i in covered} & set(range(channels))
        assert wanted <= set(range(source.first, source.end))


def test_total_span_counts_halo_rows_twice() -> None:
    assert total_span(8, 8, 3, 1, 1, 8) == 8
    assert total_span(8, 4, 3, 1, 1, 8) == 10
    assert total_span(8, 2, 1, 2, 0, 16) == 4 * 3


@pytest.mark.parametrize("width", [1, 7, 28, 64, 65, 112, 224, 227, 1000])
def test_segments_prefer_whole_rows_and_end_at_one(width: int) -> None:
    choices = segment_choices(width)
    assert choices[0] == (width if width <= 64 else choices[0]) <= 64
    assert choices[-1] == 1


def test_row_groups_never_exceed_blocks_or_rows() -> None:
    assert group_choices(32, 1) == [1]
    assert max(group_choices(32, 100)) == 32
    assert max(group_choices(32, 5)) == 5


def decomposed(k: int, v: int, c: int, r: int, stride: int) -> EscalateWork:
    """The work of random coefficients, three of ten not zero, on half as many activations."""
    rng = np.random.default_rng(0)
    t = np.where(rng.random((k, v, c)) < 0.3, rng.choice([-1, 1], (k, v, c)), 0).astype(np.int8)
    return EscalateWork.of(ConvConstants(t, [np.ones((v, r, r), np.int8)], (stride, stride)), 0.5, load_target())


def convolution(
    kind: str, h: int, w: int, c: int, k: int, r: int, stride: int = 1, pad: int | None = None, v: int = 0
) -> TilingProblem:
    pad = r // 2 if pad is None else pad
    oh, ow = ((n + 2 * pad - r) // stride + 1 for n in (h, w))
    depthwise = kind == "depthwise"
    source = InputSource(c, RAW if c <= 3 else BITMAP, ChannelMap(0, k, 0, k // c if depthwise else k), 0.5)
    work: dict[str, Callable[[], Workload]] = {
        "dense": DenseWork,
        "depthwise": DepthwiseWork,
        "escalate": lambda: decomposed(k, v, c, r, stride),
    }
    return TilingProblem(
        work[kind](),
        h,
        w,
        oh,
        ow,
        k,
        (source,),
        (r, r),
        (stride, stride),
        (pad, pad),
        cpg=1 if depthwise else c,
        kpg=k // c if depthwise else k,
        parameter_bytes=(v * r * r,) if v else (),
        output_format=BITMAP,
        output_density=0.5,
    )


LAYERS = {
    "vgg": convolution("dense", 224, 224, 64, 64, 3),
    "stem7": convolution("dense", 227, 227, 3, 64, 7, 2, 0),
    "deep": convolution("dense", 7, 7, 512, 512, 3),
    "wide and deep": convolution("dense", 56, 56, 512, 512, 3),
    "fc": convolution("dense", 1, 1, 4096, 4096, 1),
    "fc25088": convolution("dense", 7, 7, 512, 4096, 7, 1, 0),
    "fc of a large map": convolution("dense", 28, 28, 256, 10, 28, 1, 0),
    "classifier": convolution("dense", 13, 13, 512, 1000, 1),
    "depthwise": convolution("depthwise", 112, 112, 96, 96, 3),
    "depthwise stride": convolution("depthwise", 112, 112, 96, 96, 3, 2),
    "escalate": convolution("escalate", 56, 56, 64, 64, 3, v=18),
    "escalate deep": convolution("escalate", 7, 7, 512, 512, 3, v=9),
    "escalate wide": convolution("escalate", 224, 224, 64, 64, 3, v=9),
    "escalate small": convolution("escalate", 32, 32, 16, 16, 3, v=9),
    "global pool": TilingProblem(
        PoolWork(), 7, 7, 1, 1, 1280, (InputSource(1280, BITMAP, ChannelMap(0, 1280, 0, 1), 0.5),), (7, 7), (7, 7)
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_tiles_and_fits(name: str) -> None:
    p, target = LAYERS[name], load_target()
    tiling = search(p, target)
    assert tiling is not None
    needed = buffers(p, tiling, target)
    assert fits(needed, target)
    if p.output_format is BITMAP:
        assert tiling.columns % tiling.segment == 0 or tiling.columns == p.ow
        assert tiling.channels % target.array.chunk == 0 or tiling.channels == p.k


@pytest.mark.parametrize("name", ["vgg", "deep", "escalate", "escalate deep", "classifier"])
def test_large_layers_keep_the_multipliers_busy(name: str) -> None:
    """The estimated convolution time is near what full use of the array would take: of the multipliers (dense), or of
    the accumulators, the activation bus or the loads of coefficients (decomposed).
    """
    p, target = LAYERS[name], load_target()
    tiling = search(p, target)
    assert tiling is not None
    model, a = CostModel(p, target), target.array
    cycles = sum(
        many * wide * deep * times * model.compute(ComputeTile(rows, columns, channels, depth, tiling.row_groups))
        for rows, many in pieces(p.oh, tiling.rows, tiling.psum_rows)
        for columns, wide in pieces(p.ow, tiling.columns, tiling.columns)
        for channels, deep in pieces(p.k, tiling.channels, tiling.psum_channels)
        for depth, times in pieces(p.cpg, tiling.input_channels, tiling.depth)
    )
    if not isinstance(p.work, EscalateWork):
        ideal = p.oh * p.ow * p.k * p.cpg * p.taps / (a.blocks * a.slices * a.macs)
    else:
        combine = (
            p.h * p.w * math.ceil(p.k / a.blocks) * sum(each.paces(each.taps, a.macs, 1)[1] for each in p.work.rounds)
        )
        ideal = max(combine, p.work.ends[-1] / 8 / target.dma.bytes_per_cycle)
    # COEF holds the coefficients of a deep layer twice for half of the blocks only.
    assert cycles <= (2.0 if name == "escalate deep" else 1.6) * ideal


@pytest.mark.parametrize(("v", "k"), [(6, 32), (7, 32), (18, 32), (18, 70), (2, 64)])
def test_the_estimate_of_a_decomposed_convolution_is_near_its_cycles(v: int, k: int) -> None:
    """Guards the rounds over bases and the passes over channels in the cost of a tile, against the emulator.

    Coefficients and activations without zeros: every intermediate value takes one cycle of 16 matches.
    """
    g = Geometry(10, 10, 16, 1, 1, 1, 1, (0, 0, 0, 0), k)
    constants = {"t": np.ones((k, v, 16), np.int8), "basis": np.ones((v, 1, 1), np.int8)}
    program = conv_program(g, "esc", constants, v=v)
    statistics = Machine(program).run([np.ones((1, 16, 10, 10))], stats=True).statistics
    assert statistics is not None
    work = EscalateWork.of(ConvConstants(constants["t"], [constants["basis"]], (1, 1)), 1.0, load_target())
    problem = replace(convolution("escalate", 10, 10, 16, k, 1, v=v), work=work)
    found = work.expected_cycles(problem, ComputeTile(10, 10, k, 16, 1), Span(0, 10), Span(0, 10), load_target())
    # No instruction runs before, during which the coefficients of the first step could be expanded.
    assert found.cycles + found.expansion == pytest.approx(statistics.data["totals"]["busy_cycles"]["compute"], rel=0.1)


def test_small_layers_use_row_groups() -> None:
    for name in ("escalate small",):
        tiling = search(LAYERS[name], load_target())
        assert tiling is not None
        assert tiling.row_groups > 1


def small(target: Target, **sizes: int) -> Target:
    return replace(target, scratchpad=replace(target.scratchpad, **sizes))


@settings(deadline=None, max_examples=40)
@given(
    name=st.sampled_from(list(LAYERS)),
    act=st.integers(768, 40000),
    coef=st.integers(256, 9000),
    psum=st.integers(256, 9000),
)
def test_what_does_not_fit_says_why(name: str, act: int, coef: int, psum: int) -> None:
    p, target = LAYERS[name], small(load_target(), act=act, coef=coef, psum=psum)
    tiling = search(p, target)
    found = search_parts(p, target) if tiling is None else (p, tiling)
    if found is not None:
        assert fits(buffers(*found, target), target)
        return
    space, need, have = smallest_need(p, target)
    assert have == getattr(target.scratchpad, space)
    assert need > have


def test_loops_place_transfers() -> None:
    p, target = LAYERS["deep"], load_target()
    tiling = search(p, target)
    assert tiling is not None
    nest = loops(p, tiling)
    assert executions(nest, {}) == 1
    assert executions(nest, dict.fromkeys(("y", "x", "k", "pk", "py", "a", "c"), True)) == math.prod(
        loop.trips for loop in nest
    )


def test_the_input_buffer_holds_the_widest_window() -> None:
    p, target = LAYERS["vgg"], load_target()
    tiling = search(p, target)
    assert tiling is not None
    act = next(b for b in buffers(p, tiling, target) if b.name == "act")
    assert act.nbytes == min(224, tiling.rows + 2) * min(224, tiling.columns + 2) * 64


def test_of_two_tilings_that_dram_binds_the_one_with_less_work_is_cheaper() -> None:
    """Layers around hide transfers, never work: a longer first load of weights is worth a third less work."""
    small = Queued(
        act=0.0,
        residual=0.0,
        weights=4300.0,
        compute=2900.0,
        post=100.0,
        store=0.0,
        written=0.0,
        first=140.0,
        last=10.0,
    )
    large = replace(small, compute=2000.0, first=280.0)
    assert small.busiest == large.busiest
    assert large.total < small.total
