"""Weights in files beside the model: read from the model's own folder, and from nowhere else."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_graphs import model, node, random
from xdsl.dialects.builtin import ModuleOp

import escc
from dialects.interpreters.run import run_module
from escc.cli.compile import main
from escc.onnx_import import fingerprint, import_model
from isa.errors import UserError

WEIGHTS = random(4, 3, 1, 1)


def external(tensor: onnx.TensorProto, **entries: str | int) -> onnx.TensorProto:
    """The tensor with its data elsewhere."""
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def saved(folder: Path, **entries: str | int) -> Path:
    """A model of one Conv with its weights in another file, and that file, `data.bin`, behind 8 other bytes."""
    (folder / "data.bin").write_bytes(bytes(8) + WEIGHTS.tobytes())
    proto = model([node("Conv", ["x", "w"], ["y"])], [1, 3, 8, 8], {"w": WEIGHTS})
    external(proto.graph.initializer[0], **({"location": "data.bin", "offset": 8, "length": 48} | entries))
    onnx.save(proto, folder / "m.onnx")
    return folder / "m.onnx"


def in_function(folder: Path) -> Path:
    """The same with the weights in a Constant node of a function."""
    (folder / "data.bin").write_bytes(WEIGHTS.tobytes())
    tensor = external(onnx.numpy_helper.from_array(WEIGHTS, "w"), location="data.bin")
    nodes = [node("Constant", [], ["w"], value=tensor), node("Conv", ["a", "w"], ["b"])]
    function = helper.make_function("my", "F", ["a"], ["b"], nodes, [helper.make_opsetid("", 17)])
    proto = model([node("F", ["x"], ["y"], domain="my")], [1, 3, 8, 8])
    proto.functions.append(function)
    proto.opset_import.append(helper.make_opsetid("my", 1))
    onnx.save(proto, folder / "m.onnx")
    return folder / "m.onnx"


def same(module: ModuleOp) -> None:
    x = random(1, 3, 8, 8, seed=1)
    np.testing.assert_allclose(
        run_module(module, [x])[0], np.einsum("kc,nchw->nkhw", WEIGHTS[..., 0, 0], x), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("write", [saved, in_function])
def test_read_beside_the_model_wherever_the_command_runs(
    write: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, elsewhere = tmp_path / "model", tmp_path / "elsewhere"
    for path in (folder, elsewhere):
        path.mkdir()
    (elsewhere / "data.bin").write_bytes(bytes(56))
    path = write(folder)
    monkeypatch.chdir(elsewhere)
    same(import_model(path))
    monkeypatch.chdir(folder)
    same(import_model("m.onnx"))
    assert main(["-q", "m.onnx", "-o", "m.bin"]) == 0


def test_in_a_folder_below(tmp_path: Path) -> None:
    path = saved(tmp_path, location="weights/w.bin")
    (tmp_path / "weights").mkdir()
    (tmp_path / "data.bin").rename(tmp_path / "weights" / "w.bin")
    same(import_model(path))


def test_without_offset_and_length(tmp_path: Path) -> None:
    path = saved(tmp_path)
    proto = onnx.load(path, load_external_data=False)
    del proto.graph.initializer[0].external_data[1:]
    onnx.save(proto, path)
    (tmp_path / "data.bin").write_bytes(WEIGHTS.tobytes())
    same(import_model(path))


@pytest.mark.parametrize(
    ("entries", "what"),
    [
        ({"location": "/etc/hostname"}, "'/etc/hostname', an absolute path; requires a file beside the model"),
        ({"location": "C:/w.bin"}, "'C:/w.bin', an absolute path; requires a file beside the model"),
        ({"location": "../data.bin"}, "'../data.bin', outside the model's folder; requires a file beside the model"),
        ({"location": "a/../../b"}, "'a/../../b', outside the model's folder; requires a file beside the model"),
        ({"location": "..\\b"}, "'..\\b', outside the model's folder; requires a file beside the model"),
        ({"location": "link.bin"}, "'link.bin', through a link; requires a file beside the model"),
        ({"location": "links/data.bin"}, "'links/data.bin', through a link; requires a file beside the model"),
        ({"location": "gone.bin"}, "'gone.bin' cannot be read: No such file or directory"),
        ({"location": "folder"}, "'folder' cannot be read: Is a directory"),
        ({"location": "pipe"}, "'pipe', which is no regular file; requires one"),
        ({"location": ""}, "without the name of a file"),
        ({"location": "n" * 300}, f"'{'n' * 300}' cannot be read: File name too long"),
        ({"offset": 9}, "bytes 9 to 57 of 'data.bin', which has 56; requires external data inside the file"),
        ({"offset": 10**17}, "requires external data inside the file"),
        ({"offset": -1}, "with offset '-1'; requires a number of bytes"),
        ({"length": 40}, "40 bytes of external data for float [4,3,1,1]; requires 48"),
        ({"length": "9" * 30}, "requires a number of bytes"),
    ],
)
def test_what_is_refused(entries: dict[str, str | int], what: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "folder").mkdir(parents=True)
    path = saved(folder, **entries)
    (tmp_path / "data.bin").write_bytes(bytes(56))
    (folder / "link.bin").symlink_to(folder / "data.bin")
    (folder / "links").symlink_to(folder)
    os.mkfifo(folder / "pipe")
    with pytest.raises(UserError) as fault:
        import_model(path)
    (cause,) = fault.value.causes
    assert cause.startswith(f"{path}: tensor 'w': ")
    assert cause.endswith(what)
    assert "beside it" in fault.value.note


def test_more_external_data_than_a_model_may_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("escc.onnx_import.external.MAX_EXTERNAL_BYTES", 47)
    with pytest.raises(UserError, match="tensor 'w': external data are too large; requires at most 47 bytes together"):
        import_model(saved(tmp_path))


def test_a_fingerprint_covers_the_external_data(tmp_path: Path) -> None:
    path = saved(tmp_path)
    before = fingerprint(path)
    assert before == fingerprint(path)
    (tmp_path / "data.bin").write_bytes(bytes(56))
    assert fingerprint(path) != before


def inner(folder: Path) -> onnx.GraphProto:
    """A branch x + w, with w in the file w.bin as an initializer."""
    w = random(1, 4, 1, 1)
    (folder / "w.bin").write_bytes(w.tobytes())
    tensor = external(onnx.numpy_helper.from_array(w, "w"), location="w.bin")
    out = helper.make_tensor_value_info("sum", TensorProto.FLOAT, [1, 4, 8, 8])
    return helper.make_graph([node("Add", ["c", "w"], ["sum"])], "branch", [], [out], [tensor])


def test_in_a_graph_inside_a_node_that_the_host_runs(tmp_path: Path) -> None:
    branches = {name: inner(tmp_path) for name in ("then_branch", "else_branch")}
    nodes = [
        node("Conv", ["x", "v"], ["c"], "conv"),
        node("ReduceMax", ["c"], ["most"], "most", keepdims=0),
        node("Greater", ["most", "zero"], ["which"], "greater"),
        node("If", ["which"], ["y"], "if", **branches),
    ]
    proto = model(nodes, [1, 3, 8, 8], {"v": WEIGHTS, "zero": np.float32(0)})
    onnx.save(proto, tmp_path / "m.onnx")
    x = random(1, 3, 8, 8, seed=1)
    compiled = escc.compile(tmp_path / "m.onnx", x, "dense", host_fallback=True)
    (tmp_path / "w.bin").unlink()
    want = np.einsum("kc,nchw->nkhw", WEIGHTS[..., 0, 0], x) + random(1, 4, 1, 1)
    np.testing.assert_allclose(compiled.run(x), want, atol=0.05 * abs(want).max())
    with pytest.raises(UserError, match=r"tensor 'w': external data in 'w\.bin' cannot be read"):
        escc.compile(tmp_path / "m.onnx", x, "dense", host_fallback=True)
