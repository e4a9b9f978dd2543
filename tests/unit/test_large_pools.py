"""Pools over more rows or columns than an instruction can name: in two steps, where the window divides into blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_graphs import check, model, node, operations, random

import escc
from isa.errors import UserError

CASES: dict[str, tuple[list[int], str, dict[str, Any], int]] = {
    "the mean of a high map": ([3, 1024, 5], "GlobalAveragePool", {}, 2),
    "the most of a wide map": ([3, 4, 300], "GlobalMaxPool", {}, 2),
    "the mean of many columns": ([2, 1, 65280], "GlobalAveragePool", {}, 3),
    "the mean of a volume": ([3, 64, 32, 6], "GlobalAveragePool", {}, 2),
    "blocks": ([2, 600, 6], "AveragePool", {"kernel_shape": [300, 2], "strides": [300, 2]}, 2),
    "as many as there may be": ([2, 255, 6], "GlobalAveragePool", {}, 1),
}


@pytest.mark.parametrize("name", CASES)
def test_the_network_means_the_same(name: str) -> None:
    extents, op_type, attributes, steps = CASES[name]
    module = check(model([node(op_type, ["x"], ["y"], name="pool", **attributes)], [1, *extents]))
    assert sum(operation.endswith("Pool") for operation in operations(module)) == steps


def test_every_level_and_the_emulator_agree() -> None:
    """Of a map too large for ACT; the mean of one normalised by its own mean and deviation, as of a volume."""
    nodes = [
        node("InstanceNormalization", ["x", "gain", "shift"], ["n"], name="norm"),
        node("GlobalMaxPool", ["n"], ["y"], name="most"),
    ]
    constants = {"gain": 1 + np.abs(random(3, seed=1)), "shift": random(3, seed=2)}
    proto, x = model(nodes, ["N", 3, 32, 24, 20], constants), random(3, 3, 32, 24, 20, seed=3)
    compiled = escc.compile(proto, calibration=x, scheme="dense")
    deviation = (x - x.mean((2, 3, 4), keepdims=True)) / np.sqrt(x.var((2, 3, 4), keepdims=True) + 1e-5)
    wanted = (deviation * constants["gain"].reshape(3, 1, 1, 1) + constants["shift"].reshape(3, 1, 1, 1)).max((2, 3, 4))
    assert np.abs(compiled.run(x).reshape(3, 3) - wanted).max() < 0.06 * np.abs(wanted).max()


def test_a_window_that_no_block_divides_is_refused() -> None:
    proto = model([node("GlobalAveragePool", ["x"], ["y"], name="pool")], [1, 2, 257, 3])
    with pytest.raises(UserError, match=r"node 'pool' .*kernel=\[257, 3\]; requires at most 255"):
        escc.compile(proto, calibration=random(2, 2, 257, 3))
