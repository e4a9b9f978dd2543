"""The timing model: queues, DRAM, and the invariants of the whole machine."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from emulator_programs import OUT, Builder, Geometry, conv_program, identity_requant, nchw, sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.machine import Machine
from emulator.recording import Recorder
from emulator.statistics import layer_ends, stall_spans
from emulator.timing import DramUse, Timeline, replay, replay_instructions
from isa.coefficients import pack_streams, stream_code
from isa.counts import Count
from isa.declaration import WAITS
from isa.errors import UserError
from isa.formats import Queue, Scratchpad, TensorFormat
from isa.instructions import load_weights
from isa.layout import ceil_div
from isa.target import load_target
from isa.timed import TimedInstructions

ESC1 = load_target()
NO_DRAM = DramUse(0, 0, 0, 0.0)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 60), st.integers(0, 40), st.integers(0, 60), st.integers(0, 90)),
        min_size=1,
        max_size=8,
    )
)
def test_the_next_instruction_is_prepared_while_one_computes(wanted):
    """Each is a compute instruction of (cycles, expansion, released) and a post instruction that it waits for."""
    issue = ESC1.array.issue_cycles
    n = len(wanted)
    cycles, expansion, released, _ = np.array(wanted, np.int64).T
    released = np.minimum(released, cycles)
    queue = np.array([Queue.POST, Queue.COMPUTE] * n)
    waits = np.zeros((2 * n, 4), np.int64)
    waits[1::2, Queue.POST] = np.arange(1, n + 1)
    both = np.zeros((3, 2 * n), np.int64)
    both[:, 1::2] = cycles + issue, expansion, released
    both[0, ::2] = [delay for *_, delay in wanted]
    timed = TimedInstructions(queue, np.ones(2 * n, np.int64), waits, both[0], [NONE] * (2 * n), 0, *both[1:])
    timeline = replay_instructions(timed, ESC1)
    sends = end = 0
    for i, (posted, computed) in enumerate(zip(range(0, 2 * n, 2), range(1, 2 * n, 2), strict=True)):
        # The fetch is seen in when the post instruction, one word earlier, could start.
        accepted = max(sends, timeline.end[posted], timeline.accepted[computed])
        assert accepted == timeline.accepted[computed]
        full = accepted + issue
        if expansion[i]:
            full = max(full, end - released[i - 1] if i else 0) + expansion[i]
        assert timeline.start[computed] == max(accepted, end)
        sends = max(full, end)
        end = sends + cycles[i]
        assert timeline.end[computed] == end


NONE = np.empty((0, 2), np.int64)


def tiled_program(seed, target=ESC1):
    """Two layers in row tiles with double buffers, the second decomposed: all four queues overlap."""
    rng = np.random.default_rng(seed)
    b = Builder(target)
    h, w, c, kn, v = 12, 8, 24, 16, 5
    x = b.tensor("x", h, w, c)
    mid = b.tensor("mid", h, w, kn, TensorFormat.BITMAP)
    y = b.tensor("y", h, w, kn, TensorFormat.BITMAP)
    dense = rng.integers(-9, 9, (kn, 1, 1, c)).astype(np.int8)
    t = np.where(rng.random((kn, v, kn)) < 0.4, rng.integers(-1, 2, (kn, v, kn)), 0).astype(np.int8)
    code = stream_code(t)
    blob = pack_streams(t, code)
    basis = rng.integers(-9, 9, (v, 3, 3)).astype(np.int8)
    b.emit("load.bytes", dram=b.constant(identity_requant(kn, 5)), size=9 * kn, pad=Scratchpad.PAR, dst=0)
    b.emit("load.bytes", dram=b.constant(dense.tobytes()), size=dense.size, pad=Scratchpad.COEF, dst=0)
    tile = {"kt": kn, "kn": kn}
    for n, y0 in enumerate(range(0, h, 4)):
        even, shape = n % 2, {"oh": 4, "ow": w}
        b.emit("load.act", x, y=y0, h=4, act=8192 * even)
        b.emit(
            "conv.dense", act=8192 * even, ih=4, iw=w, ic=c, r=1, s=1, sy=1, sx=1, psum=8192 * even, **shape, **tile,
            cpg=c, kpg=kn, groups=2,
        )  # fmt: skip
        b.emit("post.requant", psum=8192 * even, **shape, **tile, hi=255, out=OUT + 8192 * even)
        b.emit("store.act", mid, y=y0, h=4, act=OUT + 8192 * even)
    b.layer("first", mid, macs=h * w * c * kn)
    b.emit("load.coef", dram=b.constant(blob), size=len(blob), coef=16384)
    b.emit("load.bytes", dram=b.constant(basis.tobytes()), size=basis.size, pad=Scratchpad.PAR, dst=1024)
    for n, y0 in enumerate(range(0, h, 4)):
        even, top, end = n % 2, max(0, y0 - 1), min(h, y0 + 5)
        shape = {"oh": 4, "ow": w, "size": len(blob), "count_bits": code.count_bits, "v": v}
        b.emit("load.act", mid, y=top, h=end - top, act=16384 + 8192 * even)
        b.emit(
            "conv.esc", act=16384 + 8192 * even, ih=end - top, iw=w, ic=kn, r=3, s=3, sy=1, sx=1, pt=top - y0 + 1, pl=1,
            psum=16384 + 8192 * even, **shape, **tile, coef=16384, basis=1024, groups=2,
        )  # fmt: skip
        at = OUT + 16384 + 8192 * even
        b.emit("post.requant", psum=16384 + 8192 * even, oh=4, ow=w, **tile, hi=255, out=at)
        b.emit("store.act", y, y=y0, h=4, act=at)
    b.layer("second", y, "escalate", macs=h * w * 9 * kn * kn)
    return b.finish([x], [y]), nchw(sparse(rng, (h, w, c), 0.5))


def measure(program, x):
    return Machine(program).run([x], stats=True).statistics


@pytest.fixture(scope="module")
def measured():
    return [(program, measure(program, x)) for program, x in map(tiled_program, range(4))]


def test_queues_are_in_order_and_wait(measured):
    for program, statistics in measured:
        t = statistics.timeline
        signals = {q: [] for q in Queue}
        free = dict.fromkeys(Queue, 0)
        for i, instruction in enumerate(program.instructions):
            q = instruction.spec.queue
            assert t.start[i] >= free[q]
            for other, name in WAITS:
                if instruction[name]:
                    assert t.start[i] >= signals[other][instruction[name] - 1]
            free[q] = t.end[i]
            signals[q].append(t.end[i])


def test_total_is_bounded(measured):
    for program, statistics in measured:
        t, totals = statistics.timeline, statistics.data["totals"]
        for q in Queue:
            assert totals["cycles"] >= totals["busy_cycles"][q.name.lower()] > 0
        assert totals["cycles"] <= int((t.end - t.start).sum())
        moved, peak = totals["dram_bytes"]["total"], program.target.dram_bytes_per_cycle
        assert totals["cycles"] >= moved / peak
        assert totals["dram"]["data_cycles"] == pytest.approx(moved / peak)


def test_layers_and_causes_sum_to_the_total(measured):
    for _, statistics in measured:
        layers, totals = statistics.data["layers"], statistics.data["totals"]
        assert sum(d["cycles"] for d in layers) == totals["cycles"]
        assert sum(d["share"] for d in layers) == pytest.approx(1)
        for d in [*layers, totals]:
            assert d["busy_cycles"]["compute"] + sum(d["stall_cycles"].values()) == d["cycles"]
            slices = ESC1.array.blocks * ESC1.array.slices
            assert sum(d["slice_cycles"].values()) in (0, slices * d["compute_cycles"]) or d is totals
            assert 0 <= d["multiplier_utilisation"] <= 1
            assert 0 <= d["accumulator_utilisation"] <= 1
        for key in ("dense_macs", "multiplications", "matches", "instructions"):
            assert sum(d[key] for d in layers) == totals[key]
        for key in ("busy_cycles", "stall_cycles", "dram_bytes", "energy_uj"):
            for name, value in totals[key].items():
                assert sum(d[key][name] for d in layers) == pytest.approx(value)


def scaled(**changes):
    """ESC-1 with some parameters changed: `array.macs=10` is given as array_macs=10."""
    target = ESC1
    for name, value in changes.items():
        part, key = name.split("_", 1)
        target = replace(target, **{part: replace(getattr(target, part), **{key: value})})
    return target


@pytest.mark.parametrize(
    "changes",
    [
        {"array_ca_lanes": 32},
        {"array_macs": 10},
        {"array_slices": 12},
        {"array_blocks": 64},
        {"array_fifo_chunks": 32},
        {"array_coefficient_registers": 6144},
        {"array_expand_rate": 8},
        {"array_expand_bytes": 128},
        {"array_ic_fifo_depth": 8},
        {"array_broadcast_chunks": 8},
        {"post_lanes": 64},
        {"dma_bytes_per_cycle": 32},
        {"dram_clock_mhz": 3200.0},
        {"dram_tRCD": 10, "dram_tRPpb": 10},
    ],
    ids=str,
)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_better_machine_is_not_slower(changes, seed):
    base = measure(*tiled_program(seed)).timeline.total
    better = measure(*tiled_program(seed, scaled(**changes))).timeline.total
    # The DRAM channel may meet reads and writes in another order: allow for one more turnaround and row.
    assert better <= 1.01 * base + 60


def test_cycles_follow_the_data():
    """The same program is faster on sparser input, and never because of fewer multiplications."""
    g = Geometry(8, 8, 64, 1, 1, 1, 1, (0, 0, 0, 0), 32)
    rng = np.random.default_rng(0)
    constants = {"t": rng.integers(-1, 2, (32, 6, 64)).astype(np.int8), "basis": np.ones((6, 1, 1), np.int8)}
    machine = Machine(conv_program(g, "esc", constants, v=6))
    x = np.zeros((1, 64, 8, 8))
    full = machine.run([x + 3.0], stats=True).statistics.data["totals"]
    empty = machine.run([x], stats=True).statistics.data["totals"]
    assert empty["cycles"] < full["cycles"]
    assert empty["input_density"] == 0 and full["input_density"] == 1
    assert empty["multiplications"] == full["multiplications"]
    assert empty["matches"] == 0 < full["matches"]


def test_dense_cycles_follow_the_formula():
    g = Geometry(5, 6, 8, 3, 3, 1, 1, (1, 1, 1, 1), 20)
    rng = np.random.default_rng(0)
    weights = {"w": rng.integers(-9, 9, (20, 3, 3, 8)).astype(np.int8)}
    program = conv_program(g, "dense", weights, cpg=8, kpg=20, groups=2)
    recorder = recorded(program, sparse(rng, (5, 6, 8), 0.5))
    index = [i.spec.mnemonic for i in program.instructions].index("conv.dense")
    # Two sets of 30 products; the 12 of the third need three slices, so that it takes two positions at a time.
    assert recorder.cycles[index] == 8 + ceil_div(20, 16) * (18 + 18 + 18 // 2)
    taps = sum(len(range(max(0, y - 1), min(5, y + 2))) for y in range(5))
    taps *= sum(len(range(max(0, x - 1), min(6, x + 2))) for x in range(6))
    assert recorder.counts[index, Count.MULTIPLICATIONS] == taps * 8 * 20


def recorded(program, x):
    from emulator.execution import Execution
    from emulator.memories import Constants

    recorder = Recorder(program)
    execution = Execution(program, 1, Constants(), recorder)
    execution.write_input(program.inputs[0].tensor, np.ascontiguousarray(x).view(np.uint8).reshape(1, -1))
    for index in range(len(program.instructions)):
        execution.step(index)
    return recorder


def copy_program(requests, target=ESC1):
    """Loads of single constants at chosen addresses and sizes."""
    b = Builder(target)
    x = b.tensor("x", 1, 1, 1)
    b.constant(bytes(max(a + n for a, n in requests)))
    for address, size in requests:
        b.emit("load.bytes", dram=address, size=size, pad=Scratchpad.COEF, dst=0)
    return b.finish([x], [x])


def time_of(requests, target=ESC1):
    program = copy_program(requests, target)
    return replay(recorded(program, np.zeros((1, 1, 1), np.uint8)))


def test_long_transfers_reach_the_peak_bandwidth():
    target = scaled(dma_bytes_per_cycle=64, dram_tREFI=1 << 30)
    timeline = time_of([(0, 32768)], target)
    assert timeline.dram.row_misses == 32768 // target.dram.page_bytes + 1  # and that of the instructions
    cycles = 32768 / 16
    assert cycles < timeline.total < 1.06 * cycles


def test_scratchpad_side_limits_transfers():
    assert time_of([(0, 32768)], scaled(dma_bytes_per_cycle=4)).total >= 32768 / 4


def test_magnitudes_are_decoded_at_their_rate():
    packed = {"size": 600, "count": 960}
    assert load_weights.cycles(packed, ESC1, 960) == 960 // 32
    assert load_weights.cycles(packed, ESC1, 0) == 960 // ESC1.dma.bytes_per_cycle == 960 // ESC1.dma.decode_weights
    assert load_weights.cycles(packed, scaled(dma_decode_magnitudes=5), 960) == 192
    assert load_weights.cycles(packed, scaled(dma_decode_magnitudes=5), 100) == 20


def test_open_rows_are_faster_than_conflicts():
    page = ESC1.dram.page_bytes
    same = time_of([(64 * i, 64) for i in range(16)])
    other = time_of([(page * ESC1.dram.banks * (i % 2), 64) for i in range(16)])
    assert other.total > same.total
    # Instructions have a row of their own. Bursts that wait together are served row by row.
    words = 17
    assert (same.dram.row_misses, same.dram.row_hits) == (2, 15 + words - 1)
    assert 3 <= other.dram.row_misses < 16
    lone = [time_of([(page * ESC1.dram.banks * i, 64) for i in range(n)]) for n in (8, 16)]
    assert lone[1].dram.row_misses - lone[0].dram.row_misses == 8
    d = ESC1.dram
    assert lone[1].total - lone[0].total >= 8 * max(d.tRAS + d.tRPpb, d.tRCD) * 800 / d.clock_mhz - 16


def test_a_read_after_a_write_waits_for_the_turnaround():
    """Guards tWTR: of a chain of copies through DRAM, every load waits longer by just what the turnaround grows."""

    def cycles(turnaround):
        b = Builder(scaled(dram_tWTR=turnaround, dram_tREFI=1 << 30))
        tensors = [b.tensor(f"t{i}", 4, 4, 16) for i in range(4)]
        for source, target in pairwise(tensors):
            b.emit("load.act", source)
            tile = {"ih": 4, "iw": 4, "ic": 16, "oh": 4, "ow": 4, "kn": 16, "sy": 1, "sx": 1}
            b.emit("post.map", **tile)
            b.emit("store.act", target)
        return measure(b.finish(tensors[:1], tensors[-1:]), np.zeros((1, 16, 4, 4))).data["totals"]["cycles"]

    # Turnarounds longer than the start of a DMA instruction show in full: two of the three loads follow a store.
    more = 400
    core_cycles = more * ESC1.clock.frequency_mhz / ESC1.dram.clock_mhz
    assert cycles(1000 + more) - cycles(1000) == 2 * core_cycles


@pytest.mark.parametrize(("kn", "v", "groups"), [(32, 6, 1), (16, 6, 2), (33, 7, 1)])
def test_coefficients_are_read_once_a_row_group(kn, v, groups):
    """Guards the energy of COEF and of registers: coded bytes are read once, registers at every position."""
    g = Geometry(6, 5, 20, 1, 1, 1, 1, (0, 0, 0, 0), kn)
    rng = np.random.default_rng(0)
    t = np.where(rng.random((kn, v, 20)) < 0.5, 1, 0).astype(np.int8)
    t[:, -1] = 0
    program = conv_program(g, "esc", {"t": t, "basis": np.ones((v, 1, 1), np.int8)}, v=v, groups=groups)
    pads = measure(program, nchw(sparse(rng, (6, 5, 20), 0.5))).data["totals"]["scratchpad_bytes"]
    size = sum(i["size"] for i in program.instructions if i.spec.mnemonic == "load.coef")
    assert pads["coef"] == {"read": groups * size, "write": size}
    word = 2 * 3  # a bitmap of 20 channels, and their signs; those of a basis without coefficients are not touched
    assert pads["registers"] == {"read": 6 * 5 * kn * (v - 1) * word, "write": groups * kn * (v - 1) * word}


def test_partial_sums_are_touched_for_taps_that_some_basis_has():
    """Guards the products, and the energy of PSUM: sums are written once where they are met first."""
    g = Geometry(4, 4, 8, 3, 3, 1, 1, (1, 1, 1, 1), 3)
    basis = np.zeros((2, 3, 3), np.int8)
    basis[0, 1, 1], basis[1, 1, 1], basis[1, 1, 2] = 5, -3, 2
    t = np.ones((3, 2, 8), np.int8)
    totals = measure(conv_program(g, "esc", {"t": t, "basis": basis}, v=2), np.ones((1, 8, 4, 4))).data["totals"]
    assert totals["multiplications"] == 3 * (16 + 16 + 12)
    sums = 3 * (16 + 12)
    assert totals["scratchpad_bytes"]["psum"]["write"] == 4 * sums
    assert totals["scratchpad_bytes"]["psum"]["read"] == 4 * (sums - 48) + 4 * 48  # and by the post unit


def test_wide_layers_use_fewer_slices():
    """With registers for two slices, six bases take three rounds; coefficients that fit no slice are refused."""
    g = Geometry(12, 12, 64, 1, 1, 1, 1, (0, 0, 0, 0), 32)
    constants = {"t": np.ones((32, 6, 64), np.int8), "basis": np.ones((6, 1, 1), np.int8)}
    x = np.ones((1, 64, 12, 12))
    two = conv_program(g, "esc", constants, v=6, target=scaled(array_coefficient_registers=128))
    all_six = conv_program(g, "esc", constants, v=6, target=scaled(array_coefficient_registers=384))
    cycles = [measure(program, x).data["totals"]["compute_cycles"] for program in (two, all_six)]
    assert cycles[0] - 8 > 2 * (cycles[1] - 8)
    with pytest.raises(UserError, match="ic=64 takes 64 coefficient registers; a block has 63"):
        Machine(conv_program(g, "esc", constants, v=6, target=scaled(array_coefficient_registers=63)))


def test_larger_coefficients_take_room_in_registers_and_no_time():
    """Three bits instead of two: full registers hold fewer slices, and half as many bytes again move."""
    g = Geometry(12, 12, 64, 1, 1, 1, 1, (0, 0, 0, 0), 32)
    ones = {"t": np.ones((32, 6, 64), np.int8), "basis": np.ones((6, 1, 1), np.int8)}
    fours = {**ones, "t": 4 * ones["t"]}
    x = np.ones((1, 64, 12, 12))

    def totals(constants, registers=3072):
        target = scaled(array_coefficient_registers=registers, array_expand_bytes=4096)
        return measure(conv_program(g, "esc", constants, v=6, target=target), x).data["totals"]

    one, four = totals(ones), totals(fours)
    assert four["compute_cycles"] == one["compute_cycles"] and four["matches"] == one["matches"]
    for kind in ("read", "write"):
        assert 2 * four["scratchpad_bytes"]["registers"][kind] == 3 * one["scratchpad_bytes"]["registers"][kind] > 0
    rounds = totals(fours, registers=384)  # of 2 bits: six times 64; of 3 bits, only four times
    assert rounds["compute_cycles"] - 8 > 1.5 * (totals(ones, registers=384)["compute_cycles"] - 8)
    assert rounds["compute_cycles"] > totals(fours, registers=576)["compute_cycles"] == four["compute_cycles"]
    with pytest.raises(UserError, match="ic=64 takes 64 coefficient registers; a block has 63 at level=2"):
        totals(fours, registers=95)


def test_refresh_costs_its_share():
    requests = [(0, 32768)] * 16
    without = time_of(requests, scaled(dram_tREFI=1 << 30))
    timeline = time_of(requests)
    d = ESC1.dram
    assert without.dram.refreshes == 0
    assert abs(timeline.dram.refreshes - timeline.total * (d.clock_mhz / 800) // d.tREFI) <= 1
    assert timeline.total - without.total >= 0.8 * timeline.dram.refreshes * d.tRFCab * 800 / d.clock_mhz


def test_engines_share_the_channel():
    """Loads and stores at the same time move no more than the channel can."""
    program, x = tiled_program(0, scaled(dma_bytes_per_cycle=256))
    totals = measure(program, x).data["totals"]
    assert totals["dram"]["bus_utilisation"] <= 1


def test_gaps_are_charged_to_the_unit_at_work():
    """compute 0..10; the next compute at 40 waited for a post 30..40 that waited for a load 5..30; then a store."""
    queue = np.array([Queue.COMPUTE, Queue.LOAD, Queue.POST, Queue.COMPUTE, Queue.STORE])
    start, end = np.array([0, 5, 30, 40, 60]), np.array([10, 30, 40, 60, 75])
    timeline = Timeline(queue, start, end, np.array([-1, -1, 1, 2, 3]), NO_DRAM, start)
    spans = {name: list(zip(*map(np.ndarray.tolist, t), strict=True)) for name, t in stall_spans(timeline).items()}
    assert spans == {"load": [(10, 30)], "post": [(30, 40)], "store": [], "fetch": [], "drain": [(60, 75)]}


def test_windows_never_go_back():
    program, _ = tiled_program(0)
    n = len(program.instructions)
    end = np.arange(n, 0, -1)
    timeline = Timeline(np.zeros(n, np.int64), end - 1, end, np.full(n, -1), NO_DRAM, end - 1)
    assert layer_ends(program.layers, timeline).tolist() == [n, n]
