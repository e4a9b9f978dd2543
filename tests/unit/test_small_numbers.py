"""Weights and scales near the ends of float32: the compiler answers, exit code 70 does not happen."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_graphs import canonical, model, node, random
from xdsl.context import Context

from dialects.interpreters.run import run_module
from escc.onnx_import import import_model
from passes.math.calibration import Histogram
from passes.math.scales import as_float32
from passes.quantize import QuantizePass


def test_scales_are_normal_float32_numbers() -> None:
    tiny = float(np.finfo(np.float32).tiny)
    assert as_float32(np.asarray([0.0, 1e-320, 1e-45, tiny, 0.1])).tolist() == [
        0.0,
        tiny,
        tiny,
        tiny,
        float(np.float32(0.1)),
    ]


@pytest.mark.parametrize("magnitude", [1e-45, 1e-41, 1e-38, 1e-30, 1e30])
@pytest.mark.parametrize("method", ["mse", "minmax", "percentile"])
def test_weights_of_any_magnitude(magnitude: float, method: str) -> None:
    weights = (random(4, 3, 1, 1).astype(np.float64) * magnitude).astype(np.float32)
    proto = model([node("Conv", ["x", "w"], ["y"])], [1, 3, 4, 4], {"w": weights})
    module = canonical(import_model(proto.SerializeToString()))
    x = [np.clip(random(2, 3, 4, 4), -1.9, 1.9)]
    (want,) = run_module(module, x)
    QuantizePass(method=method, samples=8).apply(Context(), module)
    (got,) = run_module(module, x)
    assert np.abs(got - want).max() <= max(0.03 * np.abs(want).max(), 2e-38)


@pytest.mark.parametrize("magnitude", [1e-32, 1e-12, 1e-7, 1.0, 1e12])
@pytest.mark.parametrize("zeros", [0, 8])
def test_histograms_tell_values_of_any_magnitude_apart(magnitude: float, zeros: int) -> None:
    histogram = Histogram()
    for _ in range(zeros):
        histogram.add(np.zeros((1, 50), np.float32))
    x = (random(8, 1000).astype(np.float64) * magnitude).astype(np.float32)
    for start in range(0, 8, 2):
        histogram.add(x[start : start + 2])
    values, counts = histogram.points()
    assert counts.sum() == 8000 + 50 * zeros
    assert len(values) > 1000
    exact = histogram.scale(True, "mse", 100) / magnitude
    plain = Histogram()
    plain.add(random(8, 1000))
    assert exact == pytest.approx(plain.scale(True, "mse", 100), rel=0.02)
