"""Models whose inputs are [N, H, W, C]: what is said of them, and of arrays that lie as the model declares them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx_graphs import canonical, model, node, random, reference

import escc
from escc.cli import compare, emulate
from escc.cli.compile import main
from escc.onnx_import import import_model
from isa.arrays import Input
from isa.errors import UserError

Array = NDArray[Any]
SAID = (
    "input 'x' is [N,6,7,4] in the model, channels last; the compiled network takes [N,4,6,7]: transpose arrays by "
    "(0,3,1,2)"
)
NOTE = "in this array the channels come last, and the compiled network takes [N,4,6,7]: transpose arrays by (0,3,1,2)"


def classifier(*shape: int, transposed: bool = True) -> onnx.ModelProto:
    """Images [N, H, W, C] (or [N, C, H, W]) -> 3 scores."""
    channels = shape[-1] if transposed else shape[0]
    nodes = [
        *([node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2])] if transposed else []),
        node("Conv", ["t" if transposed else "x", "w"], ["c"], pads=[1, 1, 1, 1]),
        node("Relu", ["c"], ["r"]),
        node("GlobalAveragePool", ["r"], ["g"]),
        node("Flatten", ["g"], ["y"]),
    ]
    return model(nodes, ["N", *shape], {"w": random(3, channels, 3, 3)})


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with the model, and images and labels in both layouts."""
    onnx.save(classifier(6, 7, 4), tmp_path / "m.onnx")
    last = random(16, 6, 7, 4, seed=1)
    np.savez(tmp_path / "last.npz", x=last, y=np.arange(16) % 3)
    np.savez(tmp_path / "first.npz", x=last.transpose(0, 3, 1, 2), y=np.arange(16) % 3)
    return tmp_path


def told(call: Callable[[], object]) -> list[str]:
    """Texts of the warnings of a call."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize("options", [[], ["--host-fallback"], ["--max-bytes", "2000"], ["--verify-numerics"]])
def test_a_command_says_once_that_channels_move(
    options: list[str], files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [str(files / "m.onnx"), "--calibration", str(files / "first.npz"), "-o", str(files / "m.bin"), *options]
    assert main(command) == 0
    assert capsys.readouterr().err.count(f"warning: {SAID}\n") == 1


def test_python_says_it_once_and_only_of_models_with_channels_last() -> None:
    x = random(16, 6, 7, 4, seed=1)
    proto = classifier(6, 7, 4)
    found = told(lambda: escc.compile(proto, x.transpose(0, 3, 1, 2), "dense"))
    assert found == [SAID]
    assert told(lambda: escc.compile(classifier(4, 6, 7, transposed=False), x.transpose(0, 3, 1, 2), "dense")) == []


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_arrays_that_are_transposed_as_told_give_what_the_model_gives() -> None:
    proto = classifier(4, 4, 4)
    x = random(32, 4, 4, 4, seed=2)
    (want,) = reference(proto, x)
    compiled = escc.compile(proto, x.transpose(0, 3, 1, 2), "dense")
    got = compiled.run(x.transpose(0, 3, 1, 2))
    assert np.abs(got - want).max() < 0.05 * np.abs(want).max()
    (exported,) = reference(onnx.load_from_string(compiled.onnx()), x)  # in the layout of the model
    assert np.abs(exported - want).max() < 0.05 * np.abs(want).max()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_arrays_in_the_layout_of_the_model_are_refused_with_what_to_do(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, last = (str(files / f"{name}.npz") for name in ("first", "last"))
    network, binary = str(files / "m.onnx"), str(files / "m.bin")
    x = random(16, 6, 7, 4, seed=1)
    assert main([network, "--calibration", first, "-o", binary]) == 0
    commands = (
        (main, [network, "--calibration", last, "-o", binary]),
        (emulate.main, [binary, "--input", last]),
        (emulate.main, [binary, "--eval", last]),
        (compare.main, [network, "--data", last]),
    )
    capsys.readouterr()
    for run, command in commands:
        assert run(command) == 1
        assert f"note: {NOTE}\n" in capsys.readouterr().err, command
    compiled = escc.load(binary)
    calls: list[Callable[[], object]] = [
        lambda: escc.compile(network, x),
        lambda: escc.compile(network, [x[:8], x[8:]]),
        lambda: compiled.run(x),
        lambda: compiled.accuracy(x, np.zeros(16, int)),
    ]
    for call in calls:
        with pytest.raises(UserError) as caught:
            call()
        assert caught.value.note == NOTE


@pytest.mark.parametrize(
    ("shape", "note"),
    [
        (
            (6, 7, 4),
            "in this array the channels come last, and the compiled network takes [N,4,6,7]: transpose arrays "
            "by (2,0,1)",
        ),
        ((9, 6, 7, 4), NOTE),
        ((9, 7, 6, 4), ""),
        ((9, 4, 7, 6), ""),
        ((2, 9, 6, 7, 4), ""),
        ((7, 4), ""),
    ],
)
def test_only_arrays_with_channels_last_are_taken_for_such(shape: tuple[int, ...], note: str) -> None:
    assert Input("x", (4, 6, 7)).note(shape) == note
    assert Input("x", (28,)).note((9, *shape)) == ""


WEIGHTS = {"w": random(4, 5, seed=2), "s": random(4, 4, seed=3), "b": random(5, seed=4), "v": random(5, 3, seed=5)}
PRODUCTS: dict[str, list[onnx.NodeProto]] = {
    "one": [node("MatMul", ["x", "w"], ["y"])],
    "two": [
        node("MatMul", ["x", "w"], ["m"]),
        node("Add", ["m", "b"], ["a"]),
        node("Relu", ["a"], ["r"]),
        node("MatMul", ["r", "v"], ["y"]),
    ],
    "behind a function": [node("Tanh", ["x"], ["t"]), node("MatMul", ["t", "w"], ["y"])],
    "beside the input": [node("MatMul", ["x", "s"], ["m"]), node("Add", ["m", "x"], ["y"])],
    "averaged": [node("MatMul", ["x", "w"], ["m"]), node("ReduceMean", ["m"], ["y"], axes=[1, 2], keepdims=0)],
}


def products(name: str, extents: list[int]) -> onnx.ModelProto:
    used = {i for one in PRODUCTS[name] for i in one.input}
    return model(PRODUCTS[name], [1, *extents], {k: v for k, v in WEIGHTS.items() if k in used})


@pytest.mark.parametrize("name", PRODUCTS)
def test_a_matrix_multiplies_channels_that_are_last(name: str) -> None:
    proto, x = products(name, [6, 7, 4]), random(8, 6, 7, 4, seed=6)
    want = np.concatenate([reference(proto, one[None])[0] for one in x])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        compiled = escc.compile(proto, x.transpose(0, 3, 1, 2), "dense")
    assert [str(warning.message) for warning in caught] == [SAID]
    found = compiled.run(x.transpose(0, 3, 1, 2))
    assert found.shape == want.shape and np.abs(found - want).max() <= 0.03 * np.abs(want).max()


def test_one_place_has_no_order() -> None:
    assert told(lambda: import_model(products("one", [1, 1, 4]).SerializeToString())) == []


def test_an_input_that_is_read_in_two_orders_is_refused() -> None:
    nodes = [node("MatMul", ["x", "w"], ["m"]), node("Conv", ["x", "k"], ["c"]), node("GlobalMaxPool", ["c"], ["g"])]
    proto = model([*nodes, node("Add", ["m", "g"], ["y"])], [1, 6, 7, 4], {"w": WEIGHTS["w"], "k": random(6, 6, 1, 1)})
    with pytest.raises(UserError) as found:
        canonical(import_model(proto.SerializeToString()))
    assert any(
        cause == "input 'x' is read with channels last by some operators and in another order by others; requires one "
        "order for all"
        for cause in found.value.causes
    )
