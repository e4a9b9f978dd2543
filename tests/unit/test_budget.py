"""Settings of layers that keep a budget, over really compiled networks."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from xdsl.dialects.builtin import ArrayAttr, StringAttr

from dialects.interpreters.run import main_function
from emulator.machine import Machine
from escc.accuracy import AccuracyCheck, output_error
from escc.budget import BudgetSearch, warn_of_few_images
from escc.budget_limit import Budget, Kind
from escc.cli.compile import main
from escc.compress import schemes
from escc.driver import encode, load, run_passes, to_program
from escc.irtext import make_context, parse_module
from escc.universe import ESCC_UNIVERSE
from isa.arrays import Arrays
from isa.container import read_elf
from isa.errors import UserError
from passes.decompose_conv import DecomposeConvPass
from passes.pipelines import PipelineOptions, build, to_text

TWO_INPUTS = """
func.func @main(%a: tensor<1x3x2x2xf32>, %b: tensor<1x3x2x2xf32>) -> tensor<1x3x2x2xf32>
    attributes {input_names = ["left", "right"]} {
  %0 = "onnx.Add"(%a, %b) : (tensor<1x3x2x2xf32>, tensor<1x3x2x2xf32>) -> tensor<1x3x2x2xf32>
  func.return %0 : tensor<1x3x2x2xf32>
}
"""


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier with two convolutions of noisy patterns, and data that it answers right by construction."""
    folder = tmp_path_factory.mktemp("budget")
    rng = np.random.default_rng(0)
    first = rng.standard_normal((16, 4, 3, 3)).astype(np.float32)
    second = rng.standard_normal((32, 16, 3, 3)).astype(np.float32) / 12
    last = rng.standard_normal((5, 32)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], "conv1", pads=[1] * 4),
        helper.make_node("Relu", ["a"], ["b"], "relu1"),
        helper.make_node("Conv", ["b", "w2"], ["c"], "conv2", pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["d"], "relu2"),
        helper.make_node("GlobalAveragePool", ["d"], ["e"], "pool"),
        helper.make_node("Flatten", ["e"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "w3"], ["y"], "fc", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 5])],
        [numpy_helper.from_array(w, n) for n, w in (("w1", first), ("w2", second), ("w3", last))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    onnx.save(model, folder / "m.onnx")
    from onnx.reference import ReferenceEvaluator

    x = rng.standard_normal((400, 4, 8, 8)).astype(np.float32)
    (scores,) = cast(list[np.ndarray], ReferenceEvaluator(model).run(None, {"x": x}))
    y = scores.argmax(axis=1)
    np.savez(folder / "labelled.npz", x=x, y=y)
    np.savez(folder / "unlabelled.npz", x=x)
    return folder


def compiled(folder: Path, *options: str) -> bytes:
    output = folder / "m.bin"
    data = str(folder / "labelled.npz")
    assert main([str(folder / "m.onnx"), "--calibration", data, "--samples", "64", "-o", str(output), *options]) == 0
    return output.read_bytes()


def found_pipeline(text: str) -> str:
    """The passes that -v printed."""
    (line,) = (line for line in text.splitlines() if "decompose-conv{" in line)
    return line.partition(": ")[2]


def test_bytes_are_kept_and_the_passes_give_the_same_binary(network: Path, capsys: pytest.CaptureFixture[str]) -> None:
    free = len(read_elf(compiled(network, "--scheme", "dense")).rodata)
    limit = int(0.6 * free)
    capsys.readouterr()
    found = compiled(network, "--max-bytes", str(limit), "-v")
    assert 0.8 * limit < len(read_elf(found).rodata) <= limit
    passes = found_pipeline(capsys.readouterr().err)
    assert 'layers="' in passes
    assert main([str(network / "m.onnx"), "--passes", passes, "-o", str(network / "again.bin")]) == 0
    assert (network / "again.bin").read_bytes() == found


def test_of_two_choices_that_keep_the_bytes_the_one_of_nearer_outputs_is_taken(
    network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    free = len(read_elf(compiled(network, "--scheme", "dense")).rodata)
    capsys.readouterr()
    found = read_elf(compiled(network, "--max-bytes", str(int(0.5 * free))))
    lines = [line for line in capsys.readouterr().err.splitlines() if "relative error" in line]
    errors = {line.rpartition(": ")[0]: float(line.split("relative error ")[1].split("%")[0]) for line in lines}
    assert len(errors) == 2 and any("all layers by auto:rate=" in text for text in errors)
    assert f"{len(found.rodata):,} bytes" in min(errors, key=errors.__getitem__)


def test_the_error_of_outputs_is_a_share_of_their_variance(network: Path) -> None:
    dense, other = (read_elf(compiled(network, "--scheme", s)) for s in ("dense", "escalate"))
    with np.load(network / "labelled.npz") as data:
        x = data["x"][:50]
    assert output_error(dense, dense, [x]) == 0
    a, b = (Machine(program).run([x]).outputs[0].astype(np.float64) for program in (dense, other))
    assert output_error(dense, other, [x]) == pytest.approx(((a - b) ** 2).sum() / ((a - a.mean(axis=0)) ** 2).sum())


@pytest.mark.slow
def test_a_mixture_is_compared_with_the_best_single_form(network: Path, capsys: pytest.CaptureFixture[str]) -> None:
    free = len(read_elf(compiled(network, "--scheme", "dense")).rodata)
    limit = int(0.5 * free)
    capsys.readouterr()
    found = compiled(network, "--scheme", "auto", "--forms", "kmeans,smartexchange", "--max-bytes", str(limit))
    lines = capsys.readouterr().err.splitlines()
    said = [line for line in lines if re.match(r"looking at what '(kmeans|smartexchange)' gives alone$", line)]
    assert len(said) == 1 and any(line.startswith("trial") for line in lines[lines.index(said[0]) + 1 :])
    pattern = r"^(.*) bytes of constants.*: relative error ([\d.]+)% of the outputs"
    compared = {m[1]: float(m[2]) for m in (re.match(pattern, line) for line in lines) if m}
    assert len(compared) >= 2
    assert f"{len(read_elf(found).rodata):,}" in min(compared, key=compared.__getitem__)


@pytest.mark.slow
def test_a_mixture_that_keeps_points_is_compared_with_the_best_single_form(
    network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = read_elf(compiled(network, "--forms", "kmeans,smartexchange", "--max-drop", "1"))
    text = capsys.readouterr().err
    assert re.search(r"^looking at what '(kmeans|smartexchange)' gives alone$", text, re.MULTILINE)
    trials = re.findall(
        r"^trial \d+: .*?([\d,]+) bytes of constants.* ([\d.-]+) \+- ([\d.]+) points", text, re.MULTILINE
    )
    kept = [int(size.replace(",", "")) for size, drop, e in trials if float(drop) + float(e) <= 1]
    assert len(found.rodata) == min(kept)


def test_what_cannot_be_kept_is_told_with_the_best_that_was_tried(
    network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--calibration", str(network / "labelled.npz"), "--samples", "64", "--forms", "kmeans,gs"]
    assert main([str(network / "m.onnx"), *options, "--max-bytes", "40", "-o", str(network / "none.bin")]) == 1
    text = capsys.readouterr().err
    sizes = [int(n.replace(",", "")) for n in re.findall(r"^trial \d+: .*?([\d,]+) bytes of", text, re.MULTILINE)]
    (told,) = re.findall(r"cannot be kept: the best found is .*?([\d,]+) bytes of", text)
    assert int(told.replace(",", "")) == min(sizes)


def test_a_network_that_is_small_enough_as_it_is_stays_dense(network: Path) -> None:
    assert compiled(network, "--max-bytes", "1M") == compiled(network, "--scheme", "dense")


@pytest.mark.parametrize("scheme", ["gs", "kmeans", "smartexchange", "circulant"])
def test_every_scheme_keeps_a_budget(network: Path, scheme: str, capsys: pytest.CaptureFixture[str]) -> None:
    free = len(read_elf(compiled(network, "--scheme", "dense")).rodata)
    found = compiled(network, "--scheme", scheme, "--max-bytes", str(int(0.8 * free)))
    assert len(read_elf(found).rodata) <= 0.8 * free
    assert "of 3 layers in other forms" in capsys.readouterr().err


def totals(binary: bytes) -> dict[str, Any]:
    """Totals of the sample of a binary on the emulator."""
    statistics = Machine(read_elf(binary)).run_sample(stats=True).statistics
    assert statistics is not None
    return statistics.data["totals"]


def cycles(binary: bytes) -> int:
    """Cycles of the sample of a binary on the emulator."""
    return totals(binary)["cycles"]


def test_a_piped_search_says_what_it_begins_unless_quiet(network: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compiled(network, "--max-drop", "100", "--scheme", "auto")
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("warning: ")]
    assert lines[0] == "measuring the network before compression"
    assert lines[1] == "looking at what each layer could be"
    assert "trial 1: compiling a choice" in lines
    assert lines[-2] == "compiling with what was found for --max-drop 100"
    compiled(network, "--max-bytes", "1M", "-q")
    assert all(line.startswith("warning: ") for line in capsys.readouterr().err.splitlines())


def test_cycles_are_kept(network: Path) -> None:
    slow, fast = (cycles(compiled(network, "--rate", "0", "--cycle-rate", rate)) for rate in ("0", "50"))
    limit = (slow + fast) // 2
    assert fast < limit < slow
    assert cycles(compiled(network, "--max-cycles", str(limit))) <= limit


def test_cycles_are_kept_on_the_machine_of_a_pipeline(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = tmp_path / "small.toml"
    small.write_text('base = "esc1"\nname = "small"\n[array]\nblocks = 4\n')
    data = ["--calibration", str(network / "labelled.npz"), "--samples", "64", "--target", str(small)]
    assert main([str(network / "m.onnx"), *data, "--dump-pass-pipeline"]) == 0
    passes = capsys.readouterr().out.strip()
    assert main([str(network / "m.onnx"), "-p", passes, "-o", str(tmp_path / "free.bin")]) == 0
    limit = round(0.8 * cycles((tmp_path / "free.bin").read_bytes()))
    options = ["--max-cycles", str(limit), "-o", str(tmp_path / "kept.bin")]
    assert main([str(network / "m.onnx"), "-p", passes, *options]) == 0
    assert cycles((tmp_path / "kept.bin").read_bytes()) <= limit


def test_energy_is_kept(network: Path) -> None:
    def joule(*options: str) -> float:
        return totals(compiled(network, *options))["energy_uj"]["total"]

    much, little = joule("--scheme", "dense"), joule("--rate", "50", "--cycle-rate", "50")
    limit = (much + little) / 2
    assert little < limit < much
    assert joule("--max-energy", str(limit)) <= limit


@pytest.mark.parametrize(
    "data, samples, what, images",
    [
        ("labelled", "64", "of top-1", 336),
        ("unlabelled", "64", "of answers changed", 336),
        ("labelled", "400", "of top-1", 400),  # no image is left over: each half is measured with the other
    ],
)
def test_the_drop_is_measured_on_unseen_images_and_kept(
    network: Path, capsys: pytest.CaptureFixture[str], data: str, samples: str, what: str, images: int
) -> None:
    options = ["--calibration", str(network / f"{data}.npz"), "--samples", samples]
    compiled(network, "--max-drop", "6", *options)
    pattern = rf"^trial \d+: .* ([\d.-]+) \+- ([\d.]+) points {what} on {images} images that the compression has not"
    drops = [float(drop) + float(e) for drop, e in re.findall(pattern, capsys.readouterr().err, re.MULTILINE)]
    assert drops and min(drops) <= 6


def test_of_choices_that_keep_the_drop_the_smallest_is_taken(network: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The choice of the dynamic programme, and one rate at all layers."""
    found = read_elf(compiled(network, "--scheme", "smartexchange", "--max-drop", "1"))
    text = capsys.readouterr().err
    pattern = r"^trial \d+: (.*?)([\d,]+) bytes of constants.* ([\d.-]+) \+- ([\d.]+) points"
    trials = re.findall(pattern, text, re.MULTILINE)
    kept = {int(size.replace(",", "")) for _, size, drop, e in trials if float(drop) + float(e) <= 1}
    assert len(found.rodata) == min(kept)
    assert any("all layers by smartexchange:rate=" in what for what, _, _, _ in trials)
    assert any("in other forms" in what for what, _, _, _ in trials)


def test_the_drop_is_measured_on_the_input_and_not_on_another_array(network: Path, tmp_path: Path) -> None:
    """Without compression the network answers right by construction, if it is asked about the images."""
    with np.load(network / "labelled.npz") as data:
        np.savez(tmp_path / "masked.npz", mask=np.zeros_like(data["x"]), image=data["x"], y=data["y"])
    module = load(make_context(), str(network / "m.onnx"))
    main_function(module).attributes["input_names"] = ArrayAttr([StringAttr("image")])
    for taken in (64, 400):
        check = AccuracyCheck(module, str(tmp_path / "masked.npz"), taken, 0)
        assert check._before.all()


def test_a_network_that_guesses_is_worth_a_warning(network: Path, tmp_path: Path) -> None:
    module = load(make_context(), str(network / "m.onnx"))
    with np.load(network / "labelled.npz") as data:
        np.savez(tmp_path / "wrong.npz", x=data["x"], y=np.random.default_rng(0).integers(0, 5, len(data["y"])))
    with pytest.warns(UserWarning, match=r"images right before compression, no more than guessing: look at the labels"):
        AccuracyCheck(module, str(tmp_path / "wrong.npz"), 64, 0)


def test_points_that_are_few_of_the_images_are_worth_a_warning() -> None:
    with pytest.warns(UserWarning, match=r"max-drop 1: that is 2.7 of the 272 images .* give 428 or more with --calib"):
        warn_of_few_images(Budget("drop", 1.0), 272, 128)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for points, images in ((1.0, 300), (6.0, 64), (0.0, 64)):
            warn_of_few_images(Budget("drop", points), images, 128)


def test_a_model_of_two_inputs_is_refused_by_their_names(network: Path, tmp_path: Path) -> None:
    module = parse_module(make_context(), TWO_INPUTS, "two.mlir")
    np.savez(tmp_path / "d.npz", left=np.zeros((4, 3, 2, 2)), right=np.zeros((4, 3, 2, 2)))
    with pytest.raises(UserError, match="--max-drop requires a model with one input; this one has 2: 'left', 'right'"):
        AccuracyCheck(module, str(tmp_path / "d.npz"), 2, 0)


@pytest.mark.parametrize("samples", [64, 400])
def test_images_in_memory_compile_as_those_of_a_file(network: Path, samples: int) -> None:
    """Of 64 samples the others measure the drop, of 400 each half measures the other."""
    with np.load(network / "labelled.npz") as data:
        arrays = Arrays(dict(data))
    registry, context = ESCC_UNIVERSE.all_passes, make_context()
    module = load(context, str(network / "m.onnx"))
    passes = build(registry, PipelineOptions(calibration=arrays, samples=samples))
    at = next(i for i, step in enumerate(passes) if isinstance(step, DecomposeConvPass))
    step = passes[at]
    assert isinstance(step, DecomposeConvPass)
    search = BudgetSearch(context, passes[:at], step, passes[at + 1 :], lambda text: None)
    found = search.run(module, Budget("drop", 6.0))
    run_passes(context, module, [found if p is step else p for p in passes])
    binary = encode(to_program(module), "bin")
    assert binary == compiled(network, "--max-drop", "6", "--samples", str(samples))


@pytest.mark.parametrize("kind, limit", [("bytes", 1500.0), ("drop", 6.0)])
def test_the_choice_that_is_kept_is_not_fitted_again(
    network: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind, limit: float
) -> None:
    """The last compilation gets the forms of the trial. They are those of the same settings asked for anew."""
    fits: list[int] = []
    fit = schemes.decompose_priced

    def counted(*args: Any, **options: Any) -> Any:
        fits.append(1)
        return fit(*args, **options)

    monkeypatch.setattr(schemes, "decompose_priced", counted)
    context = make_context()
    module = load(context, str(network / "m.onnx"))
    passes = build(ESCC_UNIVERSE.all_passes, PipelineOptions(calibration=str(network / "labelled.npz"), samples=64))
    at = next(i for i, step in enumerate(passes) if isinstance(step, DecomposeConvPass))
    step = passes[at]
    assert isinstance(step, DecomposeConvPass)
    found = BudgetSearch(context, passes[:at], step, passes[at + 1 :], lambda text: None).run(
        module, Budget(kind, limit)
    )
    assert any(text != "dense" for text in found.layers)
    anew = replace(step, layers=found.layers)
    assert to_text([found]) == to_text([anew])
    binaries: list[bytes | str] = []
    for used in (found, anew):
        fits.clear()
        compiled_module = module.clone()
        run_passes(context, compiled_module, [used if p is step else p for p in passes])
        binaries.append(encode(to_program(compiled_module), "bin"))
        assert bool(fits) == (used is anew)
    assert binaries[0] == binaries[1]


@pytest.mark.parametrize(
    "options, message",
    [
        (["--max-bytes", "20"], "--max-bytes 20 cannot be kept"),
        (["--max-cycles", "1"], "--max-cycles 1 cannot be kept"),
        (["--max-energy", "0.01"], "--max-energy 0.01 cannot be kept"),
    ],
)
def test_impossible_budgets_are_one_line(
    network: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert Budget("bytes", 1234567).flag == "--max-bytes 1234567"
    output = network / "none.bin"
    arguments = [str(network / "m.onnx"), "--calibration", str(network / "labelled.npz"), "--samples", "32"]
    assert main([*arguments, "-o", str(output), *options]) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and message in errors[0] and not output.exists()


def test_a_drop_needs_images(network: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(network / "m.onnx"), "--max-drop", "1", "-o", str(network / "none.bin")]) == 1
    assert "--max-drop needs images" in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--rate", "1"], ["--scheme", "dense"], ["--max-bytes", "9K"]])
def test_contradictions_are_usage_errors(network: Path, options: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([str(network / "m.onnx"), "--max-drop", "1", *options])
    assert stop.value.code == 2


def test_a_network_that_no_setting_changes_is_tried_once(network: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One that is decomposed already."""
    small = network / "small.onnx"
    options = ["--calibration", str(network / "labelled.npz"), "--samples", "64", "--rate", "0.5"]
    assert main([str(network / "m.onnx"), *options, "--emit", "qdq", "-o", str(small)]) == 0
    capsys.readouterr()
    for limit, code in (("100K", 0), ("10", 1)):
        assert main([str(small), "--max-bytes", limit, "-o", str(network / "small.bin")]) == code
        assert len(re.findall("^trial .* bytes of constants", capsys.readouterr().err, re.MULTILINE)) == 1
