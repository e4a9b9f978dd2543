"""Training of circulant blocks: integers as the interpreter has them, gradients of shared values, and back."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_graphs import model, node, random

torch = pytest.importorskip("torch")

from dialects.esc_circulant import CirculantConv2dOp  # noqa: E402
from dialects.interpreters.run import run_module  # noqa: E402
from escc import driver  # noqa: E402
from escc.irtext import make_context  # noqa: E402
from escc.onnx_export import export_model  # noqa: E402
from escc.onnx_import import import_model  # noqa: E402
from escc.training.forms.circulant import CirculantConv  # noqa: E402
from escc.training.network import Network  # noqa: E402
from escc.training.session import TRAINED_AFTER  # noqa: E402
from escc.training.straight_through import ConvFrame  # noqa: E402
from escc.training.writeback import write_back  # noqa: E402
from escc.universe import multiverse  # noqa: E402
from isa.circulant import expand, summed  # noqa: E402
from passes.pipelines import PipelineOptions, build  # noqa: E402


def network() -> tuple[Network, object]:
    """Two convolutions and a fully connected layer, the last two of circulant blocks."""
    nodes = [
        node("Conv", ["x", "a.w", "a.b"], ["a"], name="a", pads=[1] * 4),
        node("Relu", ["a"], ["a.r"]),
        node("Conv", ["a.r", "b.w"], ["b"], name="b", strides=[2, 1]),
        node("Relu", ["b"], ["b.r"]),
        node("Flatten", ["b.r"], ["f"]),
        node("Gemm", ["f", "c.w", "c.b"], ["y"], name="c", transB=1),
    ]
    constants = {
        "a.w": random(8, 3, 3, 3, seed=1, scale=0.3),
        "a.b": random(8, seed=2),
        "b.w": random(10, 8, 3, 3, seed=3, scale=0.2),
        "c.w": random(7, 10 * 3 * 6, seed=4, scale=0.2),
        "c.b": random(7, seed=5),
    }
    module = import_model(model(nodes, [1, 3, 8, 8], constants).SerializeToString())
    options = PipelineOptions(scheme="circulant", options=("k=3",))
    for step in build(multiverse().all_passes, options, "esc"):
        driver.run_passes(make_context(), module, [step])
        if step.name == TRAINED_AFTER[-1]:
            break
    return Network(module), module


def test_written_back_integers_compute_what_the_network_does() -> None:
    net, module = network()
    layers = [layer.module for layer in net.layers]
    assert [isinstance(layer, CirculantConv) for layer in layers] == [False, True, True]
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=generator)
    write_back(net)
    module.verify()  # type: ignore[attr-defined]
    assert sum(isinstance(op, CirculantConv2dOp) for op in module.walk()) == 2  # type: ignore[attr-defined]
    x = np.random.default_rng(1).standard_normal((16, 3, 8, 8)).astype(np.float32)
    with torch.no_grad():
        want = net(torch.from_numpy(x)).flatten(1).numpy()
    (got,) = run_module(module, [x])  # type: ignore[arg-type]
    difference = np.abs(want - got.reshape(want.shape))
    steps = difference / np.min(np.abs(np.diff(np.unique(got))))
    assert steps.max() < 1.01 and (steps > 0.5).mean() < 0.05
    write_back(net)
    again = import_model(export_model(module).SerializeToString())  # type: ignore[arg-type]
    assert again is not None


def test_the_gradient_of_a_value_is_the_sum_over_its_weights() -> None:
    values = np.random.default_rng(2).integers(-127, 128, (2, 3, 3, 3, 4)).astype(float)
    conv = CirculantConv(values, 10, ConvFrame(np.ones(7), np.zeros(7), 1.0))
    weight = conv.integer_weight()
    np.testing.assert_array_equal(weight.detach().numpy(), expand(values, 0, 7, 10).transpose(0, 3, 1, 2))
    pull = np.random.default_rng(3).standard_normal(weight.shape)
    (weight * torch.tensor(pull, dtype=weight.dtype)).sum().backward()
    assert conv.values.grad is not None
    want = 127 * summed(pull.transpose(0, 2, 3, 1), 4).reshape(2, -1)
    np.testing.assert_allclose(conv.values.grad.numpy(), want, rtol=1e-4, atol=1e-3)
