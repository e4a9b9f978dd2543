"""The DRAM controller against a literal one that looks at every clock, and what no traffic may break."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from dram_reference import DramRequest, Reference
from hypothesis import given, settings
from hypothesis import strategies as st
from test_emulator_timing import measure, scaled, tiled_program, time_of

from emulator import dram as controller
from emulator.dram import NEVER, Command, new_dram
from emulator.replayed import Requester
from isa.jit import borrowing
from isa.target import load_target

ESC1 = load_target()
D = ESC1.dram


# What the replay calls in its compiled loop has no way in from Python of its own.


@borrowing
def decide(dram, now):
    controller.decide(dram, now)


@borrowing
def enqueue(dram, address, write, number, now):
    controller.enqueue(dram, address, write, number, now)


@borrowing
def perform(dram):
    return controller.perform(dram)


def serve(requests, target=ESC1):
    """The emulator's controller on requests that are sorted by arrival: ends of their data, order of service, state.

    A request that finds its queue full waits, and those behind it too.
    """
    dram = new_dram(target)
    state, places = dram.state[0], (target.dram.queue, target.dram.write_queue)
    ends, order, now, free, following = [0] * len(requests), [], 0, 0, 0
    while True:
        decide(dram, now)
        arrival = NEVER
        write = following < len(requests) and requests[following].write
        if following < len(requests) and dram.waiting[int(write)] < places[int(write)]:
            arrival = max(requests[following].arrival, free)
        if arrival == state["time"] == NEVER:
            return ends, order, state
        if arrival <= state["time"]:
            now = max(now, arrival)
            enqueue(dram, requests[following].address, int(write), following, now)
            following += 1
            continue
        now = int(state["time"])
        state["openings"] = 0
        number, end = perform(dram)
        if number >= 0:
            order.append(number)
            ends[number] = end
            free = now + 1


def sequential(n, write=False, start=0):
    return [DramRequest(start + 8 * i, 64 * i, write) for i in range(n)]


def mixed(seed, pieces, size, arena=1 << 22, shares=(0.5, 0.5), pace=1.15):
    """Pieces of `size` bytes at random places, reads and writes, at about the pace that the bus allows."""
    rng = np.random.default_rng(seed)
    found, time = [], 0.0
    for _ in range(pieces):
        base, write = int(rng.integers(arena // size)) * size, bool(rng.random() < shares[1])
        for offset in range(0, size, 64):
            found.append(DramRequest(int(time), base + offset, write))
            time += 8 * pace
    return found


def both(requests, target=ESC1):
    reference = Reference(target.dram, requests)
    total = reference.run()
    ends, order, state = serve(requests, target)
    return total, reference, max(ends), ends, order, state


def near(a, b, share):
    return abs(a - b) <= share * b


@pytest.mark.parametrize("write", [False, True])
def test_sequential_traffic_within_a_percent(write):
    total, _, mine, *_ = both(sequential(1500, write))
    assert near(mine, total, 0.01)


@pytest.mark.parametrize("seed", range(3))
def test_mixed_pieces_of_2_kib_within_three_percent(seed):
    total, _, mine, *_ = both(mixed(seed, 40, 2048, pace=1.3))
    assert near(mine, total, 0.03)


@pytest.mark.parametrize("seed", range(2))
def test_small_pieces_within_three_percent(seed):
    total, _, mine, *_ = both(mixed(seed, 60, 512, pace=2.0))
    assert near(mine, total, 0.03)
    total, _, mine, *_ = both(mixed(seed, 300, 64, pace=4.0))
    assert near(mine, total, 0.03)


timings = st.fixed_dictionaries(
    {
        "tRCD": st.integers(1, 40), "tRPpb": st.integers(1, 40), "tRPab": st.integers(1, 50),
        "tRAS": st.integers(1, 90),
        "tRRD": st.integers(0, 20), "tFAW": st.integers(0, 90), "tCCD": st.integers(1, 12), "tWR": st.integers(1, 40),
        "tRTP": st.integers(1, 20), "tWTR": st.integers(0, 30), "RL": st.integers(1, 40), "WL": st.integers(1, 40),
        "tDQSCK": st.integers(0, 9), "tREFI": st.integers(500, 900), "tRFCab": st.integers(0, 400),
        "write_high": st.integers(1, 20), "write_low": st.integers(0, 10), "age": st.integers(50, 3000),
        "bytes_per_clock": st.sampled_from([4, 7, 8, 64]), "page_bytes": st.sampled_from([256, 1024]),
        "banks": st.integers(1, 8),
    }
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(
    timings,
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 150), st.booleans()), min_size=1, max_size=32),
    st.integers(0, 2500),
)
def test_every_burst_ends_in_the_same_clock(parameters, traffic, pause):
    """The two controllers follow the same rules, so they agree to the clock, whatever the parameters."""
    target = replace(ESC1, dram=replace(D, **parameters))
    requests, time = [], 0
    for n, (gap, burst, write) in enumerate(traffic):
        time += gap + (pause if n == len(traffic) // 2 else 0)
        requests.append(DramRequest(time, 64 * burst, write))
    _, reference, _, ends, order, state = both(requests, target)
    assert order == reference.served
    assert ends == reference.ends
    assert state["refreshes"] >= reference.refreshes - 1


@pytest.mark.parametrize("refresh", [D.tREFI, 600])
def test_counted_bursts_of_open_rows_are_those_that_wait(refresh):
    """Rows open and close by commands of both directions and by refreshes; the counts follow."""
    dram, rng, now, seen = new_dram(replace(ESC1, dram=replace(D, tREFI=refresh))), np.random.default_rng(0), 0, set()
    for step in range(3000):
        direction = int(rng.random() < 0.4)
        if dram.waiting[direction] < (D.queue, D.write_queue)[direction] and rng.random() < 0.5:
            enqueue(dram, int(rng.integers(400)) * 512, direction, step, now)
        decide(dram, now)
        if dram.state[0]["time"] != NEVER:
            now = int(dram.state[0]["time"])
            dram.state[0]["openings"] = 0
            seen.add(int(dram.state[0]["next"]))
            perform(dram)
        for d, name in enumerate(("reads", "writes")):
            queue = dram.queues[d, : dram.waiting[d]]
            hits = queue["bank"][queue["row"] == dram.banks["row"][queue["bank"]]]
            assert np.array_equal(dram.banks[name], np.bincount(hits, minlength=D.banks))
            assert dram.hits[d] == hits.size
    assert seen >= {Command.COLUMN, Command.ACTIVATE, Command.PRECHARGE, Command.REFRESH}


@pytest.fixture(scope="module")
def runs():
    return [(program, measure(program, x)) for program, x in map(tiled_program, range(3))]


def test_recorded_traffic_within_ten_percent(runs):
    for _, statistics in runs:
        bursts = np.sort(statistics.timeline.bursts, order="arrival", kind="stable")
        requests = [
            DramRequest(int(b["arrival"]), int(b["address"]), bool(b["source"] == Requester.STORE)) for b in bursts
        ]
        total, _, mine, *_ = both(requests)
        assert near(mine, total, 0.1)
        assert mine == bursts["end"].max()


def test_bursts_of_one_address_keep_their_order(runs):
    """Stores signal at the end of their data, so no read overtakes a write of its address, nor a write another."""
    for program, statistics in runs:
        bursts = np.sort(statistics.timeline.bursts, order="arrival", kind="stable")
        writes = bursts["source"] == Requester.STORE
        assert writes.any() and (bursts["end"] > bursts["arrival"]).all()
        text = bursts["source"] == Requester.FETCH
        assert text.sum() * D.burst_bytes == 64 * len(program.instructions)
        seen = {}
        for burst, write in zip(bursts[~text], writes[~text], strict=True):
            before, wrote = seen.get(burst["address"] // D.burst_bytes, (0, False))
            if write or wrote:
                assert burst["end"] > before
                assert write == wrote or burst["arrival"] >= before
            seen[burst["address"] // D.burst_bytes] = (burst["end"], write)


@pytest.mark.parametrize(
    "changes",
    [
        {"dram_queue": 64}, {"dram_write_queue": 64}, {"dma_load_fifo": 8192}, {"dma_instructions_in_flight": 8},
        {"fetch_instructions": 512}, {"dram_clock_mhz": 3200.0}, {"dram_tDQSCK": 0},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("seed", [0, 1])
def test_more_of_it_is_not_slower(changes, seed):
    base = measure(*tiled_program(seed)).timeline.total
    # Requests that come earlier are put in another order, which may cost a turnaround from writes to reads.
    assert measure(*tiled_program(seed, scaled(**changes))).timeline.total <= 1.01 * base + 40


@pytest.mark.parametrize("instructions_in_flight", [1, 4])
def test_transfers_in_flight_hide_start_up_and_latency(instructions_in_flight):
    target = scaled(dma_instructions_in_flight=instructions_in_flight, dma_issue_cycles=40)
    total = time_of([(1024 * i, 1024) for i in range(16)], target).total
    data = 16 * 1024 / target.dram_bytes_per_cycle
    assert (total > data + 16 * 40) if instructions_in_flight == 1 else (total < 1.15 * data + 150)


def test_nothing_is_faster_than_the_bus(runs):
    for program, statistics in runs:
        timeline, target = statistics.timeline, program.target
        assert timeline.total >= timeline.bursts.size * target.dram.burst_bytes / target.dram_bytes_per_cycle
        assert (timeline.accepted <= timeline.start).all() and (timeline.start <= timeline.end).all()
