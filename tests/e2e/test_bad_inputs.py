"""Broken or unsupported input: exit code 1, one clear line for each fault, no traceback, no output file."""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from sample_models import constant, model, residual_model

from escc.cli.compile import main


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def faults(capsys: pytest.CaptureFixture[str], *argv: str) -> list[str]:
    """The `error:` lines of a run that must end in exit code 1."""
    before = set(Path().iterdir())
    assert main(argv) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and "Traceback" not in captured.err
    assert set(Path().iterdir()) == before, "files were left behind"
    lines = [line for line in captured.err.splitlines() if not line.startswith("warning: ")]
    assert (
        all(line.startswith(("error: ", "note: ")) for line in lines)
        and sum(x.startswith("note: ") for x in lines) <= 1
    )
    return [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]


def test_absent_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert faults(capsys, "absent.onnx") == ["absent.onnx: No such file or directory"]


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"", "empty"), (b"this is no model\n" * 20, ""), (b"\x00\xff" * 100, ""), (b"PK\x03\x04" + bytes(64), "")],
    ids=["empty", "text", "noise", "zip"],
)
def test_files_that_are_no_models(data: bytes, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("m.onnx").write_bytes(data)
    (line,) = faults(capsys, "m.onnx")
    assert line.startswith("m.onnx: ") and words in line


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.99])
def test_truncated_model(share: float, capsys: pytest.CaptureFixture[str]) -> None:
    data = residual_model()
    Path("m.onnx").write_bytes(data[: int(len(data) * share)])
    assert all(line.startswith("m.onnx: ") for line in faults(capsys, "m.onnx"))


def test_all_unsupported_nodes_are_named_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    nodes = [
        helper.make_node("RandomNormalLike", ["x"], ["a"], name="first"),
        helper.make_node("Bernoulli", ["a"], ["b"], name="second"),
        helper.make_node("Hardmax", ["b"], ["y"], name="third"),
    ]
    Path("m.onnx").write_bytes(model(nodes, [], output=[1, 3, 8, 8]))
    lines = faults(capsys, "m.onnx")
    assert len(lines) == 3
    operators = ("RandomNormalLike", "Bernoulli", "Hardmax")
    for line, name, op in zip(lines, ("first", "second", "third"), operators, strict=True):
        assert line.startswith(f"m.onnx: node '{name}' ({op}")


def test_dynamic_spatial_shape(capsys: pytest.CaptureFixture[str]) -> None:
    weight = constant("w", np.ones((4, 3, 1, 1), np.float32))
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="conv")
    Path("m.onnx").write_bytes(model([node], [weight], shape=[1, 3, "h", "w"], output=[1, 4, "h", "w"]))
    (line,) = faults(capsys, "m.onnx")
    assert line.startswith("m.onnx: ") and "'x'" in line


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers(value: float, capsys: pytest.CaptureFixture[str]) -> None:
    weight = np.ones((4, 3, 1, 1), np.float32)
    weight[1, 2] = value
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="conv")
    Path("m.onnx").write_bytes(model([node], [constant("w", weight)], output=[1, 4, 8, 8]))
    (line,) = faults(capsys, "m.onnx")
    assert "w" in line and ("NaN" in line or "finite" in line or "infinite" in line)


def residual(tmp: Path) -> str:
    (tmp / "m.onnx").write_bytes(residual_model())
    return "m.onnx"


def test_calibration_file_is_absent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = faults(capsys, residual(tmp_path), "--calibration", "absent.npz", "--scheme", "dense")
    assert "absent.npz" in line


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"images": np.zeros((2, 3, 8, 8)), "masks": np.zeros((2, 3, 8, 8))}, ("images", "x")),
        ({"x": np.zeros((2, 8, 8, 3), np.float32)}, ("3,8,8", "8,8,3")),
        ({"x": np.zeros((2, 3, 9, 8), np.float32)}, ("3,8,8", "3,9,8")),
        ({"x": np.full((2, 3, 8, 8), np.nan, np.float32)}, ("finite",)),
        ({"x": np.array(["a", "b"])}, ("x",)),
    ],
    ids=["key", "layout", "shape", "nan", "strings"],
)
def test_calibration_that_does_not_fit(
    arrays: dict[str, Any], words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez("c.npz", **arrays)
    (line,) = faults(capsys, residual(tmp_path), "--calibration", "c.npz", "--scheme", "dense")
    assert line.startswith("c.npz: ") and all(word in line.replace(", ", ",") for word in words)


@pytest.mark.parametrize("data", [b"", b"no archive", b"PK\x03\x04" + bytes(40)])
def test_calibration_that_is_no_archive(data: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("c.npz").write_bytes(data)
    (line,) = faults(capsys, residual(tmp_path), "--calibration", "c.npz", "--scheme", "dense")
    assert line.startswith("c.npz: ")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('name = "x"\n', "missing parameter"),
        ('base = "esc1"\n[array]\nblocks = -1\n', "array.blocks"),
        ('base = "esc1"\n[array]\nbloks = 1\n', "array.bloks"),
        ("no toml", "not a TOML file"),
    ],
)
def test_wrong_target(text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("t.toml").write_text(text)
    (line,) = faults(capsys, residual(tmp_path), "--target", "t.toml")
    assert line.startswith("t.toml: ") and words in line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("builtin.module {", "m.mlir:1:"),
        ("builtin.module { onnx.Nothing }", "m.mlir:1:"),
        ("builtin.module {}", "no operation of any level"),
    ],
)
def test_wrong_ir_text(text: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("m.mlir").write_text(text)
    (line,) = faults(capsys, "m.mlir")
    assert words in line


def test_output_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = faults(capsys, residual(tmp_path), "--scheme", "dense", "-o", "no/such/folder/m.bin")
    assert "no/such/folder" in line


def test_model_of_the_future(capsys: pytest.CaptureFixture[str]) -> None:
    proto = onnx.load_model_from_string(residual_model())
    proto.opset_import[0].version = 99
    Path("m.onnx").write_bytes(proto.SerializeToString())
    (line,) = faults(capsys, "m.onnx")
    assert "99" in line


def test_every_line_names_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    """Whether the importer finds the fault, a pass behind it, or the calibration's file is at fault."""
    nodes = [helper.make_node("Softmax", ["x"], ["s"], name="soft", axis=1), helper.make_node("Relu", ["s"], ["y"])]
    Path("m.onnx").write_bytes(model(nodes, shape=(1, 4, 6, 6)))
    (line,) = faults(capsys, "m.onnx")
    assert line == "m.onnx: node 'soft' (Softmax): stands before other operators; requires an output of the model"
    Path("c.npz").write_bytes(b"no archive")
    Path("m.onnx").write_bytes(model([helper.make_node("Relu", ["x"], ["y"])], shape=(1, 4, 6, 6)))
    (line,) = faults(capsys, "m.onnx", "--calibration", "c.npz")
    assert line.startswith("c.npz: ")


def test_one_line_for_many_nodes_and_all_of_them_on_demand(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["x", *(f"t{i}" for i in range(9)), "y"]
    nodes = [helper.make_node("LSTM", [a], [b], name=f"n{a}") for a, b in itertools.pairwise(names)]
    Path("m.onnx").write_bytes(model(nodes, shape=(1, 4, 6, 6)))
    assert faults(capsys, "m.onnx") == ["m.onnx: 10 nodes (LSTM) 'nx', 'nt0', 'nt1' and 7 more: operator unsupported"]
    every = faults(capsys, "m.onnx", "-v")
    assert every == [f"m.onnx: node 'n{name}' (LSTM): operator unsupported" for name in names[:-1]]


def test_a_model_on_standard_input(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(residual_model())))
    (line,) = faults(capsys, "-", "-o", "m.bin")
    assert line == "stdin: is no IR text, the one thing that is read from standard input"
