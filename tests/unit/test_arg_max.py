"""ArgMax at an output: declared in the binary, computed from the stored scores, and the same at every level."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from onnx_graphs import Array, model, node, random
from test_outputs import observed

import escc
from dialects.eisa import from_program, to_program
from dialects.interpreters.run import run_module
from dialects.signature import classes_of
from emulator.evaluate import evaluate, scores
from emulator.machine import Machine
from escc.accuracy import AccuracyCheck
from escc.cli.compile import main as compile_model
from escc.cli.emulate import main as emulate
from escc.onnx_export import export_model
from escc.onnx_import import import_model
from isa.arrays import Arrays
from isa.assembly import parse_assembly, print_assembly
from isa.container import read_elf, write_elf
from isa.errors import UserError
from isa.legality import check_executable
from isa.program import ArgMax, Port

RNG = np.random.default_rng(3)
KERNELS = random(8, 3, 3, 3, seed=1, scale=0.3)
KERNELS[5], KERNELS[6] = KERNELS[2], -KERNELS[2]  # channels 2 and 5 are equal everywhere
SHAPES = {"one": np.array([1]), "rows": np.array([0, 2, -1])}
WEIGHTS = {"w": KERNELS, "f": random(20, 8, seed=2)}
CONV = node("Conv", ["x", "w"], ["c"], pads=[1] * 4)
POOL = [CONV, node("GlobalAveragePool", ["c"], ["g"]), node("Flatten", ["g"], ["h"])]
SCORES = [*POOL, node("Gemm", ["h", "f"], ["s"], transB=1)]
X = RNG.uniform(-2, 2, (5, 3, 6, 6)).astype(np.float32)


def last_node(source: str, **attributes: int) -> onnx.NodeProto:
    return node("ArgMax", [source], ["y"], name="choice", **attributes)


def choosing(
    nodes: list[onnx.NodeProto], other: str = "", opset: int = 17, kind: int = TensorProto.INT64
) -> onnx.ModelProto:
    """A model whose output y holds integers; the float tensor `other` is an output too."""
    made = model(nodes, ["N", 3, 6, 6], WEIGHTS | SHAPES, ("y", other) if other else ("y",), opset)
    made.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", kind, None))
    return made


CASES = {
    "of channels": ([CONV, last_node("c", axis=1, keepdims=0)], "c", 1, (1, 6, 6)),
    "kept": ([CONV, last_node("c", axis=1)], "c", 1, (1, 1, 6, 6)),
    "of columns": ([CONV, last_node("c", axis=-1, keepdims=0)], "c", 3, (1, 8, 6)),
    "of a vector": ([*SCORES, last_node("s", axis=1, keepdims=0)], "s", 1, (1,)),
    "of a Softmax": ([*SCORES, node("Softmax", ["s"], ["p"]), last_node("p", axis=-1)], "p", 1, (1, 1)),
    "channels last": (
        [CONV, node("Transpose", ["c"], ["t"], perm=[0, 2, 3, 1]), last_node("t", axis=3, keepdims=0)],
        "t",
        3,
        (1, 6, 6),
    ),
    "squeezed": ([CONV, node("ArgMax", ["c"], ["a"], axis=1), node("Squeeze", ["a", "one"], ["y"])], "c", 1, (1, 6, 6)),
    "in rows": (
        [
            CONV,
            node("ArgMax", ["c"], ["a"], axis=1, keepdims=0),
            node("Cast", ["a"], ["i"], to=TensorProto.INT64),
            node("Unsqueeze", ["i", "one"], ["u"]),
            node("Identity", ["u"], ["v"]),
            node("Reshape", ["v", "rows"], ["y"]),
        ],
        "c",
        1,
        (1, 2, 18),
    ),
    "flat": ([CONV, node("ArgMax", ["c"], ["a"], axis=1), node("Flatten", ["a"], ["y"])], "c", 1, (1, 36)),
}


@pytest.mark.parametrize("name", CASES)
def test_every_level_chooses_alike(name: str, tmp_path: Path) -> None:
    nodes, source, axis, shape = CASES[name]
    module, program = observed(choosing(nodes, source), X, tmp_path)
    read = read_elf(write_elf(program), "test")
    assert parse_assembly(print_assembly(program), "test") == program
    assert to_program(from_program(program)) == program
    assert read.outputs[0].shape == shape
    found, values = Machine(read).run([X]).outputs
    assert found.dtype == np.int64 and found.shape == (5, *shape[1:])
    np.testing.assert_array_equal(found, values.argmax(axis=axis).reshape(found.shape))
    np.testing.assert_array_equal(run_module(module, [X])[0], found)
    exported = export_model(module)
    onnx.checker.check_model(exported, full_check=True)
    session = onnxruntime.InferenceSession(choosing(nodes).SerializeToString())
    wanted = np.asarray(session.run(None, {"x": X})[0])
    assert wanted.shape == found.shape
    again = np.asarray(onnxruntime.InferenceSession(exported.SerializeToString()).run(["y"], {"x": X})[0])
    assert again.dtype == np.int64 and again.shape == found.shape
    tied = np.where(wanted == 5, 2, wanted) if axis == 1 else wanted
    assert (np.where(found == 5, 2, found) == tied).mean() > 0.8
    assert escc.compile(export_model(module), scheme="dense").run_all(X)["y"].tolist() == found.tolist()


@pytest.mark.parametrize(("last", "never"), [(0, 5), (1, 2)])
def test_of_equal_scores_the_first_or_the_last(last: int, never: int) -> None:
    nodes = [CONV, last_node("c", axis=1, keepdims=0, select_last_index=last)]
    found = escc.compile(choosing(nodes), X, "dense").run(X)
    wanted = onnxruntime.InferenceSession(choosing(nodes).SerializeToString()).run(None, {"x": X})[0]
    assert 7 - never in found and never not in found
    assert (found == wanted).mean() > 0.9


@pytest.mark.parametrize("rectified", [False, True])
def test_the_smallest_score(rectified: bool, tmp_path: Path) -> None:
    scores = [CONV, node("Relu", ["c"], ["r"])] if rectified else [CONV, node("Identity", ["c"], ["r"])]
    nodes = [*scores, node("ArgMin", ["r"], ["y"], axis=1, keepdims=0)]
    module, program = observed(choosing(nodes), X, tmp_path)
    found = Machine(program).run([X]).outputs[0]
    np.testing.assert_array_equal(run_module(module, [X])[0], found)
    wanted = np.asarray(onnxruntime.InferenceSession(choosing(nodes).SerializeToString()).run(None, {"x": X})[0])
    assert (
        found.shape == wanted.shape
        and (np.where(found == 5, 2, found) == np.where(wanted == 5, 2, wanted)).mean() > 0.8
    )


def test_indices_of_another_integer_type() -> None:
    nodes = [CONV, node("ArgMax", ["c"], ["a"], axis=1), node("Cast", ["a"], ["y"], to=TensorProto.INT32)]
    found = escc.compile(choosing(nodes, kind=TensorProto.INT32), X, "dense").run(X)
    plain = escc.compile(choosing([CONV, last_node("c", axis=1)]), X, "dense").run(X)
    assert found.dtype == np.int64 and found.tolist() == plain.tolist()


def test_a_classifier_answers_and_is_evaluated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = escc.compile(choosing([*SCORES, last_node("s", axis=1, keepdims=0)]), X, "dense")
    scored = escc.compile(model(SCORES, ["N", 3, 6, 6], WEIGHTS, ("s",)), X, "dense")
    answers = chosen.run(X)
    labels = scored.run(X).argmax(axis=1)
    assert answers.shape == (5,) and answers.tolist() == labels.tolist()
    assert chosen.binary != scored.binary and chosen.program.instructions == scored.program.instructions
    np.testing.assert_array_equal(scores(Machine(chosen.program), X, 2), scored.run(X))
    shifted = (labels + np.arange(5) % 2) % 20
    got, want = (evaluate(Machine(c.program), [(X, shifted)], 1) for c in (chosen, scored))
    assert (got.right, got.among_best, got.classes) == (want.right, want.among_best, 20) and got.right == 3
    chosen.save(tmp_path / "m.bin")
    np.savez(tmp_path / "x.npz", x=X, y=labels)
    assert emulate([str(tmp_path / "m.bin"), "--input", str(tmp_path / "x.npz")]) == 0
    assert capsys.readouterr().out == f"y: {' '.join(map(str, answers))}\n"
    assert emulate([str(tmp_path / "m.bin"), "--eval", str(tmp_path / "x.npz")]) == 0
    assert "top-1 100.00 % (5 of 5)" in capsys.readouterr().out


def test_budgets_take_the_labels_of_a_classifier_that_answers(tmp_path: Path) -> None:
    made = choosing([*SCORES, last_node("s", axis=1, keepdims=0)])
    x = RNG.uniform(-2, 2, (60, 3, 6, 6)).astype(np.float32)
    session = onnxruntime.InferenceSession(made.SerializeToString())
    right = np.concatenate([np.asarray(session.run(["y"], {"x": one[None]})[0]) for one in x])
    assert len(set(right.tolist())) > 1
    onnx.save(made, tmp_path / "m.onnx")
    np.savez(tmp_path / "c.npz", x=x, y=right)
    common = [str(tmp_path / "m.onnx"), "--calibration", str(tmp_path / "c.npz")]
    assert compile_model([*common, "--max-drop", "20", "-q", "-o", str(tmp_path / "m.bin")]) == 0
    found = evaluate(Machine(read_elf((tmp_path / "m.bin").read_bytes())), [(x, right.reshape(-1))], 1)
    assert found.right > 42 and found.classes == 20


def test_many_indices_are_summed_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compiled = escc.compile(choosing([CONV, last_node("c", axis=1, keepdims=0)]), X, "dense")
    compiled.save(tmp_path / "m.bin")
    np.save(tmp_path / "x.npy", X[0])
    files = ["--input", str(tmp_path / "x.npy"), "--output", str(tmp_path / "y.npy")]
    assert emulate([str(tmp_path / "m.bin"), *files]) == 0
    written = np.load(tmp_path / "y.npy")
    assert written.dtype == np.int64 and written.shape == (1, 6, 6)
    values, counts = np.unique(written, return_counts=True)
    first = f"{values[counts.argmax()]} in {100 * counts.max() / 36:.1f} %"
    assert capsys.readouterr().out.startswith(f"y: 1x6x6, index {first}, ")


@pytest.mark.parametrize(
    ("choice", "shape", "cause"),
    [
        (ArgMax((1, 8, 6, 6), 4), (1, 6, 6), "ArgMax axis 4 is outside rank 4"),
        (ArgMax((1, 8, 6, 6), 0), (8, 6, 6), "ArgMax axis 0 is that of the images"),
        (ArgMax((1, 8, 6, 6), 1), (1, 6), r"\[1, 6\] is no shape of the 36 largest of \[1, 8, 6, 6\] along axis 1"),
        (ArgMax((1, 8, 6), 1), (1, 6), r"shape of scores \[1, 8, 6\] does not fit the tensor 6x6x8"),
    ],
)
def test_what_is_no_choice_is_refused(choice: ArgMax, shape: tuple[int, ...], cause: str) -> None:
    program = escc.compile(choosing([CONV, last_node("c", axis=1, keepdims=0)]), X, "dense").program
    changed: Any = replace(program.outputs[0], shape=shape, arg_max=choice)
    with pytest.raises(UserError, match=cause):
        check_executable(replace(program, outputs=(changed,)))
    given: Port = replace(program.inputs[0], arg_max=ArgMax((1, 3, 6, 6), 1))
    with pytest.raises(UserError, match="without Softmax and ArgMax"):
        check_executable(replace(program, inputs=(given,)))


@pytest.mark.parametrize(
    ("nodes", "cause"),
    [
        ([CONV, last_node("c", axis=0)], "node 'choice' (ArgMax): axis=0 is the batch axis; requires another"),
        (
            [CONV, node("ArgMax", ["c"], ["a"], axis=1), node("Relu", ["a"], ["y"])],
            "input 'a' has type int64; requires float",
        ),
        (
            [CONV, node("ArgMax", ["c"], ["a"], axis=1), node("Cast", ["a"], ["y"], to=TensorProto.FLOAT)],
            "converts indices to element type 1; requires int32 or int64",
        ),
    ],
)
def test_what_the_importer_refuses(nodes: list[onnx.NodeProto], cause: str) -> None:
    with pytest.raises(UserError) as caught:
        escc.compile(choosing(nodes), X, "dense")
    assert any(cause in found for found in caught.value.causes)


def test_the_arithmetic_agrees_with_numpy() -> None:
    x: Array = RNG.integers(0, 3, (4, 5, 6)).astype(np.float32)
    for axis in range(1, 3):
        shape = tuple(d for i, d in enumerate((1, 5, 6)) if i != axis)
        first, last = (ArgMax((1, 5, 6), axis, last).of(x, shape) for last in (False, True))
        np.testing.assert_array_equal(first, x.argmax(axis=axis))
        np.testing.assert_array_equal(last, x.shape[axis] - 1 - np.flip(x, axis).argmax(axis=axis))
        assert (last >= first).all() and (last > first).any()


@pytest.mark.parametrize("name", ["of channels", "of columns", "flat", "scores"])
@pytest.mark.parametrize("labelled", [True, False])
def test_choices_and_scores_of_a_map_have_no_accuracy(name: str, labelled: bool, tmp_path: Path) -> None:
    proto = model([CONV], ["N", 3, 6, 6], WEIGHTS, ("c",)) if name == "scores" else choosing(CASES[name][0])
    with pytest.raises(UserError, match=r"one output of shape \[1, classes\].*that of this one, '[cy]', is \[1, "):
        AccuracyCheck(
            import_model(proto.SerializeToString()),
            Arrays({"x": X} | ({"y": np.arange(5)} if labelled else {}), ""),
            1,
            0,
        )


@pytest.mark.parametrize("then", [[], ["Flatten"], ["Identity", "Flatten", "Identity"]])
@pytest.mark.parametrize("chosen", ["s", "p"])
def test_one_choice_has_the_classes_of_its_scores(chosen: str, then: list[str]) -> None:
    names = ["a", *(f"a{i}" for i in range(len(then))), "y"]
    after = [
        node(kind, [source], [to]) for kind, source, to in zip([*then, "Identity"], names, names[1:], strict=False)
    ]
    nodes = [*SCORES, node("Softmax", ["s"], ["p"]), node("ArgMax", [chosen], ["a"], axis=1), *after]
    assert classes_of(import_model(choosing(nodes).SerializeToString())) == 20
