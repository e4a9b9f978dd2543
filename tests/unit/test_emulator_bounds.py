"""Lower bounds: no layer beats its own, by hand for one program, and bytes that are counted once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_emulator_timing import ESC1, measure, scaled, tiled_program

from emulator.bounds import RESOURCES, active_cycles, compulsory_bytes, concluded
from emulator.report import summary, table
from emulator.statistics import average

MACHINES = [
    ESC1,
    scaled(array_macs=1),
    scaled(array_ca_lanes=1, array_macs=100, post_lanes=1000, dram_clock_mhz=25600.0),
    scaled(post_lanes=1),
    scaled(dram_clock_mhz=50.0),
]


@pytest.mark.parametrize("target", MACHINES)
@pytest.mark.parametrize("seed", range(2))
def test_no_layer_beats_its_bound(target, seed):
    program, x = tiled_program(seed, target)
    data = measure(program, x).data
    for d in [*data["layers"], data["totals"]]:
        bound = d["lower_bound"]
        assert 0 < bound["cycles"] == max(bound[name] for name in RESOURCES) == bound[bound["binding"]]
        assert bound["cycles"] <= bound["active_cycles"] + 1e-6
        assert bound["efficiency"] == bound["cycles"] / bound["active_cycles"] <= 1 + 1e-9
        moved = d["dram_bytes"]["total"] - d["dram_bytes"]["instructions"]
        assert bound["dram"] * target.dram_bytes_per_cycle <= moved + 1e-6
        assert bound["mac_rows"] <= d["compute_cycles"] and bound["accumulators"] <= d["compute_cycles"]
    totals = data["totals"]["lower_bound"]
    assert totals["active_cycles"] == data["totals"]["cycles"]
    for name in RESOURCES:
        assert totals[name] == pytest.approx(sum(d["lower_bound"][name] for d in data["layers"]))


def test_the_scarce_resource_binds():
    found = [measure(*tiled_program(0, target)).data["layers"][1]["lower_bound"]["binding"] for target in MACHINES[1:]]
    assert found == ["mac_rows", "accumulators", "post", "dram"]


def test_bounds_of_a_layer_by_hand():
    program, x = tiled_program(0)
    first = measure(program, x).data["layers"][0]["lower_bound"]
    h, w, c, kn = 12, 8, 24, 16
    assert first["mac_rows"] == h * w * c * kn / (ESC1.array.blocks * ESC1.array.slices * ESC1.array.macs)
    assert first["accumulators"] == 0
    assert first["post"] == 3 * -(-4 * w * kn // ESC1.post.lanes)


intervals = st.lists(st.tuples(st.integers(0, 300), st.integers(1, 90)), max_size=12)


@settings(max_examples=80, deadline=None)
@given(st.lists(intervals, max_size=4))
def test_every_burst_counts_once(requests):
    burst = ESC1.dram.burst_bytes
    touched = {(a + i) // burst for pieces in requests for a, n in pieces for i in range(n)}
    arrays = [np.array(pieces, np.int64).reshape(-1, 2) for pieces in requests]
    assert compulsory_bytes(arrays, ESC1) == burst * len(touched)


@settings(max_examples=80, deadline=None)
@given(intervals)
def test_cycles_in_which_something_runs(spans):
    start, length = np.array(spans, np.int64).reshape(-1, 2).T
    assert active_cycles(start, start + length) == len({a + i for a, n in spans for i in range(n)})


def test_a_layer_without_work_is_bound_by_nothing():
    assert concluded(dict.fromkeys(RESOURCES, 0.0), 7) | {"binding": "", "efficiency": 0.0} == concluded(
        dict.fromkeys(RESOURCES, 0.0), 7
    )


def test_the_mean_of_several_images_has_a_bound_of_its_own():
    data = measure(*tiled_program(0)).data
    other = measure(*tiled_program(1)).data
    bounds = [
        ({"mac_rows": 90.0, "accumulators": 0.0, "post": 5.0, "dram": 80.0}, data),
        ({"mac_rows": 10.0, "accumulators": 0.0, "post": 5.0, "dram": 60.0}, other),
    ]
    for resources, d in bounds:
        d["layers"][0]["lower_bound"] = concluded(resources, 100)
    mean = average([data, other])["layers"][0]["lower_bound"]
    assert (mean["cycles"], mean["binding"], mean["efficiency"]) == (70.0, "dram", 0.7)


def test_the_table_names_what_binds():
    data = measure(*tiled_program(0, MACHINES[-1])).data
    lines = table(data).lines()
    at = lines[0].index("  by") + 3
    assert lines[3][at] == lines[4][at] == "D"
    heads, units, *rows = table(data).lines(wide=True)
    at = [heads.index(f" {letter} ") + 2 for letter in "MAPD"]
    for row, layer in zip(rows[1:], data["layers"], strict=False):
        shown = [row[:end].split()[-1] for end in at]
        resources = ("mac_rows", "accumulators", "post", "dram")
        assert shown == [f"{layer['lower_bound'][resource]:,.0f}" for resource in resources]
    assert units.count("cycles") == 4
    assert any(line.startswith("bound      at least ") for line in summary(data))
