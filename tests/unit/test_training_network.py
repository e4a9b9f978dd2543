"""The networks of the training: integers as the interpreter has them, floats as onnxruntime has them, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx_graphs import model, node, random, reference
from sample_models import residual_model
from xdsl.dialects.builtin import ModuleOp

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = pytest.importorskip("torch")

from dialects import esc
from dialects.interpreters.run import main_function, run_module
from escc import driver
from escc.irtext import make_context
from escc.onnx_import import import_model
from escc.training.forms.decomposed import trained_integers
from escc.training.network import Network
from escc.training.recalibrate import recalibrate
from escc.training.session import TRAINED_AFTER, compile_program
from escc.training.straight_through import DecomposedConv, coefficients_towards
from escc.training.teacher import Teacher
from escc.training.writeback import write_back
from escc.universe import multiverse
from isa.errors import UserError
from passes.pipelines import PipelineOptions, build

Array = np.ndarray[Any, np.dtype[Any]]
CONTEXT = make_context()


def mixed_model() -> bytes:
    """Operators that the residual model has not: tables, depthwise, uneven padding, concatenation, slices, pools."""
    nodes = [
        node("Conv", ["x", "a.w", "a.b"], ["a"], name="a", pads=[1, 0, 0, 1], strides=[1, 2]),
        node("HardSwish", ["a"], ["a.h"]),
        node("Conv", ["a.h", "d.w"], ["d"], name="d", pads=[1] * 4, group=8),
        node("Clip", ["d", "zero", "six"], ["d.c"]),
        node("MaxPool", ["d.c"], ["p"], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4, ceil_mode=1),
        node("AveragePool", ["d.c"], ["q"], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4, ceil_mode=1),
        node("Concat", ["p", "q"], ["c"], axis=1),
        node("Slice", ["c", "from", "to", "axes"], ["s"]),
        node("Pad", ["s", "pads"], ["s.p"]),
        node("Conv", ["s.p", "e.w", "e.b"], ["e"], name="e"),
        node("LeakyRelu", ["e"], ["e.l"], alpha=0.1),
        node("Sigmoid", ["e.l"], ["e.s"]),
        node("GlobalAveragePool", ["e.s"], ["g"]),
        node("Flatten", ["g"], ["f"]),
        node("Softmax", ["f"], ["y"], axis=1),
    ]
    constants = {
        "a.w": random(8, 3, 3, 3, seed=1, scale=0.3),
        "a.b": random(8, seed=2),
        "d.w": random(8, 1, 3, 3, seed=3, scale=0.5),
        "zero": np.float32(0),
        "six": np.float32(6),
        "from": np.array([2]),
        "to": np.array([14]),
        "axes": np.array([1]),
        "pads": np.array([0, 0, 1, 0, 0, 0, 0, 1]),
        "e.w": random(5, 12, 2, 2, seed=4, scale=0.3),
        "e.b": random(5, seed=5),
    }
    return model(nodes, [1, 3, 7, 9], constants).SerializeToString()


def both(data: bytes, **options: Any) -> tuple[Teacher, ModuleOp]:
    """The float network and the module of level esc."""
    registry = multiverse().all_passes
    module = import_model(data)
    driver.run_passes(CONTEXT, module, build(registry, PipelineOptions(), "onnx"))
    teacher = Teacher(module)
    chosen = {"scheme": "escalate", **options}
    steps = build(registry, PipelineOptions(**chosen), "esc", driver.provenance(module))
    with pytest.warns(UserWarning):
        driver.run_passes(CONTEXT, module, [s for s in steps if s.name in TRAINED_AFTER])
    return teacher, module


def batch(data: bytes, count: int = 8, seed: int = 0) -> Array:
    """Inputs for a model, float32 [count, ...]."""
    function = main_function(import_model(data))
    shape = esc.shape_of(function.body.block.args[0])[1:]
    return np.random.default_rng(seed).standard_normal((count, *shape)).astype(np.float32)


def run(network: torch.nn.Module, x: Array) -> Array:
    with torch.no_grad():
        return network(torch.from_numpy(x)).numpy()


def scores(module: ModuleOp, inputs: Sequence[Array]) -> Array:
    """Output of a module before its Softmax."""
    seen: list[Array] = []

    def observe(op: Any, results: Sequence[Array]) -> None:
        if isinstance(op, esc.DequantizeOp):
            seen.append(results[0])

    run_module(module, inputs, observe)
    return seen[-1]


MODELS = {"residual": residual_model(), "residual6": residual_model(6, 9, 3), "mixed": mixed_model()}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("scheme", ["dense", "escalate"])
def test_the_network_computes_the_integers_of_the_interpreter(name: str, scheme: str) -> None:
    data = MODELS[name]
    x = batch(data)
    _, module = both(data, scheme=scheme)
    network = Network(module)
    want, got = scores(module, [x]), run(network, x)
    step = next(esc.q_of(op.input).scale for op in module.walk() if isinstance(op, esc.DequantizeOp))
    difference = np.abs(np.rint((want - got) / step))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.05
    assert len(network.decomposed) == (0 if scheme == "dense" else 4 if name != "mixed" else 2)


@pytest.mark.parametrize("name", MODELS)
def test_the_teacher_is_the_float_model(name: str) -> None:
    import onnx

    data = MODELS[name]
    x = batch(data, 1)
    teacher, _ = both(data, scheme="dense")
    got = run(teacher, x)
    if name == "mixed":
        got = np.exp(got) / np.exp(got).sum()
    np.testing.assert_allclose(got, reference(onnx.load_from_string(data), x)[0], atol=1e-4)


def trained(name: str = "residual") -> tuple[Network, Teacher, ModuleOp, Array]:
    """A network whose parameters were moved at random, as by training."""
    data = MODELS[name]
    x = batch(data, 32)
    teacher, module = both(data)
    network = Network(module)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=generator)
    return network, teacher, module, x


def decomposed(network: Network, index: int) -> DecomposedConv:
    """The module of one of the decomposed layers."""
    module = network.decomposed[index].module
    assert isinstance(module, DecomposedConv)
    return module


@pytest.mark.parametrize("name", MODELS)
def test_written_back_integers_compute_what_the_network_does(name: str) -> None:
    network, _, module, x = trained(name)
    with torch.no_grad():
        decomposed(network, 0).threshold[1] = torch.inf
        decomposed(network, 1).threshold[:, :, 0] = 1e9  # a basis without any coefficient
    write_back(network)
    module.verify()
    want, got = run(network, x), scores(module, [x])
    step = next(esc.q_of(op.input).scale for op in module.walk() if isinstance(op, esc.DequantizeOp))
    difference = np.abs(np.rint((want - got) / step))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.05
    t, b = trained_integers(decomposed(network, 1))
    assert t.any(axis=(0, 2)).all() and len(b) == t.shape[1]
    write_back(network)  # once more: nothing depends on what was there before
    assert (scores(module, [x]) == got).all()


@pytest.mark.parametrize("missing", ["TORCH_FORM", "TRAINED_FORM"])
def test_what_cannot_be_written_back_is_not_trained(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, module = both(MODELS["residual"])
    conv = Network(module).layers[0].conv
    monkeypatch.setattr(type(conv), missing, "")
    with pytest.raises(UserError, match=rf"node '.*{conv.name} cannot be trained; that requires both its TORCH_FORM"):
        Network(module)


def test_a_written_back_module_compiles_and_stays_as_it_is() -> None:
    network, _, module, _ = trained()
    with torch.no_grad():
        decomposed(network, 2).threshold[::2] = torch.inf
    write_back(network)
    before = str(module)
    program = compile_program(CONTEXT, module, PipelineOptions())
    assert str(module) == before
    assert program.rodata


def test_softened_coefficients_keep_their_ternary_values() -> None:
    network, *_ = trained()
    module = network.decomposed[1].module
    assert isinstance(module, DecomposedConv)
    with torch.no_grad():
        module.latent.copy_(module.coefficients())
        before = module.coefficients().clone()
        weight = (module.integer_weight() * module.factor()[:, None, None, None]).double().numpy()
    module.approach(weight * 1.1)
    assert torch.equal(module.coefficients(), before)
    assert (module.latent != before).any()
    assert (module.latent - before).abs().max() < 0.5


def test_coefficients_of_bases_that_are_all_zero_stay() -> None:
    missing, bases = torch.ones(4, 3, 9), torch.zeros(2, 9)
    assert torch.equal(coefficients_towards(missing, bases), torch.zeros(4, 3, 2, dtype=torch.float64))


def test_recalibration_restores_the_channel_means() -> None:
    network, teacher, _, x = trained()
    inputs = torch.from_numpy(x)
    means: dict[str, Tensor] = {}

    def watch(step: Any, operands: Any, result: Tensor) -> Tensor:
        means[step.name] = result.mean(dim=(0, 2, 3)) if result.ndim == 4 else result
        return result

    recalibrate(network, teacher, inputs)
    with torch.no_grad():
        teacher.run((inputs,), watch)
        wanted = dict(means)
        network.run((inputs,), watch)
    for layer in network.layers:
        got = (means[layer.name] - 0.5) / layer.steps_per_unit
        torch.testing.assert_close(got, wanted[layer.name], atol=1e-3, rtol=1e-3)
