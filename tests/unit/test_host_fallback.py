"""--host-fallback: where a graph is cut, what host and machine compute together, and what is refused."""

from __future__ import annotations

import itertools
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx_graphs import model, node, random

import emulator
import escc
from emulator.hosted import HostedMachine
from escc.cli import assemble, compare, disassemble, emulate
from escc.cli.compile import main
from escc.host_fallback.calibration import network_samples
from escc.host_fallback.cut import HEAD, MACHINE, TAIL, cut
from isa.arrays import npz

Array = NDArray[Any]


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[int], list[tuple[int, int]], set[int]]:
    count = draw(st.integers(1, 6))
    pairs = [(a, b) for a in range(count) for b in range(a + 1, count)]
    weights = draw(st.lists(st.integers(1, 9), min_size=count, max_size=count))
    return (
        weights,
        draw(st.lists(st.sampled_from(pairs), unique=True) if pairs else st.just([])),
        set(draw(st.lists(st.integers(0, count - 1), unique=True))),
    )


@settings(max_examples=200, deadline=None)
@given(graphs())
def test_no_cut_leaves_the_machine_more(graph: tuple[list[int], list[tuple[int, int]], set[int]]) -> None:
    weights, edges, refused = graph

    def value(labels: tuple[int, ...]) -> int:
        legal = all(labels[a] <= labels[b] for a, b in edges) and all(labels[n] != MACHINE for n in refused)
        return sum(w for w, label in zip(weights, labels, strict=True) if label == MACHINE) if legal else -1

    best = max(map(value, itertools.product((HEAD, MACHINE, TAIL), repeat=len(weights))))
    assert value(tuple(cut(weights, edges, refused))) == best


def detector() -> onnx.ModelProto:
    """Bytes [N, 16, 16, 3] -> a float image -> two heads -> boxes, and those that NonMaxSuppression keeps."""
    constants = {
        "mean": np.array([127], np.float32),
        "divisor": np.array([64], np.float32),
        "w1": random(8, 3, 3, 3, scale=0.2),
        "wb": random(4, 8, 1, 1, seed=1, scale=0.2),
        "ws": random(2, 8, 1, 1, seed=2, scale=0.2),
        "boxes_shape": np.array([1, 4, -1], np.int64),
        "scores_shape": np.array([1, 2, -1], np.int64),
        "most": np.array([5], np.int64),
        "overlap": np.array([0.5], np.float32),
        "least": np.array([0.1], np.float32),
    }
    nodes = [
        node("Cast", ["image"], ["f"], "cast", to=TensorProto.FLOAT),
        node("Transpose", ["f"], ["t"], "to_nchw", perm=[0, 3, 1, 2]),
        node("Sub", ["t", "mean"], ["m"], "sub"),
        node("Div", ["m", "divisor"], ["n"], "div"),
        node("Conv", ["n", "w1"], ["c"], "conv", pads=[1, 1, 1, 1], strides=[2, 2]),
        node("Relu", ["c"], ["r"], "relu"),
        node("Conv", ["r", "wb"], ["b"], "box_head"),
        node("Conv", ["r", "ws"], ["s"], "score_head"),
        node("Reshape", ["b", "boxes_shape"], ["b3"], "boxes_flat"),
        node("Transpose", ["b3"], ["boxes"], "boxes_last", perm=[0, 2, 1]),
        node("Reshape", ["s", "scores_shape"], ["s3"], "scores_flat"),
        node("NonMaxSuppression", ["boxes", "s3", "most", "overlap", "least"], ["kept"], "nms"),
    ]
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", 16, 16, 3])],
        [
            helper.make_tensor_value_info("kept", TensorProto.INT64, ["kept", 3]),
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["N", "anchors", 4]),
        ],
        [numpy_helper.from_array(np.asarray(x), name) for name, x in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


IMAGES = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def compiled() -> escc.Compiled:
    return escc.compile(detector(), IMAGES, "dense", host_fallback=True)


def in_onnxruntime(proto: onnx.ModelProto, feed: dict[str, Array]) -> dict[str, Array]:
    session: Any = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [port.name for port in session.get_outputs()]
    return dict(zip(names, session.run(names, feed), strict=True))


def test_a_detector_runs_whole_from_bytes_to_kept_boxes(compiled: escc.Compiled) -> None:
    found = compiled.run_all(IMAGES[:1])
    want = in_onnxruntime(detector(), {"image": IMAGES[:1]})
    assert abs(found["boxes"] - want["boxes"]).mean() < 0.02 * abs(want["boxes"]).max()
    assert found["kept"].dtype == np.int64 and found["kept"].shape[2] == 3 and found["kept"].shape[1] > 0
    assert [(port.name, port.shape) for port in compiled.outputs] == [("kept", (0, 3)), ("boxes", (1, 64, 4))]
    assert compiled.inputs[0].shape == (1, 16, 16, 3)


def test_what_the_host_computes_is_told_everywhere(compiled: escc.Compiled) -> None:
    macs = 64 * (8 * 27 + 4 * 8 + 2 * 8)
    told = {"nodes": 2, "network_nodes": 12, "macs": 0, "network_macs": macs, "mac_share": 0.0}
    told["operators"] = ["Cast", "NonMaxSuppression"]
    assert compiled.report()["host"] == compiled.stats()["host"] == told
    assert compiled.stats(IMAGES[:2])["host"] == told


def test_the_binary_carries_everything_and_its_text_too(
    compiled: escc.Compiled, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compiled.save(tmp_path / "m.bin")
    loaded = emulator.load(tmp_path / "m.bin")
    assert (loaded.run_all()["boxes"] == compiled.run_all(IMAGES[0])["boxes"]).all()
    assert disassemble.main([str(tmp_path / "m.bin"), "-o", str(tmp_path / "m.s")]) == 0
    assert assemble.main([str(tmp_path / "m.s"), "-o", str(tmp_path / "again.bin")]) == 0
    assert (tmp_path / "again.bin").read_bytes() == compiled.binary
    (tmp_path / "m.mlir").write_text(compiled.ir("esc"))
    assert main([str(tmp_path / "m.mlir"), "-q", "-o", str(tmp_path / "again.bin")]) == 0
    assert (tmp_path / "again.bin").read_bytes() == compiled.binary
    capsys.readouterr()
    np.save(tmp_path / "x.npy", IMAGES[:1])
    command = [str(tmp_path / "m.bin"), "--input", str(tmp_path / "x.npy"), "--stats"]
    assert emulate.main([*command, "--output", str(tmp_path / "y.npz")]) == 0
    out = capsys.readouterr().out
    assert "host       computes 2 of 12 nodes around the machine" in out and max(map(len, out.splitlines())) <= 80
    assert np.load(tmp_path / "y.npz")["kept"].shape[1:] == (3,)


def test_without_onnxruntime_the_emulator_says_so_in_one_line(
    compiled: escc.Compiled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(emulator.Error) as e:
        emulator.Model(compiled.program).run_all(IMAGES[:1])
    assert e.value.causes == ("the head of the network: onnxruntime computes it, and is not installed",)


def test_verification_compares_the_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.onnx").write_bytes(detector().SerializeToString())
    (tmp_path / "c.npz").write_bytes(npz({"image": IMAGES}))
    command = [str(tmp_path / "m.onnx"), "--calibration", str(tmp_path / "c.npz"), "--scheme", "dense"]
    assert main([*command, "--host-fallback", "--verify-numerics", "-o", str(tmp_path / "m.bin")]) == 0
    out, err = capsys.readouterr()
    assert "the whole network, host and machine, against onnxruntime:" in out
    share = next(float(line.split()[-1]) for line in out.splitlines() if line.split()[:2] == ["boxes", "1x64x4"])
    assert share < 2
    assert "the host computes 2 of 12 nodes around the machine" in err


def test_the_text_of_a_network_that_needs_a_host_is_verified_as_far_as_it_goes(
    compiled: escc.Compiled, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.mlir").write_text(compiled.ir("esc"))
    command = [str(tmp_path / "m.mlir"), "--verify-numerics", "-o", str(tmp_path / "again.bin")]
    assert main(command) == 0, capsys.readouterr().err
    assert (tmp_path / "again.bin").read_bytes() == compiled.binary


def test_a_comparison_refuses_a_network_that_needs_a_host(
    compiled: escc.Compiled, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compiled.save(tmp_path / "m.bin")
    (tmp_path / "x.npz").write_bytes(npz({"x": np.zeros((2, 3, 16, 16), np.float32)}))
    command = [str(tmp_path / "m.bin"), "--data", str(tmp_path / "x.npz"), "--schemes", "none", "--machines", "none"]
    assert compare.main(command) == 1
    assert "m.bin: the host computes a part of this network; esc-compare runs the machine" in capsys.readouterr().err


def test_made_up_bytes_have_the_whole_range(compiled: escc.Compiled) -> None:
    parts = compiled.program.hosted
    assert parts is not None
    (made,) = network_samples(parts, None, 4, 0)
    assert made.dtype == np.uint8 and made.min() == 0 and made.max() == 255


def cut_in_the_middle(channels: int) -> onnx.ModelProto:
    """A convolution of 27,648 products, an operator that the machine lacks, and a convolution of 16 * `channels`."""
    nodes = [
        node("Conv", ["x", "w1"], ["a"], "first", pads=[1, 1, 1, 1]),
        node("Det", ["a"], ["d"], "det"),
        node("Unsqueeze", ["d", "axes"], ["u"], "un"),
        node("Conv", ["u", "w2"], ["y"], "second"),
    ]
    constants = {"w1": random(16, 3, 3, 3), "w2": random(channels, 16, 1, 1), "axes": np.array([2, 3], np.int64)}
    return model(nodes, ["N", 3, 8, 8], constants)


@pytest.mark.parametrize(("channels", "side"), [(300, "first"), (4000, "second")])
def test_an_operator_in_the_middle_leaves_the_machine_the_larger_side(channels: int, side: str) -> None:
    said = r"the host computes [\d.]+% of the multiply-accumulates.*node 'det' \(Det\): operator unsupported"
    x = random(4, 3, 8, 8)
    with pytest.warns(UserWarning, match=said) as warned:
        found = escc.compile(cut_in_the_middle(channels), x, "dense", host_fallback=True)
    assert len(warned) == 1
    assert [layer.name for layer in found.layers] == [side]
    want = in_onnxruntime(cut_in_the_middle(channels), {"x": x})["y"]
    assert abs(found.run(x) - want).mean() < 0.05 * abs(want).max()
    if side == "first":  # nothing before the machine: the sample of the program serves
        assert found.program.hosted is not None and not found.program.hosted.sample
        assert found.run().shape == (1, channels, 1, 1)


def test_shapes_that_the_model_computes_do_not_cross_the_border() -> None:
    nodes = [
        node("Conv", ["x", "w"], ["a"], "conv", pads=[1, 1, 1, 1]),
        node("Shape", ["a"], ["s"], "shape"),
        node("Slice", ["s", "two", "four"], ["hw"], "extents"),
        node("Cast", ["hw"], ["hwf"], "cast", to=TensorProto.FLOAT),
        node("ReduceMax", ["a"], ["m"], "most", keepdims=0),
        node("Einsum", ["m", "hwf"], ["y"], "scaled", equation=",k->k"),
    ]
    constants = {"w": random(4, 3, 3, 3), "two": np.array([2], np.int64), "four": np.array([4], np.int64)}
    proto = model(nodes, ["N", 3, 8, 8], constants)
    x = random(2, 3, 8, 8)
    found = escc.compile(proto, x, "dense", host_fallback=True)
    want = np.stack([in_onnxruntime(proto, {"x": x[i : i + 1]})["y"] for i in range(2)])
    assert abs(found.run(x) - want).max() < 0.03 * abs(want).max()
    assert found.program.hosted is not None and found.program.hosted.work.operators == ("Einsum", "ReduceMax")


def test_a_network_that_needs_no_host_is_the_same_binary() -> None:
    nodes = [node("Conv", ["x", "w"], ["c"], "conv"), node("Relu", ["c"], ["y"], "relu")]
    proto, x = model(nodes, [1, 3, 8, 8], {"w": random(4, 3, 3, 3)}), random(4, 3, 8, 8)
    assert escc.compile(proto, x, host_fallback=True).binary == escc.compile(proto, x).binary


def test_a_network_of_which_nothing_is_left_is_refused() -> None:
    proto = model([node("Det", ["x"], ["y"], "det")], [1, 3, 8, 8])
    with pytest.raises(escc.Error) as e:
        escc.compile(proto, random(4, 3, 8, 8), host_fallback=True)
    assert e.value.causes[0].endswith(
        "nothing is left for the machine: every convolution and matrix product is with the host"
    )
    assert "node 'det' (Det): operator unsupported" in e.value.causes[1]


def test_accuracy_counts_the_answers_of_the_whole() -> None:
    nodes = [
        node("Conv", ["x", "w"], ["c"], "conv"),
        node("GlobalAveragePool", ["c"], ["p"], "pool"),
        node("Flatten", ["p"], ["f"], "flat"),
        node("Hardmax", ["f"], ["y"], "hardmax"),
    ]
    proto = model(nodes, ["N", 3, 8, 8], {"w": random(5, 3, 3, 3)})
    x = random(20, 3, 8, 8)
    labels = in_onnxruntime(proto, {"x": x})["y"].argmax(axis=1)
    found = escc.compile(proto, x, "dense", host_fallback=True).accuracy(x, labels)
    assert found.top1 >= 0.9 and found.classes == 5


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        ({"max_drop": 1.0}, "--max-drop measures the answers of the machine"),
        ({"image_mean": (1.0, 2.0)}, "--image-mean: 2 values for an input of [16] channels"),
    ],
)
def test_options_that_do_not_go_with_a_host_are_refused(arguments: dict[str, Any], fragment: str) -> None:
    with pytest.raises(escc.Error) as e:
        escc.compile(detector(), IMAGES, host_fallback=True, **arguments)
    assert fragment in e.value.causes[0]


def test_inputs_of_another_type_or_shape_are_refused(compiled: escc.Compiled) -> None:
    for x, fragment in (
        (IMAGES / 3, "holds values that are no uint8"),
        (IMAGES[:, :8], "requires [N, 16, 16, 3]"),
        (IMAGES.astype(np.int64) - 300, "holds values that are no uint8"),
    ):
        with pytest.raises(escc.Error) as e:
            compiled.run_all(x)
        assert fragment in str(e.value)


def test_damaged_parts_are_refused(compiled: escc.Compiled) -> None:
    host = compiled.program.host
    for damaged in (b"x", host[:-1], host + b"x", host.replace(b'"uint8"', b'"uint9"')):
        with pytest.raises(escc.Error, match="parts of the host"):
            _ = replace(compiled.program, host=damaged).hosted
    parts = compiled.program.hosted
    assert parts is not None
    for changed, fragment in (
        (replace(parts, tail=b"no model"), "the tail of the network: onnxruntime fails"),
        (replace(parts, head=b""), "the program reads"),
        (replace(parts, tail=b""), "nothing computes the output 'kept'"),
    ):
        machine = HostedMachine(compiled.program, changed)
        with pytest.raises(escc.Error) as e:
            machine.run([IMAGES[:1]])
        assert fragment in str(e.value)


def test_the_command_says_so_where_the_host_has_nothing_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    proto = model([node("Conv", ["x", "w"], ["y"], "conv")], [1, 3, 8, 8], {"w": random(4, 3, 3, 3)})
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    assert main([str(tmp_path / "m.onnx"), "--host-fallback", "-o", str(tmp_path / "m.bin")]) == 0
    assert "the host has nothing to compute" in capsys.readouterr().err


def test_the_command_refuses_it_for_ir_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.mlir").write_text("builtin.module {}\n")
    assert main([str(tmp_path / "m.mlir"), "--host-fallback", "-o", str(tmp_path / "m.bin")]) == 1
    assert "--host-fallback belongs to ONNX models" in capsys.readouterr().err
