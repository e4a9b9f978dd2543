"""Extents that a few bytes of a model name, and that would take all memory: refused at once by every operator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_graphs import Array, model, node, random

from escc.onnx_import import import_model
from isa.errors import UserError

LARGE = 1 << 30
WEIGHTS = random(3, 2, 2, 2)
CASES: dict[str, tuple[str, list[int], Array, dict[str, Any]]] = {
    "repeated rows": ("Tile", [1, 3, 4, 5], np.array([1, 1, LARGE, 1]), {}),
    "repeated channels": ("Tile", [1, 3, 4, 5], np.array([1, LARGE, 1, 1]), {}),
    "expanded columns": ("Expand", [1, 3, 4, 1], np.array([1, 3, 4, LARGE]), {}),
    "edges": ("Pad", [1, 3, 4, 5], np.array([0, 0, LARGE, 0, 0, 0, 0, 0]), {"mode": "edge"}),
    "zeros around": ("Pad", [1, 3, 4, 5], np.array([0, 0, 0, 0, 0, 0, LARGE, 0]), {}),
    "strides back": ("ConvTranspose", [1, 3, 4, 5], WEIGHTS, {"strides": [1, LARGE]}),
    "strides back of one row": ("ConvTranspose", [1, 3, 1, 5], WEIGHTS, {"strides": [LARGE, 1]}),
    "a shape": ("ConvTranspose", [1, 3, 4, 5], WEIGHTS, {"output_shape": [LARGE, 5]}),
    "gaps back": ("ConvTranspose", [1, 3, 4, 5], WEIGHTS, {"dilations": [LARGE, 1]}),
    "pads": ("Conv", [1, 2, 4, 5], WEIGHTS, {"pads": [LARGE, 0, 0, 0]}),
    "gaps": ("Conv", [1, 2, 4, 5], WEIGHTS, {"dilations": [LARGE, 1], "pads": [LARGE, 0, LARGE, 0]}),
}


@pytest.mark.parametrize("name", CASES)
def test_extents_that_would_take_all_memory_are_refused(name: str) -> None:
    op_type, shape, constant, attributes = CASES[name]
    proto = model([node(op_type, ["x", "c"], ["y"], name="large", **attributes)], shape, {"c": constant}, opset=19)
    with pytest.raises(UserError, match=r"node 'large' .*requires (?:at most|C, H and W, channels at most)"):
        import_model(proto.SerializeToString())
