"""Dilated convolutions: zeros between the taps, rows and columns by phases, taps that only ever see zeros."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx_graphs import check, model, node, operations, random, reference

import escc
from passes.onnx_patterns import dilated
from passes.onnx_patterns.dilated import PhaseAxis

BY_PHASES = ["Pad", "Take", "Conv", "Relu", "Take"]


def network(channels: int, size: int, dilations: Sequence[int], group: int = 1) -> onnx.ModelProto:
    weights = {
        "first": random(channels, 3, 1, 1, seed=4),
        "w": random(channels, channels // group, 3, 3, seed=1, scale=0.1),
        "gain": 1 + np.abs(random(channels, seed=5)),
        "shift": random(channels, seed=6),
        "last": random(4, channels, 1, 1, seed=7),
    }
    pads = [*dilations, *dilations]
    nodes = [
        node("Conv", ["x", "first"], ["a"]),
        node("Relu", ["a"], ["b"]),
        node("Conv", ["b", "w"], ["c"], dilations=dilations, pads=pads, group=group),
        node("BatchNormalization", ["c", "gain", "shift", "shift", "gain"], ["n"]),
        node("Relu", ["n"], ["r"]),
        node("Conv", ["r", "last"], ["y"]),
    ]
    return model(nodes, [1, 3, size, size], weights)


@given(
    st.integers(1, 12), st.integers(1, 4), st.integers(1, 14), st.integers(0, 9), st.integers(0, 9), st.integers(0, 99)
)
def test_an_axis_by_phases(size: int, taps: int, dilation: int, before: int, after: int, seed: int) -> None:
    out = size + before + after - (taps - 1) * dilation
    if out < 1 or taps == 1:
        return
    x, w = (np.random.default_rng(seed).integers(-9, 9, n) for n in (size, taps))
    padded = np.pad(x, (before, after))
    wanted = [int(w @ padded[i : i + (taps - 1) * dilation + 1 : dilation]) for i in range(out)]
    axis = PhaseAxis.of(size, taps, dilation, (before, after), out)
    rows = np.pad(np.append(x, 0)[list(axis.taken)], axis.pads)
    made = np.convolve(rows, w[::-1], "valid")
    assert len(made) == axis.made
    assert made[list(axis.kept)].tolist() == wanted


@pytest.mark.parametrize(("dilations", "group"), [([2, 2], 1), ([3, 1], 1), ([1, 4], 2), ([5, 6], 1)])
def test_phases_compute_the_bits_of_spread_weights(
    dilations: list[int], group: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    proto, x = network(16, 13, dilations, group), random(3, 3, 13, 13, seed=2)
    found: list[Any] = []
    for least, wanted in ((0, BY_PHASES), (1 << 60, ["Conv", "Relu"])):
        monkeypatch.setattr(dilated, "LEAST_GAIN", least)
        assert operations(check(proto)) == ["Conv", "Relu", *wanted, "Conv"]
        found.append(escc.compile(proto, x, "dense").run(x))
    np.testing.assert_array_equal(found[0], found[1])


def test_what_takes_fewer_cycles_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    for channels, size, dilation, group, phases in ((64, 20, 2, 1, True), (32, 20, 4, 32, False)):
        proto, x = network(channels, size, [dilation] * 2, group), random(1, 3, size, size, seed=2)
        assert ("Take" in operations(check(proto))) is phases
        cycles: list[int] = []
        for least in (64, (1 << 60) if phases else 0):
            monkeypatch.setattr(dilated, "LEAST_GAIN", least)
            cycles.append(escc.compile(proto, x, "dense").stats(x)["totals"]["cycles"])
        assert cycles[0] < cycles[1]


def test_taps_outside_of_the_map_are_dropped() -> None:
    module = check(network(8, 7, [12, 12]))
    assert operations(module) == ["Conv", "Relu", "Conv", "Relu", "Conv"]
    assert str(module).count("kernel_shape = array<i64: 1, 1>") == 3
    assert "kernel_shape = array<i64: 1, 3>" in str(check(network(8, 7, [12, 1])))


def test_windows_too_large_for_zeros_are_computed_by_phases() -> None:
    weights = {"w": random(64, 64, 3, 3, scale=0.05)}
    conv = node("Conv", ["x", "w"], ["y"], dilations=[150, 150], pads=[150] * 4)
    names = operations(check(model([conv], [1, 64, 160, 160], weights)))
    assert names == ["Pad", "Take", "Conv", "Take"]


POOLS: dict[str, dict[str, Any]] = {
    "plain": {"dilations": [2, 3]},
    "with pads": {"dilations": [2, 2], "pads": [1, 1, 2, 0]},
    "with strides": {"dilations": [3, 1], "pads": [2, 0, 1, 1], "strides": [2, 3]},
    "rounded up": {"dilations": [2, 2], "pads": [1, 1, 1, 1], "strides": [3, 2], "ceil_mode": 1},
}


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("kind", ["MaxPool", "AveragePool", "with zeros"])
def test_dilated_pools(kind: str, name: str) -> None:
    attributes = {"kernel_shape": [3, 2], **POOLS[name]}
    if kind == "with zeros":
        attributes |= {"count_include_pad": 1}
    pool = node("MaxPool" if kind == "MaxPool" else "AveragePool", ["x"], ["y"], **attributes)
    proto = model([pool], [1, 3, 11, 10], opset=19)
    assert set(operations(check(proto))) <= {"Pad", "Take", "MaxPool", "AveragePool"}


def test_a_dilated_pool_at_every_level() -> None:
    pool = node("AveragePool", ["x"], ["y"], kernel_shape=[3, 3], dilations=[2, 2], pads=[2] * 4)
    proto, x = model([pool], [1, 3, 9, 9], opset=19), random(2, 3, 9, 9, seed=1)
    found = escc.compile(proto, x, "dense").run(x[:1])
    assert np.abs(found - reference(proto, x[:1])[0]).max() < 0.05
