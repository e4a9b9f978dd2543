"""The Python interface: results equal to those of the commands, light imports, errors of one class."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from sample_models import residual_model

import emulator
import escc
from emulator.display import SourceText
from emulator.evaluate import MEASURED, Accuracy
from escc.cli import emulate
from escc.cli.compile import main as compile_main
from escc.samples import MOST_SAMPLES
from isa.arrays import npz

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "examples/models"
RESNET = MODELS / "resnet8_cifar10.onnx"
CALIBRATION = MODELS / "calibration.npz"
SMALL = residual_model()
X = np.random.default_rng(1).standard_normal((24, 3, 8, 8)).astype(np.float32)
Y = np.arange(24) % 10
TWO_BLOCKS = escc.Target(array={"blocks": 2})


@pytest.fixture(scope="module")
def small() -> escc.Compiled:
    return escc.compile(SMALL, X)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the small model, its calibration data, and what the command makes of them."""
    folder = tmp_path_factory.mktemp("api")
    (folder / "m.onnx").write_bytes(SMALL)
    (folder / "c.npz").write_bytes(npz({"x": X, "y": Y}))
    command = [str(folder / "m.onnx"), "--calibration", str(folder / "c.npz"), "-q"]
    assert compile_main([*command, "-o", str(folder / "m.bin"), "--report", str(folder / "m.json")]) == 0
    assert compile_main([*command, "-o", str(folder / "m.mlir"), "--emit", "esc"]) == 0
    return folder


def test_resnet8_is_the_binary_of_the_command_and_answers_as_it_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = dict(np.load(CALIBRATION))
    compiled = escc.compile(RESNET, {"x": data["x"]}, "dense", samples=8)
    compiled.save(tmp_path / "api.bin")
    command = [str(RESNET), "--calibration", str(CALIBRATION), "--scheme", "dense", "--samples", "8", "-q"]
    assert compile_main([*command, "-o", str(tmp_path / "cli.bin")]) == 0
    assert (tmp_path / "api.bin").read_bytes() == (tmp_path / "cli.bin").read_bytes() == compiled.binary
    shifted = (data["y"] + (np.arange(100) % 4 == 0)) % 10  # a quarter of the labels is wrong
    (tmp_path / "eval.npz").write_bytes(npz({"x": data["x"], "y": shifted}))
    capsys.readouterr()
    assert emulate.main([str(tmp_path / "cli.bin"), "--eval", str(tmp_path / "eval.npz")]) == 0
    found = compiled.accuracy(data["x"], shifted)
    best = [("top-1", found.top1, found.right), ("top-5", found.top5, found.among_best)]
    assert capsys.readouterr().out == "".join(f"{name} {100 * t:.2f} % ({n} of 100)\n" for name, t, n in best)
    assert 0.6 < found.top1 < found.top5 <= 1
    assert found.confusion.sum() == 100 and np.trace(found.confusion) == found.right


def test_everything_that_the_command_writes_is_at_hand(small: escc.Compiled, files: Path, tmp_path: Path) -> None:
    assert small.binary == (files / "m.bin").read_bytes()
    assert small.ir("esc") == (files / "m.mlir").read_text(encoding="utf-8")
    assert small.report() == {**json.loads((files / "m.json").read_text()), "model": "model"}
    small.report(tmp_path / "r.json")
    assert json.loads((tmp_path / "r.json").read_text()) == small.report()
    assert [layer.name for layer in small.layers] == [layer.name for layer in small.program.layers]
    assert json.loads(json.dumps([asdict(layer) for layer in small.layers])) == small.report()["layers"]
    for kind in ("onnx", "bfs", "eisa"):
        assert f"{kind}." in small.ir(kind)
    assert "conv" in small.ir("asm")
    assert any(node.op_type == "QuantizeLinear" for node in onnx.load_from_string(small.onnx()).graph.node)


def test_a_binary_of_ir_text_is_the_same_and_its_levels_can_be_read(small: escc.Compiled, files: Path) -> None:
    again = escc.compile(files / "m.mlir")
    assert again.binary == small.binary
    assert again.ir("esc") == small.ir("esc")
    with pytest.raises(escc.Error, match=r"holds no IR of level onnx; found esc, bfs, eisa, asm"):
        again.ir("onnx")


def batches(pairs: bool) -> Iterator[Any]:
    for n in range(0, len(X), 7):
        yield (X[n : n + 7], Y[n : n + 7]) if pairs else X[n : n + 7]


GIVEN: dict[str, Callable[[Path], Any]] = {
    "path": lambda folder: folder / "c.npz",
    "text": lambda folder: str(folder / "c.npz"),
    "by name": lambda folder: {"x": X.astype(np.float64)},
    "with labels": lambda folder: {"x": X, "y": Y},
    "batches": lambda folder: batches(False),
    "pairs": lambda folder: batches(True),
    "lists": lambda folder: [[x, int(y)] for x, y in zip(X, Y, strict=True)],
    "images": lambda folder: list(X),
    "mappings": lambda folder: [{"x": X[:20], "y": Y[:20]}, {"x": X[20:], "y": Y[20:]}],
}


@pytest.mark.parametrize("form", GIVEN)
def test_calibration_data_are_the_same_in_every_form(form: str, small: escc.Compiled, files: Path) -> None:
    dense = escc.compile(SMALL, X, "dense")
    assert dense.binary != small.binary
    assert escc.compile(SMALL, GIVEN[form](files), "dense").binary == dense.binary


def test_of_an_endless_loader_a_bounded_number_of_samples_is_taken() -> None:
    taken = 0

    def endless() -> Iterator[NDArray[np.float32]]:
        nonlocal taken
        while True:
            taken += 1
            yield X[:1].repeat(100, axis=0) * (1 + taken)

    escc.compile(SMALL, endless(), "dense")
    assert taken == -(-MOST_SAMPLES // 100)


def test_models_are_taken_in_every_form(small: escc.Compiled, files: Path) -> None:
    parsed = onnx.load_from_string(SMALL)
    for model in (parsed, files / "m.onnx", str(files / "m.onnx")):
        assert escc.compile(model, X).binary == small.binary


def test_without_calibration_data_a_warning_says_so() -> None:
    with pytest.warns(UserWarning, match="no calibration data") as found:
        escc.compile(SMALL, scheme="dense")
    assert {warning.filename for warning in found} == {__file__}  # the line that called, not one of the compiler


def test_what_is_printed_of_a_network_names_its_shapes_and_size(small: escc.Compiled) -> None:
    size = len(small.program.rodata)
    assert repr(small) == f"<Compiled {small.name}: 1x3x8x8 -> 1x10, 5 layers, {size:,} B of constants, target esc1>"


def test_a_budget_is_kept_and_its_trials_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("escc.budget_trials._MOST_TRIALS", 1)
    told: list[str] = []
    found = escc.compile(SMALL, X, max_bytes=4000, progress=told.append)
    assert len(found.program.rodata) <= 4000
    assert any(text.startswith("trial 1: ") for text in told) and "" not in told


def test_labels_serve_a_limit_of_accuracy(small: escc.Compiled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("escc.budget_trials._MOST_TRIALS", 1)
    answers = small.run(X).argmax(axis=1)
    told: list[str] = []
    escc.compile(SMALL, {"x": X, "y": answers}, max_drop=300, progress=told.append)
    assert any("points of top-1 on 24 images" in text for text in told)


def test_runs_are_those_of_the_machine(small: escc.Compiled) -> None:
    whole = small.run(X)
    assert whole.shape == (24, 10) and whole.dtype == np.float32
    np.testing.assert_array_equal(small.run(X[3]), whole[3:4])
    np.testing.assert_array_equal(small.run({"x": X.astype(np.float64)}), whole)
    np.testing.assert_array_equal(small.run(X.tolist()), whole)
    np.testing.assert_array_equal(small.run(), whole[:1])  # the sample in the binary is the first of the calibration
    assert list(small.run_all(X)) == ["y"]
    assert small.machine.run([X[:1]], stats=True).statistics.data == small.stats(X[:1]) == small.stats()
    several = small.stats(X)
    assert several["images"] == MEASURED == emulate._MEASURED
    assert several["totals"]["cycles"] == np.mean([small.stats(x)["totals"]["cycles"] for x in X[:MEASURED]])


def test_accuracy_counts_like_numpy(small: escc.Compiled) -> None:
    scores = small.run(X)
    found = small.accuracy(X, Y, jobs=2)
    order = np.argsort(-scores, axis=1, kind="stable")
    assert found.top1 == (order[:, 0] == Y).mean()
    assert found.top5 == (order[:, :5] == Y[:, None]).any(axis=1).mean()
    expected = np.zeros((10, 10), int)
    np.add.at(expected, (Y, order[:, 0]), 1)
    np.testing.assert_array_equal(found.confusion, expected)
    assert isinstance(found, Accuracy) and found.images == 24
    assert small.accuracy(X[0], [order[0, 0]]).top1 == 1


def test_equal_scores_are_ranked_by_class() -> None:
    """A network of zeros answers class 0 for every image, and 0 to 4 are its best five."""
    zeros = onnx.load_from_string(SMALL)
    for tensor in zeros.graph.initializer:
        tensor.raw_data = bytes(len(tensor.raw_data))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = escc.compile(zeros, X, "dense").accuracy(X, Y)
    assert found.right == (Y == 0).sum() and found.among_best == (Y < 5).sum()


def test_a_loaded_binary_runs_alike(small: escc.Compiled, tmp_path: Path) -> None:
    small.save(tmp_path / "m.bin")
    for loaded in (escc.load(tmp_path / "m.bin"), escc.load(small.binary)):
        np.testing.assert_array_equal(loaded.run(X), small.run(X))
        assert loaded.stats() == small.stats() and loaded.binary == small.binary
        assert [layer.packed_bytes for layer in loaded.layers] == [layer.packed_bytes for layer in small.layers]
        assert loaded.layers[0].density is None and small.layers[0].density is not None
        assert loaded.ir("asm") == small.ir("asm")
        with pytest.raises(escc.Error, match="holds no IR of level esc"):
            loaded.ir("esc")


def fresh(code: str, *arguments: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after `code`."""
    script = f"import sys\n{code}\nprint(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_imports_load_nothing_heavy(files: Path) -> None:
    heavy = {"numpy", "xdsl", "onnx", "torch", "numba", "lark", "tqdm", "PIL", "altair"}
    assert fresh("import escc, emulator\nescc.Error, dir(escc)") & heavy == set()
    assert fresh("import escc\nescc.Target('esc1', name='mine')") & heavy <= {"numpy"}
    run = "escc.load(sys.argv[1]).run()"
    assert fresh(f"import escc\n{run}", str(files / "m.bin")) & {"xdsl", "onnx", "torch"} == set()


def test_the_emulator_alone_runs_a_binary(small: escc.Compiled, files: Path) -> None:
    """Without compiler, xDSL and ONNX, which this interpreter refuses to import."""
    code = (
        "refused = ('xdsl', 'onnx', 'torch', 'escc', 'passes', 'dialects', 'lark')\n"
        "for name in refused: sys.modules[name] = None\n"
        "import emulator\n"
        "model = emulator.load(sys.argv[1])\n"
        "assert model.run().shape == (1, 10) and model.stats()['totals']['cycles'] > 0\n"
        "assert model.accuracy([[[[0.0] * 8] * 8] * 3] * 2, [0, 1]).images == 2\n"
    )
    fresh(code, str(files / "m.bin"))
    assert emulator.load(files / "m.bin").run().tolist() == small.run().tolist()
    assert emulator.Error is escc.Error


@pytest.mark.parametrize("again", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copied", "pickled"])
def test_a_model_travels(small: escc.Compiled, again: Callable[[Any], Any]) -> None:
    """To another process, say: what it computes and what is known of its layers, without the IR."""
    found = again(small)
    assert found.binary == small.binary and found.layers == small.layers and repr(found) == repr(small)
    assert found.run(X[:2]).tolist() == small.run(X[:2]).tolist()
    with pytest.raises(escc.Error, match="holds no IR of level esc"):
        found.ir("esc")
    plain = again(emulator.load(small.binary))
    assert plain.run(X[:2]).tolist() == small.run(X[:2]).tolist()


def test_targets_have_changed_fields(small: escc.Compiled, tmp_path: Path) -> None:
    target = escc.Target("esc1", array={"blocks": 2}, energy={"sram_read_byte": {"act": 0.5}}, name="narrow")
    base = escc.Target()
    assert target.array == replace(base.array, blocks=2) and target.name == "narrow"
    assert target.energy.sram_read_byte == replace(base.energy.sram_read_byte, act=0.5)
    assert target.dram == base.dram and base == escc.Target("esc1") and replace(base, name="narrow") != target
    (tmp_path / "t.toml").write_text('base = "esc1"\nname = "narrow"\n[array]\nblocks = 2\n')
    assert escc.Target(tmp_path / "t.toml").array == target.array == escc.Target(target).array
    cycles = {blocks: escc.compile(SMALL, X, target=escc.Target(array={"blocks": blocks})) for blocks in (1, 2)}
    assert cycles[1].stats()["totals"]["cycles"] > cycles[2].stats()["totals"]["cycles"]
    assert cycles[2].program.target.array.blocks == 2
    (tmp_path / "u.toml").write_text(escc.Target(array={"blocks": 2}).text)
    assert escc.compile(SMALL, X, target=tmp_path / "u.toml").binary == cycles[2].binary


def test_numbers_of_numpy_are_taken_for_those_of_python(small: escc.Compiled) -> None:
    options: dict[str, Any] = {"basis": np.int64(3), "rate": np.float32(0.25), "seed": np.uint8(2)}
    shape = cast(Any, np.array([1, 3, 8, 8]))
    found = escc.compile(SMALL, X, "escalate", escc.Target(array={"blocks": np.int32(2)}), input_shape=shape, **options)
    assert found.binary == escc.compile(SMALL, X, "escalate", TWO_BLOCKS, basis=3, rate=0.25, seed=2).binary
    assert escc.compile(SMALL, X, max_bytes=cast(Any, np.int64(1 << 20))).program.layers
    with pytest.raises(escc.Error, match="basis is 0; requires an integer of at least 1"):
        escc.compile(SMALL, X, basis=cast(Any, np.int64(0)))
    with pytest.raises(escc.Error, match="must be of type int, found True"):
        escc.Target(array={"blocks": True})


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        (lambda: escc.Target(array={"blocks": 0}), "target: 'array.blocks' must be in 1..1024, found 0"),
        (lambda: escc.Target(array={"bloks": 1}), "target: unknown parameter 'array.bloks'; did you mean"),
        (lambda: escc.Target(dram={"tREFI": 1}), "target: 'dram.tREFI' must exceed dram.tRFCab"),
        (lambda: escc.Target("esc7"), "unknown target 'esc7'"),
        (lambda: escc.Target("x" * 999), "unknown target 'xxx.*: File name too long"),
        (lambda: escc.Target(cast(Any, X)), r"base is ndarray of float32\[24, 3, 8, 8\]; requires a name"),
        (lambda: escc.Target(array={"blocks": X}), "'array.blocks' must be of type int, found ndarray of float32"),
        (lambda: escc.compile("no.onnx", X), "no.onnx: No such file or directory"),
        (lambda: escc.compile(SMALL, "no.npz"), "no.npz: No such file or directory"),
        (lambda: escc.compile(SMALL, X[:, :2]), r"calibration: array 'x' is float32\[24,2,8,8\]; input 'x' requires"),
        (lambda: escc.compile(SMALL, [X, X[:, :2]]), r"calibration: batch 1: 'x' has the shape \[24, 2, 8, 8\]"),
        (lambda: escc.compile(SMALL, [X, {"z": X}]), "calibration: batch 1 holds 'z', batch 0 'x'"),
        (lambda: escc.compile(SMALL, [(X, Y[:3])]), "calibration: batch 0 holds different numbers of samples"),
        (lambda: escc.compile(SMALL, []), "calibration: holds no batch"),
        (lambda: escc.compile(SMALL, iter([X, X / 0 * np.nan])), "calibration: array 'x' holds NaN or infinite values"),
        (lambda: escc.compile(SMALL, {"y": Y}), "calibration: holds no input"),
        (lambda: escc.compile(SMALL, 3), "calibration: found int; requires a file, an array"),
        (lambda: escc.compile(cast(Any, 3), X), "model: found int; requires a file, bytes, an onnx.ModelProto"),
        (lambda: escc.compile(b"", X), "model: the file is empty"),
        (lambda: escc.compile(SMALL, X, "no"), "scheme"),
        (lambda: escc.compile(SMALL, X, max_drop=1, max_bytes=5), "max_drop and max_bytes exclude each other"),
        (lambda: escc.compile(SMALL, X, max_bytes=500, rate=0.1), "a budget .* finds the rates"),
        (lambda: escc.compile(SMALL, X, rate=-1), "rate is -1; requires a number of at least 0"),
        (lambda: escc.compile(SMALL, X, basis=True), "basis is True; requires an integer of at least 1"),
        (lambda: escc.compile(SMALL, X, image_std=[0.0]), "no divisor 0"),
        (lambda: escc.compile(SMALL, X, image_mean=cast(Any, 3)), "image_mean is 3; requires finite numbers"),
        (lambda: escc.compile(SMALL, X, image_mean=cast(Any, "abc")), "image_mean is 'abc'; requires finite numbers"),
        (lambda: escc.compile(SMALL, X, cast(Any, 3)), "scheme is 3; requires the name of a scheme"),
        (lambda: escc.compile(SMALL, X, target=cast(Any, 3)), "target is 3; requires a name, a file or"),
        (lambda: escc.compile(SMALL, X, scheme_options=cast(Any, ["k"])), r"scheme_options is \['k'\]; requires"),
        (lambda: escc.compile(SMALL, X, input_shape=cast(Any, {"x": 3})), "input_shape is .*; requires extents"),
        (lambda: escc.compile(SMALL, X, host_fallback=cast(Any, "no")), "host_fallback is 'no'; requires True"),
        (lambda: escc.compile(SMALL, X, progress=cast(Any, 3)), "progress is 3; requires a function"),
        (lambda: escc.compile(SMALL, X, progress=cast(Any, X)), r"progress is ndarray of float32\[24, 3, 8, 8\]; "),
        (lambda: escc.compile(SMALL, X, range=cast(Any, X)), r"range is ndarray of float32.*; requires one of mse, "),
        (lambda: escc.compile(SMALL, X, range=cast(Any, "max")), "range is 'max'; requires one of mse, minmax, perc"),
        (lambda: escc.compile(SMALL, X, percentile=50), "percentile is 50; requires a number above 50 and up to 100"),
        (lambda: escc.compile(SMALL, X, basis=10**30), "basis is 1000.*; requires an integer of at most 2147483647"),
        (lambda: escc.compile(SMALL, X, max_bytes=1 << 60), "max_bytes is .*; requires an integer of at most"),
        (lambda: escc.compile(SMALL, X, scheme_options={"levels": X}), "scheme_options is .*; requires texts or num"),
        (lambda: escc.compile(SMALL, X, image_mean=cast(Any, "")), "image_mean is ''; requires finite numbers"),
        (lambda: escc.compile(SMALL, X, samples=cast(Any, "s" * 999)), r"samples is .{80}; requires an integer"),
        (lambda: escc.compile(SMALL, X, percentile=cast(Any, "a")), "percentile is 'a'; requires a number"),
        (lambda: escc.compile(SMALL, X, input_shape=(1, 3, 9, 9)), "input 'x' has shape .* is given"),
        (lambda: escc.compile(SMALL, X, input_shape={"z": (1, 3, 8, 8)}), "the model has no input 'z'"),
        (lambda: escc.load("no.bin"), "no.bin: No such file or directory"),
        (lambda: escc.load(b"\x7fELF"), "binary: "),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore")
def test_errors_are_of_one_class_and_name_what_was_given(make: Callable[[], object], cause: str) -> None:
    with pytest.raises(escc.Error, match=cause) as caught:
        make()
    assert "/escc-" not in str(caught.value)


def test_every_cause_and_the_note_are_at_hand() -> None:
    with pytest.raises(escc.Error) as caught:
        escc.compile(SMALL, X, basis=0, planes=cast(Any, 0.5))
    assert caught.value.causes == (
        "basis is 0; requires an integer of at least 1",
        "planes is 0.5; requires an integer of at least 1",
    )
    with pytest.raises(escc.Error) as caught:
        escc.compile(SMALL, max_drop=1.0)
    assert caught.value.note and caught.value.__notes__ == [f"note: {caught.value.note}"]
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.causes, again.note) == (caught.value.causes, caught.value.note)


def test_ir_text_that_does_not_parse_is_an_error_of_the_same_class(tmp_path: Path) -> None:
    (tmp_path / "m.mlir").write_text("func.func {")
    with pytest.raises(escc.Error, match=r"m.mlir:1:\d+") as caught:
        escc.compile(tmp_path / "m.mlir")
    assert caught.value.note == "the IR text does not parse"


def test_inputs_that_do_not_fit_are_refused(small: escc.Compiled) -> None:
    refused: dict[str, Callable[[], object]] = {
        r"input 'x': shape \[1, 3, 8\] does not fit; requires \[N, 3, 8, 8\]": lambda: small.run(X[:1, :, :, 0]),
        "inputs given: 'z'; requires 'x'": lambda: small.run({"z": X}),
        "input 'x': not an array of numbers": lambda: small.run([[1.0], [1.0, 2.0]]),
        "input 'x': elements of type <U1": lambda: small.run(["a"]),
        r"y is float64\[24\]; requires integers \[24\]": lambda: small.accuracy(X, Y / 2),
        r"1 of 24 labels are outside \[0, 10\)": lambda: small.accuracy(X, np.where(np.arange(24) == 5, 10, Y)),
        "jobs is 0": lambda: small.accuracy(X, Y, jobs=0),
        "jobs is ndarray of float32": lambda: small.accuracy(X, Y, jobs=cast(Any, X)),
        "jobs is 1.5; requires an integer": lambda: small.accuracy(X, Y, jobs=cast(Any, 1.5)),
        r"input 'x' is ndarray of int64\[\]; requires \[N,3,8,8\]": lambda: small.accuracy(3, Y),
        "kind is ndarray of float32": lambda: small.ir(cast(Any, X)),
        "requires a file name ending in .json or .html": lambda: small.report("report.txt"),
        "there is no 'llvm' to read": lambda: small.ir("llvm"),  # pyright: ignore[reportArgumentType]
    }
    for cause, call in refused.items():
        with pytest.raises(escc.Error, match=cause):
            call()


def test_an_only_input_of_dynamic_extents_gets_its_shape() -> None:
    dynamic = onnx.load_model_from_string(SMALL)
    extents = dynamic.graph.input[0].type.tensor_type.shape.dim
    extents[2].dim_param, extents[3].dim_param = "h", "w"
    data = dynamic.SerializeToString()
    with pytest.raises(escc.Error, match="dimension 2 is dynamic"):
        escc.compile(data, X, "dense")
    for shape in ((1, 3, 8, 8), {"x": (1, 3, 8, 8)}):
        assert escc.compile(data, X, "dense", input_shape=shape).binary == escc.compile(SMALL, X, "dense").binary


def test_pandas_takes_the_records_as_they_are(small: escc.Compiled) -> None:
    pandas = pytest.importorskip("pandas")
    layers = pandas.DataFrame(small.layers)
    assert list(layers["name"]) == [layer.name for layer in small.layers]
    assert layers["packed_bytes"].sum() == small.report()["totals"]["packed_bytes"]
    figures = pandas.DataFrame(small.stats()["layers"])
    assert abs(figures["cycles"].sum() - small.stats()["totals"]["cycles"]) < 1


def test_notebooks_show_tables_and_texts(small: escc.Compiled) -> None:
    shown = cast(Any, small)._repr_html_()
    assert shown.count("<tr>") == len(small.layers) + 2 and "total" in shown and "5 layers" in shown
    assert all(f">{layer.name}</td>" in shown for layer in small.layers)
    stats = cast(Any, small.stats())._repr_html_()
    assert "waits for" in stats and "images/s" in stats and json.loads(json.dumps(small.stats())) == small.stats()
    accuracy = cast(Any, small.accuracy(X, Y))._repr_html_()
    assert accuracy.count("<tr>") == 11 and "top-1" in accuracy
    text = small.ir("esc")
    short = cast(Any, text)._repr_html_()
    assert isinstance(text, str) and len(short) < len(text) and "esc.requantize" in short and "bytes" in short
    assert ">.producer" in cast(Any, small.ir("asm"))._repr_html_()


def test_long_texts_are_shown_shortened() -> None:
    assert "... 600 more lines" in cast(Any, SourceText("x\n" * 1000))._repr_html_()
    rows = "\n".join([".rodata", "ab" * 64, "cd" * 64, "ef" * 3, ".text"])
    assert f"\n{'ab' * 9}... 131 bytes\n.text" in cast(Any, SourceText(rows))._repr_html_()
    assert "0xabababababababab... 64 bytes>" in cast(Any, SourceText(f"<0x{'ab' * 64}>"))._repr_html_().replace(
        "&gt;", ">"
    )


def test_names_are_shown_and_never_read_as_markup(small: escc.Compiled) -> None:
    layers = [replace(layer, name="<b>&") for layer in small.program.layers]
    renamed = escc.Compiled(replace(small.program, layers=tuple(layers)))
    for shown in (cast(Any, renamed)._repr_html_(), cast(Any, renamed.stats())._repr_html_()):
        assert "<b>" not in shown and "&lt;b&gt;&amp;" in shown


def test_every_argument_is_explained() -> None:
    text = escc.compile.__doc__ or ""
    missing = [name for name in inspect.signature(escc.compile).parameters if f"`{name}`" not in text]
    assert not missing


def test_a_percentile_without_its_range_is_told() -> None:
    with pytest.warns(UserWarning, match="^percentile has no effect: it belongs to range='percentile'$"):
        escc.compile(SMALL, X, "dense", percentile=99)


def test_the_page_names_every_parameter() -> None:
    page = (Path(__file__).parents[2] / "docs/api.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    named = set(re.findall(r"`(\w+)`", " ".join(rows)))
    assert set(inspect.signature(escc.compile).parameters) <= named
