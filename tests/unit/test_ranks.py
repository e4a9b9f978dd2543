"""Inputs, outputs and operators of other ranks than 4: signals [N,C,L], vectors [N], volumes [N,C,D,H,W]."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx_graphs import canonical, check, model, node, operations, random, reference

from dialects.interpreters.run import main_function
from escc import load
from escc.cli.compile import main
from escc.cli.emulate import main as emulate
from escc.onnx_backend import EsccBackend
from escc.onnx_import import import_model
from isa.errors import UserError

WEIGHTS = {
    "w": random(8, 3, 5, seed=1, scale=0.3),
    "b": random(8, seed=2),
    "deep": random(8, 1, 3, seed=3, scale=0.5),
    "s": random(8, 1, seed=4),
    "f": random(8 * 15, 4, seed=5, scale=0.1),
    "t": random(8, 6, 2, seed=6, scale=0.3),
    "edges": np.array([0, 0, 2, 0, 0, 2]),
    "one": np.array([1]),
    "most": np.array([33]),
    "last": np.array([-1]),
    "some": np.array([0, 3, 3, 1]),
    "gain": 1 + np.abs(random(3, seed=7)),
    "shift": np.abs(random(3, seed=8)),
    "half": np.float32(0.5).reshape(1),
    "two": np.float32(2),
    "slice": random(8, 3, 1, 3, 3, seed=10, scale=0.3),
    "back": random(8, 6, 1, 3, 2, seed=11, scale=0.3),
    "point": random(8, 3, 1, 1, 1, seed=12, scale=0.5),
}
CASES: dict[str, tuple[list[int], list[onnx.NodeProto]]] = {
    "a convolution": ([3, 30], [node("Conv", ["x", "w", "b"], ["y"], pads=[2, 1], strides=[2])]),
    "a classifier": (
        [3, 30],
        [
            node("Conv", ["x", "w", "b"], ["c"], pads=[2, 2]),
            node("Relu", ["c"], ["r"]),
            node("MaxPool", ["r"], ["p"], kernel_shape=[2], strides=[2]),
            node("Conv", ["p", "deep"], ["d"], group=8, pads=[1, 1]),
            node("Mul", ["d", "s"], ["m"]),
            node("Add", ["m", "p"], ["a"]),
            node("Flatten", ["a"], ["h"]),
            node("Gemm", ["h", "f"], ["y"]),
        ],
    ),
    "a convolution back": (
        [3, 30],
        [
            node("Conv", ["x", "w", "b"], ["c"], dilations=[2]),
            node("ConvTranspose", ["c", "t"], ["u"], strides=[2]),
            node("Sigmoid", ["u"], ["y"]),
        ],
    ),
    "a mean of all": (
        [3, 30],
        [
            node("Conv", ["x", "w", "b"], ["c"]),
            node("GlobalAveragePool", ["c"], ["g"]),
            node("Flatten", ["g"], ["h"]),
            node("Softmax", ["h"], ["y"]),
        ],
    ),
    "means": ([3, 30], [node("AveragePool", ["x"], ["y"], kernel_shape=[3], auto_pad="SAME_UPPER")]),
    "sums": (
        [3, 30],
        [
            node("Sigmoid", ["x"], ["a"]),
            node("Add", ["x", "a"], ["q"]),
            node("Mul", ["half", "q"], ["m"]),
            node("Concat", ["m", "x"], ["y"], axis=1),
        ],
    ),
    "parts and edges": (
        [6, 30],
        [
            node("Split", ["x"], ["l", "r"], axis=1),
            node("Sigmoid", ["r"], ["g"]),
            node("Mul", ["l", "g"], ["m"]),
            node("Pad", ["m", "edges"], ["e"], mode="reflect"),
            node("Slice", ["e", "one", "most", "last"], ["cut"]),
            node("Concat", ["cut", "m"], ["both"], axis=2),
            node("Conv", ["both", "w"], ["c"]),
            node("Gather", ["c", "some"], ["y"], axis=-1),
        ],
    ),
    "parts of a vector": ([8], [node("Split", ["x"], ["l", "r"], axis=-1), node("Sub", ["l", "r"], ["y"])]),
    "a vector and a number": ([8], [node("ReduceSum", ["x", "last"], ["total"]), node("Sub", ["x", "total"], ["y"])]),
    "a normalised volume": (
        [3, 2, 4, 5],
        [
            node("BatchNormalization", ["x", "gain", "shift", "shift", "gain"], ["n"]),
            node("GlobalAveragePool", ["n"], ["p"]),
            node("Sub", ["n", "p"], ["y"]),
        ],
    ),
    "one slice": (
        [3, 1, 9, 8],
        [
            node("Conv", ["x", "slice", "b"], ["c"], pads=[0, 1, 2, 0, 1, 0], strides=[3, 1, 2], dilations=[2, 1, 1]),
            node("Relu", ["c"], ["r"]),
            node("MaxPool", ["r"], ["p"], kernel_shape=[1, 2, 3], strides=[1, 2, 1], pads=[0, 0, 1, 0, 1, 1]),
            node("AveragePool", ["p"], ["m"], kernel_shape=[1, 3, 2], auto_pad="SAME_UPPER"),
            node("ConvTranspose", ["m", "back"], ["y"], strides=[2, 2, 1]),
        ],
    ),
    "points of a volume": (
        [3, 4, 5, 6],
        [
            node("Conv", ["x", "point", "b"], ["c"], strides=[1, 1, 2]),
            node("MaxPool", ["c"], ["y"], kernel_shape=[1, 1, 2], pads=[0, 0, 1, 0, 0, 0]),
        ],
    ),
    "a number": ([], [node("Sigmoid", ["x"], ["y"])]),
    "numbers behind a signal": (
        [3, 30],
        [
            node("Conv", ["x", "w"], ["c"]),
            node("Mul", ["c", "half"], ["m"]),
            node("Sub", ["half", "m"], ["d"]),
            node("Div", ["d", "two"], ["q"]),
            node("Add", ["q", "half"], ["y"]),
        ],
    ),
    "numbers behind a volume": (
        [3, 1, 9, 8],
        [node("Conv", ["x", "slice", "b"], ["c"]), node("Mul", ["half", "c"], ["m"]), node("Sub", ["m", "two"], ["y"])],
    ),
    "a mean of two signals": ([5, 7], [node("Sigmoid", ["x"], ["a"]), node("Mean", ["x", "a"], ["y"])]),
    "a function of a signal": ([5, 7], [node("LeakyRelu", ["x"], ["y"])]),
    "a function of a volume": ([2, 3, 4, 5], [node("Tanh", ["x"], ["y"])]),
}


def made(name: str) -> onnx.ModelProto:
    extents, nodes = CASES[name]
    used = {i for one in nodes for i in one.input}
    return model(nodes, ["N", *extents], {k: v for k, v in WEIGHTS.items() if k in used})


@pytest.mark.parametrize("name", CASES)
def test_the_network_means_the_same(name: str) -> None:
    module = check(made(name))
    assert "onnx.Transpose" not in operations(module)
    inside = [op for op in main_function(module).body.block.ops if op.name == "onnx.Reshape"]
    assert len(inside) <= 4, "reshapes are left between the layers"


@pytest.mark.parametrize(
    "name",
    [
        *("a classifier", "a convolution back", "sums", "one slice", "a function of a volume", "a number"),
        *("numbers behind a signal", "numbers behind a volume"),
    ],
)
def test_every_level_and_every_command(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    proto, extents = made(name), CASES[name][0]
    x = random(6, *extents, seed=9)
    path, data, binary = (str(tmp_path / file) for file in ("m.onnx", "x.npy", "m.bin"))
    onnx.save(proto, path)
    np.save(data, x)
    options = [path, "--calibration", data, "--scheme", "dense", "-q"]
    assert main([*options, "--verify-numerics", "-o", binary]) == 0
    assert load(binary).inputs[0].shape == (1, *extents)
    assert emulate([binary, "--input", data, "--output", str(tmp_path / "y.npy")]) == 0
    capsys.readouterr()
    found = np.load(tmp_path / "y.npy")
    wanted = np.concatenate([reference(proto, image[None])[0] for image in x])
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).mean() < 0.01 * np.abs(wanted).max()
    assert main([*options, "--emit", "qdq", "-o", str(tmp_path / "q.onnx")]) == 0
    onnx.checker.check_model(onnx.load(tmp_path / "q.onnx"), full_check=True)
    session = onnxruntime.InferenceSession(tmp_path / "q.onnx")
    again = np.asarray(session.run(None, {"x": x})[0])
    assert again.shape == wanted.shape and np.abs(again - found).mean() < 0.01 * np.abs(wanted).max()
    assert main([str(tmp_path / "q.onnx"), "-q", "-o", str(tmp_path / "again.bin")]) == 0
    np.testing.assert_array_equal(load(tmp_path / "again.bin").run(x), load(binary).run(x))


def test_the_backend_takes_a_batch_of_signals() -> None:
    x = random(4, 3, 30, seed=3)
    (found,) = EsccBackend.prepare(made("a classifier")).run([x])
    np.testing.assert_allclose(found, reference(made("a classifier"), x)[0], rtol=1e-4, atol=1e-5)


def test_a_constant_of_fewer_dimensions_leaves_a_map_as_it_is() -> None:
    """[C,1,1] beside [N,C,H,W] is no signal, whichever of them stands first."""
    nodes = [node("Mul", ["three", "x"], ["m"]), node("Add", ["m", "three"], ["a"]), node("Mul", ["three", "a"], ["y"])]
    check(model(nodes, [1, 3, 4, 5], {"three": random(3, 1, 1)}))


def test_kernels_are_rows() -> None:
    text = str(canonical(import_model(made("a convolution").SerializeToString())))
    assert "kernel_shape = array<i64: 1, 5>" in text and "pads = array<i64: 0, 2, 0, 1>" in text


def test_a_constant_that_is_not_finite_is_said() -> None:
    adds = model([node("Add", ["x", "c"], ["y"], name="adds")], [1, 4, 6], {"c": np.full(6, -np.inf, np.float32)})
    with pytest.raises(UserError, match="'c' holds 6 values of 6 that are NaN or infinite"):
        import_model(adds.SerializeToString())


def test_a_result_that_a_number_scales_may_be_an_output_too() -> None:
    nodes = [node("Conv", ["x", "w"], ["c"]), node("Mul", ["c", "half"], ["y"])]
    check(model(nodes, [1, 3, 30], {k: WEIGHTS[k] for k in ("w", "half")}, outputs=("c", "y")))
