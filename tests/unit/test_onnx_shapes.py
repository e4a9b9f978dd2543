"""Dynamic extents that the user gives, and batches that become 1."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx_graphs import close, model, node, random, reference

from dialects.interpreters.run import run_module
from escc.cli.compare import main as compare
from escc.cli.compile import main
from escc.onnx_backend import EsccBackend
from escc.onnx_import import import_model
from isa.errors import UserError

NODES = [
    node("Conv", ["x", "w"], ["c"], name="conv"),
    node("GlobalAveragePool", ["c"], ["p"]),
    node("Flatten", ["p"], ["y"]),
]
WEIGHTS = {"w": random(4, 3, 3, 3)}


def dynamic() -> onnx.ModelProto:
    return model(NODES, ["n", 3, "height", None], WEIGHTS)


def test_given_extents() -> None:
    x = random(1, 3, 10, 12)
    module = import_model(dynamic().SerializeToString(), shapes={"x": (1, 3, 10, 12)})
    close(run_module(module, [x]), reference(dynamic(), x))


@pytest.mark.parametrize(
    ("shapes", "cause"),
    [
        ({"z": (1, 3, 8, 8)}, "the model has no input 'z'; its inputs are 'x'"),
        ({"x": (1, 4, 8, 8)}, "has shape [?,3,?,?], [1,4,8,8] is given; requires equal extents"),
        ({"x": (1, 3, 8)}, "has shape [?,3,?,?], [1,3,8] is given"),
        ({"x": (1, 3, 2, 8)}, "does not fit 2 positions"),
        ({}, "dimension 2 is dynamic ('height'); requires a static size: give it by --input-shape x="),
    ],
)
def test_shapes_that_do_not_fit(shapes: dict[str, tuple[int, ...]], cause: str) -> None:
    with pytest.raises(UserError) as error:
        import_model(dynamic().SerializeToString(), "m.onnx", shapes)
    assert cause in str(error.value)


def test_the_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(dynamic(), path)
    options = [str(path), "--emit", "onnx", "-q", "-o", str(tmp_path / "m.mlir")]
    assert main([*options, "--input-shape", "x=1,3,10,12"]) == 0
    assert "tensor<1x3x10x12xf32>" in (tmp_path / "m.mlir").read_text()
    assert main([*options, "--input-shape", "x=1,3,10"]) == 1
    assert "is given; requires equal extents" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*options, "--input-shape", "x=1,3,-1"])
    assert "expected NAME=1,C,H,W with positive integers" in capsys.readouterr().err


def test_every_command_that_reads_a_model_takes_the_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, data, rng = tmp_path / "m.onnx", tmp_path / "d.npz", np.random.default_rng(0)
    onnx.save(dynamic(), path)
    np.savez(data, x=rng.standard_normal((64, 3, 10, 12)).astype(np.float32), y=rng.integers(0, 4, 64))
    shape = ["--input-shape", "x=1,3,10,12"]
    compare_options = [
        str(path),
        "--data",
        str(data),
        "--calibration",
        str(data),
        "--schemes",
        "dense",
        "--images",
        "1",
    ]
    compare_options += ["--machines", "eyeriss", "-q"]
    assert compare(compare_options) == 1
    assert (
        "dimension 2 is dynamic ('height'); requires a static size: give it by --input-shape" in capsys.readouterr().err
    )
    assert compare([*compare_options, *shape]) == 0
    assert compare([*compare_options, "--input-shape", "z=1,3,10,12"]) == 1
    assert "the model has no input 'z'; its inputs are 'x'" in capsys.readouterr().err


def test_training_takes_the_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="esc-compress needs torch")
    from escc.cli.compress import main as compress

    path, data, rng = tmp_path / "m.onnx", tmp_path / "d.npz", np.random.default_rng(0)
    onnx.save(dynamic(), path)
    np.savez(data, x=rng.standard_normal((64, 3, 10, 12)).astype(np.float32), y=rng.integers(0, 4, 64))
    options = [str(path), "--data", str(data), "--scheme", "escalate", "--ratio", "0.5", "--epochs", "1", "-q"]
    options += ["-o", str(tmp_path / "small.onnx")]
    assert compress(options) == 1
    assert "requires a static size: give it by --input-shape" in capsys.readouterr().err
    assert compress([*options, "--input-shape", "x=1,3,10,12"]) == 0
    written = onnx.load(tmp_path / "small.onnx").graph.input[0].type.tensor_type.shape
    assert [dim.dim_value for dim in written.dim][1:] == [3, 10, 12]


def test_the_backend_takes_extents_from_the_inputs() -> None:
    rep = EsccBackend.prepare(dynamic())
    for size in (10, 7):
        x = random(2, 3, size, 9)
        close(list(rep.run([x])), reference(dynamic(), x))


def test_a_batch_becomes_one() -> None:
    proto = model(NODES, [4, 3, 8, 8], WEIGHTS)
    x = random(4, 3, 8, 8)
    with pytest.warns(UserWarning, match="input 'x' has batch 4: the network is compiled for 1"):
        module = import_model(proto.SerializeToString())
    close(run_module(module, [x]), reference(proto, x))


@pytest.mark.parametrize(
    ("last", "cause"),
    [
        (node("Flatten", ["c"], ["y"], axis=0), "axis=0 joins the batch with other axes"),
        (node("Reshape", ["c", "s"], ["y"]), "the new shape has 1 rows for a batch of 4; requires as many, 0 or -1"),
        (node("Squeeze", ["c"], ["y"]), "has no axes, so that a batch of 1 would go too"),
    ],
)
def test_a_node_that_joins_the_batch_is_refused(last: onnx.NodeProto, cause: str) -> None:
    proto = model([node("Conv", ["x", "w"], ["c"]), last], [4, 3, 8, 8], {**WEIGHTS, "s": np.array([1, -1])})
    with pytest.warns(UserWarning), pytest.raises(UserError, match=cause):
        import_model(proto.SerializeToString())


def test_a_batch_that_a_reshape_has_in_it_is_refused() -> None:
    nodes = [node("Conv", ["x", "w"], ["c"]), node("Reshape", ["c", "s"], ["y"])]
    proto = model(nodes, [4, 3, 8, 8], {**WEIGHTS, "s": np.array([4, -1])})
    with pytest.warns(UserWarning), pytest.raises(UserError, match="output 'y' has 4 rows for one image"):
        import_model(proto.SerializeToString())
