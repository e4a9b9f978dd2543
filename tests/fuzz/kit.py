"""Valid files of every kind, a few kilobytes each: what campaigns start from and compare with."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from onnx import helper
from sample_models import constant, model, residual_model

from escc.cli import compile as escc

LEVELS = ("onnx", "esc", "bfs", "eisa")
SHAPE = (3, 4, 4)
"""Input of the networks: channels, height, width."""

_IMAGE = ("--image-mean", "127,127,127", "--image-std", "64,64,64", "--channel-order", "rgb")


def build(folder: Path) -> Path:
    """Write all files into a folder, and give it back."""
    (folder / "model.onnx").write_bytes(residual_model(4, SHAPE[1]))
    for name, data in networks().items():
        (folder / f"{name}.onnx").write_bytes(data)
    network = str(folder / "model.onnx")
    for scheme in ("dense", "escalate"):
        _compile(network, "--scheme", scheme, *_IMAGE, "-o", folder / f"{scheme}.bin")
        for level in LEVELS[scheme == "escalate" :]:
            _compile(network, "--scheme", scheme, "--emit", level, "-o", folder / f"{scheme}.{level}.mlir")
        _compile(network, "--scheme", scheme, "--emit", "asm", "-o", folder / f"{scheme}.s")
    _compile(network, "--scheme", "escalate", "--emit", "qdq", "-o", folder / "qdq.onnx")
    return folder


def _compile(*arguments: str | Path) -> None:
    with contextlib.redirect_stderr(io.StringIO()) as err:
        code = escc.main([*map(str, arguments), "-q"])
    if code:
        raise RuntimeError(f"{' '.join(map(str, arguments))}: {err.getvalue()}")


def networks() -> dict[str, bytes]:
    """Small networks whose operators differ."""
    rng = np.random.default_rng(0)

    def weights(name: str, *shape: int) -> object:
        return constant(name, rng.standard_normal(shape).astype(np.float32))

    node: Callable[..., object] = helper.make_node
    activations = [
        node("Conv", ["x", "w"], ["a"], "conv", pads=[1, 1, 1, 1], group=1),
        node("BatchNormalization", ["a", "s", "b", "m", "v"], ["n"], "norm"),
        node("Clip", ["n", "lo", "hi"], ["c"], "clip"),
        node("MaxPool", ["c"], ["p"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        node("HardSwish", ["p"], ["h"], "swish"),
        node("Add", ["p", "h"], ["u"], "add"),
        node("Concat", ["u", "p"], ["k"], "concat", axis=1),
        node("Reshape", ["k", "shape"], ["r"], "reshape"),
        node("MatMul", ["r", "f"], ["g"], "matmul"),
        node("Softmax", ["g"], ["y"], "softmax", axis=1),
    ]
    one, two = np.asarray(-1, np.float32), np.asarray(6, np.float32)
    scalars = [constant("lo", one), constant("hi", two), constant("shape", np.array([1, -1]))]
    norm = [weights("s", 4), weights("b", 4), weights("m", 4), constant("v", np.ones(4, np.float32))]
    more = [weights("w", 4, 3, 3, 3), weights("f", 32, 5), *norm, *scalars]
    movement = [
        node("Pad", ["x", "pads"], ["a"], "pad", mode="constant"),
        node("Conv", ["a", "w"], ["b"], "depthwise", group=3),
        node("Tanh", ["b"], ["c"], "tanh"),
        node("Slice", ["c", "starts", "ends", "axes"], ["d"], "slice"),
        node("AveragePool", ["d"], ["e"], "average", kernel_shape=[2, 2]),
        node("Transpose", ["e"], ["t"], "transpose", perm=[0, 2, 3, 1]),
        node("Transpose", ["t"], ["i"], "back", perm=[0, 3, 1, 2]),
        node("ReduceMean", ["i"], ["y"], "mean", axes=[2, 3], keepdims=1),
    ]
    tables = {"pads": [0, 0, 1, 1, 0, 0, 1, 1], "starts": [0], "ends": [3], "axes": [2]}
    longs = [constant(name, np.array(value, np.int64)) for name, value in tables.items()]
    return {
        "activations": model(activations, more, (1, *SHAPE), (1, 5)),  # type: ignore[arg-type]
        "movement": model(movement, [weights("w", 3, 1, 3, 3), *longs], (1, *SHAPE)),  # type: ignore[arg-type, list-item]
    }
