"""The trace: slices with their bytes and stalls, arrows that obey the semaphores, counters, and rows of the DRAM."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from test_emulator_timing import ESC1, measure, tiled_program

from emulator.trace import trace
from isa.formats import Queue, Space

MHZ = ESC1.clock.frequency_mhz


@pytest.fixture(scope="module")
def traced():
    program, x = tiled_program(0)
    statistics = measure(program, x)
    assert statistics is not None
    return program, statistics, json.loads(trace(program, statistics))["traceEvents"]


def cycle(microseconds):
    return round(microseconds * MHZ, 6)


def test_slices_hold_bytes_and_stalls(traced):
    _, statistics, events = traced
    totals = statistics.data["totals"]
    slices = [e for e in events if e["ph"] == "X" and e["pid"] == 1]
    moved = sum(e["args"].get("dram_bytes", 0) for e in slices)
    assert moved == totals["dram_bytes"]["total"] - totals["dram_bytes"]["instructions"]
    assert all(e["tid"] in (Queue.LOAD, Queue.STORE) for e in slices if "dram_bytes" in e["args"])
    found = Counter()
    for e in slices:
        if "stall_cycles" in e["args"]:
            assert e["tid"] == Queue.COMPUTE
            found.update(e["args"]["stall_cycles"])
    expected = {name: n for name, n in totals["stall_cycles"].items() if n and name != "drain"}
    assert found == expected


def test_arrows_lead_from_signals_to_waits(traced):
    program, _, events = traced
    slices = [e for e in events if e["ph"] == "X" and e["pid"] == 1]

    def under(arrow):
        (found,) = (
            e for e in slices if e["tid"] == arrow["tid"] and e["ts"] - 1e-9 <= arrow["ts"] < e["ts"] + e["dur"] - 1e-9
        )
        return program.instructions[found["args"]["instruction"]]

    starts, ends = ({e["id"]: e for e in events if e["ph"] == ph} for ph in "sf")
    assert starts.keys() == ends.keys() and len(starts) > 8
    for number, start in starts.items():
        queue, count = start["name"].split()
        assert under(start)["signal"] and under(start).spec.queue.name.lower() == queue
        assert under(ends[number])[f"wait_{queue}"] == int(count)
        assert start["ts"] < ends[number]["ts"]


def test_counters_add_up(traced):
    _, statistics, events = traced
    counters = [e for e in events if e["ph"] == "C"]
    rates = [e for e in counters if e["name"] == "DRAM GB/s"]
    used = [e for e in counters if e["name"] == "scratchpad bytes in use"]
    for track in (rates, used):
        assert [e["ts"] for e in track] == sorted({e["ts"] for e in track})
        assert not any(track[-1]["args"].values())
    times = np.array([e["ts"] for e in rates])
    levels = np.array([[e["args"][name] for name in ("load", "store", "fetch")] for e in rates])
    moved = (levels[:-1] * np.diff(times)[:, None]).sum(axis=0) * 1e3
    traffic = statistics.data["totals"]["dram_bytes"]
    stored = traffic["activations_out"]
    loaded = traffic["total"] - stored - traffic["instructions"]
    assert moved == pytest.approx([loaded, stored, traffic["instructions"]])
    assert levels.sum(axis=1).max() <= ESC1.dram.peak_gb_per_s + 1e-6
    for name in ("act", "coef", "par", "psum"):
        level = [e["args"][name] for e in used]
        assert min(level) >= 0 and 0 < max(level) <= getattr(ESC1.scratchpad, name)


def test_rows_are_open_one_at_a_time(traced):
    _, statistics, events = traced
    rows = [e for e in events if e["ph"] == "X" and e["pid"] == 2]
    assert len(rows) == statistics.data["totals"]["dram"]["row_misses"] > 0
    free = Counter()
    for e in sorted(rows, key=lambda e: e["ts"]):
        assert e["ts"] >= free[e["tid"]] - 1e-9 and e["dur"] >= 0
        free[e["tid"]] = e["ts"] + e["dur"]
        assert cycle(free[e["tid"]]) <= statistics.timeline.total
    tracks = [e for e in events if e["name"] == "thread_name" and e["pid"] == 2]
    assert {e["tid"] for e in tracks} == {e["tid"] for e in rows}


def test_bytes_are_in_use_from_the_write_to_the_last_read(traced):
    program, statistics, events = traced
    timeline, size = statistics.timeline, ESC1.scratchpad.act
    used = [(cycle(e["ts"]), e["args"]["act"]) for e in events if e["ph"] == "C" and e["name"].startswith("scratchpad")]
    expected = Counter()
    born, last = np.zeros(size, np.int64), np.zeros(size, np.int64)

    def settle(where, until):
        for byte in where:
            end = min(last[byte], until)
            if end > born[byte]:
                expected[int(born[byte])] += 1
                expected[int(end)] -= 1

    for index in range(len(program.instructions)):
        rows = program.touched.of(index)
        extents = [
            (program.touched.write[row], program.touched.view(row, np.arange(size)).ravel())
            for row in range(rows.start, rows.stop)
            if program.touched.space[row] == Space.ACT
        ]
        for write, where in extents:
            if not write:
                last[where] = np.maximum(last[where], timeline.end[index])
        for write, where in extents:
            if write:
                settle(where.tolist(), timeline.accepted[index])
                born[where] = last[where] = timeline.accepted[index]
    settle(range(size), timeline.total)
    level = 0
    for time in sorted(expected):
        level += expected[time]
        assert [value for at, value in used if at <= time][-1] == level
