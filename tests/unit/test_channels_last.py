"""Models whose inputs are [N, H, W, C]: arrays lie as the model declares them, everywhere."""

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
from dialects.interpreters.run import main_function
from escc.cli import assemble, compare, compress, disassemble, emulate
from escc.cli.compile import main
from escc.onnx_import import import_model
from isa.arrays import Input
from isa.errors import UserError

Array = NDArray[Any]
FIRST_NOTE = (
    "in this array the channels seem to come first, and the model takes [N,6,7,4]: transpose arrays by (0,2,3,1)"
)


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


@pytest.mark.parametrize("shape", [(4, 4, 4), (6, 7, 4)])
def test_arrays_lie_as_the_model_declares_them(shape: tuple[int, ...], tmp_path: Path) -> None:
    """Even where all extents are equal, so that no other order could be told by its shape."""
    proto = classifier(*shape)
    x = random(32, *shape, seed=2)
    (want,) = reference(proto, x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compiled = escc.compile(proto, x, "dense")
    assert compiled.program.inputs[0].shape == (1, *shape)
    compiled.save(tmp_path / "m.bin")
    for found in (compiled.run(x), escc.load(tmp_path / "m.bin").run(x)):
        assert np.abs(found - want).max() < 0.05 * np.abs(want).max()
    (exported,) = reference(onnx.load_from_string(compiled.onnx()), x)
    assert np.abs(exported - want).max() < 0.05 * np.abs(want).max()


def test_the_binary_is_that_of_the_network_with_channels_first() -> None:
    """But for its port: the same instructions, constants and sample."""
    x = random(16, 6, 7, 4, seed=1)
    last = escc.compile(classifier(6, 7, 4), x, "dense").program
    first = escc.compile(classifier(4, 6, 7, transposed=False), x.transpose(0, 3, 1, 2), "dense").program
    assert last.instructions == first.instructions
    assert last.rodata == first.rodata and last.sample == first.sample


def test_commands_take_such_arrays(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, network, binary = (str(files / name) for name in ("last.npz", "m.onnx", "m.bin"))
    text, level, trained = str(files / "m.s"), str(files / "m.mlir"), str(files / "t.onnx")
    budget = ["--max-drop", "50"]
    training = ["--epochs", "1", "--batch", "4", "--scheme", "unstructured", "--scheme-option", "sparsity=0.5"]
    commands = (
        (main, [network, "--calibration", data, "-o", binary, "--verify-numerics"]),
        (main, [network, "--calibration", data, "-o", binary, "--host-fallback"]),
        (main, [network, "--calibration", data, "-o", binary, *budget]),
        (emulate.main, [binary, "--input", data]),
        (emulate.main, [binary, "--eval", data]),
        (main, [network, "--calibration", data, "--emit", "esc", "-o", level]),
        (main, [network, "--calibration", data, "-o", binary]),
        (main, [level, "-o", str(files / "level.bin")]),
        (disassemble.main, [binary, "-o", text]),
        (assemble.main, [text, "-o", str(files / "again.bin")]),
        (compare.main, [network, binary, "--data", data]),
        (compress.main, [network, "--data", data, *training, "-o", trained]),
    )
    for run, command in commands:
        capsys.readouterr()
        assert run(command) == 0, capsys.readouterr().err
        assert "transpose" not in capsys.readouterr().err
    assert (files / "again.bin").read_bytes() == (files / "m.bin").read_bytes()
    assert (files / "level.bin").read_bytes() == (files / "m.bin").read_bytes()
    again = onnx.load(trained).graph.input[0].type.tensor_type.shape
    assert [dim.dim_value for dim in again.dim[1:]] == [6, 7, 4]


def test_a_part_of_the_network_may_begin_with_the_transposition() -> None:
    """What the host gives lies as its network has it."""
    nodes = [
        node("Erf", ["x"], ["e"]),
        node("Transpose", ["e"], ["t"], perm=[0, 3, 1, 2]),
        node("Conv", ["t", "w"], ["c"], pads=[1, 1, 1, 1]),
        node("Relu", ["c"], ["y"]),
    ]
    proto = model(nodes, [1, 4, 4, 4], {"w": random(3, 4, 3, 3)})
    x = random(32, 4, 4, 4, seed=2)
    want = np.concatenate([reference(proto, image[None])[0] for image in x])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = escc.compile(proto, x, "dense", host_fallback=True).run(x)
    assert np.abs(found - want).max() < 0.05 * np.abs(want).max()


def test_images_are_read_in_the_layout_of_the_model(tmp_path: Path) -> None:
    picture = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(3).integers(0, 256, (5, 6, 3), np.uint8)
    picture.fromarray(pixels).save(tmp_path / "i.png")
    x = random(16, 5, 6, 3, seed=1)
    options = {"image_mean": (10.0, 20.0, 30.0), "image_std": (50.0, 60.0, 70.0), "channel_order": "rgb"}
    binary = escc.compile(classifier(5, 6, 3), x, "dense", **options).program
    from emulator.inputs import load_image

    found = load_image(str(tmp_path / "i.png"), binary.inputs[0])
    wanted = (pixels - np.array(options["image_mean"])) / np.array(options["image_std"])
    np.testing.assert_array_equal(found, wanted[None])


def test_arrays_of_the_other_layout_are_refused_with_what_to_do(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, last = (str(files / f"{name}.npz") for name in ("first", "last"))
    network, binary = str(files / "m.onnx"), str(files / "m.bin")
    x = random(16, 6, 7, 4, seed=1).transpose(0, 3, 1, 2)
    assert main([network, "--calibration", last, "-o", binary]) == 0
    commands = (
        (main, [network, "--calibration", first, "-o", binary]),
        (emulate.main, [binary, "--input", first]),
        (emulate.main, [binary, "--eval", first]),
        (compare.main, [network, "--data", first]),
    )
    capsys.readouterr()
    for run, command in commands:
        assert run(command) == 1
        assert f"note: {FIRST_NOTE}\n" in capsys.readouterr().err, command
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
        assert caught.value.note == FIRST_NOTE


@pytest.mark.parametrize(
    ("shape", "note"),
    [
        ((6, 7, 4), "channels seem to come last, and the model takes [N,4,6,7]: transpose arrays by (2,0,1)"),
        ((9, 6, 7, 4), "channels seem to come last, and the model takes [N,4,6,7]: transpose arrays by (0,3,1,2)"),
        ((9, 7, 4, 6), "channels seem to come first, and the model takes [N,4,6,7]: transpose arrays by (0,2,3,1)"),
        ((9, 7, 6, 4), ""),
        ((9, 4, 7, 6), ""),
        ((2, 9, 6, 7, 4), ""),
        ((7, 4), ""),
    ],
)
def test_arrays_of_the_other_layout_are_known_by_their_shape(shape: tuple[int, ...], note: str) -> None:
    assert Input("x", (4, 6, 7)).note(shape) == (note and f"in this array the {note}")
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
    found = escc.compile(proto, x, "dense").run(x)
    assert found.shape == want.shape and np.abs(found - want).max() <= 0.03 * np.abs(want).max()


def test_one_place_has_no_order() -> None:
    module = import_model(products("one", [1, 1, 4]).SerializeToString())
    assert "input_layouts" not in main_function(module).attributes


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


def test_samples_move_there_and_back() -> None:
    port, x = Input("x", (6, 7, 4), (2, 0, 1)), random(3, 6, 7, 4)
    assert port.inner == (4, 6, 7) and port.moved(x).shape == (3, 4, 6, 7)
    np.testing.assert_array_equal(port.moved(x), x.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(port.given(port.moved(x)), x)
