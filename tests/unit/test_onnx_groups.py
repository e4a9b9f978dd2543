"""Normalisation of groups of channels: the operator, and what PyTorch writes for it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx_graphs import canonical, check, close, constant, model, node, operations, random, reference

import escc
from dialects.interpreters.run import run_module
from escc.onnx_import import import_model
from isa.errors import UserError

X = random(1, 8, 5, 6, seed=1)


def reshaped(groups: int) -> onnx.ModelProto:
    """GroupNorm as PyTorch's TorchScript exporter writes it, behind a convolution."""
    constants = {
        "w": random(8, 8, 1, 1, seed=2),
        "ones": np.ones(groups, np.float32),
        "zeros": np.zeros(groups, np.float32),
        "gain": random(8, 1, 1, seed=3),
        "shift": random(8, 1, 1, seed=4),
    }
    nodes = [
        node("Conv", ["x", "w"], ["c"]),
        constant("flat", [0, groups, -1]),
        node("Reshape", ["c", "flat"], ["r"]),
        node("InstanceNormalization", ["r", "ones", "zeros"], ["n"], epsilon=1e-3),
        node("Shape", ["c"], ["whole"]),
        node("Reshape", ["n", "whole"], ["b"]),
        node("Mul", ["b", "gain"], ["m"]),
        node("Add", ["m", "shift"], ["a"]),
        node("Relu", ["a"], ["y"]),
    ]
    return model(nodes, X.shape, constants)


@pytest.mark.parametrize("groups", [1, 2, 4, 8])
def test_reshapes_around_the_normalisation(groups: int) -> None:
    proto = reshaped(groups)
    assert not {"Reshape", "Transpose"} & set(operations(check(proto, X)))
    x = random(6, 8, 5, 6, seed=7)
    found = escc.compile(proto, x, "dense").run(x)
    wanted = np.concatenate([reference(proto, one[None])[0] for one in x])
    assert np.abs(found - wanted).mean() < 0.02 * np.abs(wanted).max()


@pytest.mark.parametrize("shape", [(1, 8, 5, 6), (1, 8, 9)])
def test_the_operator(shape: tuple[int, ...]) -> None:
    gain, shift, x = random(8, seed=5), random(8, seed=6), random(*shape, seed=1)
    groups = node("GroupNormalization", ["x", "g", "b"], ["y"], num_groups=4, epsilon=1e-2)
    module = canonical(import_model(model([groups], shape, {"g": gain, "b": shift}, opset=21).SerializeToString()))
    weight, bias = (torch.tensor(v) for v in (gain, shift))
    wanted = torch.nn.functional.group_norm(torch.tensor(x), 4, weight, bias, 1e-2).numpy()
    close([np.asarray(y) for y in run_module(module, [x])], [wanted])


def test_groups_that_do_not_divide() -> None:
    groups = node("GroupNormalization", ["x", "g", "g"], ["y"], name="norm", num_groups=3)
    with pytest.raises(UserError, match="num_groups=3 of 8 channels; requires a divisor"):
        import_model(model([groups], X.shape, {"g": random(3)}, opset=21).SerializeToString())
