"""Values beyond the range of a QuantizeLinear that reads an input of the model, wherever that is moved before it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx_graphs import model, node, random, reference

import escc

CONSTANTS = {
    "s": np.float32(0.02),
    "z": np.int8(64),  # from -3.84 to 1.26, of which 8 bits around 0 hold more
    "from": np.array([0]),
    "to": np.array([3]),
    "axis": np.array([2]),
    "w": random(4, 5, seed=1),
}
MOVED: dict[str, tuple[list[int], list[onnx.NodeProto]]] = {
    "as it is": ([4, 4, 4], [node("Identity", ["x"], ["m"])]),
    "a vector": ([4], [node("Identity", ["x"], ["m"])]),
    "a signal": ([4, 7], [node("Slice", ["x", "from", "to", "axis"], ["m"])]),
    "a slice": ([4, 4, 4], [node("Slice", ["x", "from", "to", "axis"], ["m"])]),
    "a maximum": ([4, 4, 4], [node("MaxPool", ["x"], ["m"], kernel_shape=[2, 2])]),
    "twice": ([4, 4, 4], [node("Concat", ["x", "x"], ["m"], axis=1)]),
    "beside another": ([4, 4, 4], [node("Neg", ["x"], ["n"]), node("Concat", ["x", "n"], ["m"], axis=1)]),
    "blocks": ([4, 4, 4], [node("DepthToSpace", ["x"], ["m"], blocksize=2)]),
}


@pytest.mark.parametrize("name", MOVED)
def test_they_are_clipped(name: str) -> None:
    extents, nodes = MOVED[name]
    last = [node("MatMul", ["d", "w"], ["y"])] if name == "a vector" else [node("Neg", ["d"], ["y"])]
    both = [node("QuantizeLinear", ["m", "s", "z"], ["q"]), node("DequantizeLinear", ["q", "s", "z"], ["d"])]
    used = {i for one in [*nodes, *both, *last] for i in one.input}
    proto = model([*nodes, *both, *last], [1, *extents], {k: v for k, v in CONSTANTS.items() if k in used})
    x = np.random.default_rng(0).uniform(-6, 6, (8, *extents)).astype(np.float32)
    want = np.concatenate([reference(proto, one[None])[0] for one in x])
    found = escc.compile(proto, x, "dense").run(x)
    assert found.shape == want.shape and np.abs(found - want).max() <= 0.02 * np.abs(want).max()
