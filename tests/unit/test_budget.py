"""The search for a rate that keeps a budget: over made-up measurements, and over really compiled networks."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from xdsl.dialects.builtin import ArrayAttr, StringAttr

from dialects.interpreters.run import main_function
from emulator.machine import Machine
from escc.budget import LEAST_RATE, MOST_RATE, AccuracyCheck, Budget, BudgetSearch, Trial, find_rate, nearest_rate
from escc.cli.compile import main
from escc.driver import encode, load, run_passes, to_program
from escc.irtext import make_context, parse_module
from escc.universe import ESCC_UNIVERSE
from isa.arrays import Arrays
from isa.container import read_elf
from isa.errors import UserError
from passes.decompose_conv import DecomposeConvPass
from passes.pipelines import PipelineOptions, build

TWO_INPUTS = """
func.func @main(%a: tensor<1x3x2x2xf32>, %b: tensor<1x3x2x2xf32>) -> tensor<1x3x2x2xf32>
    attributes {input_names = ["left", "right"]} {
  %0 = "onnx.Add"(%a, %b) : (tensor<1x3x2x2xf32>, tensor<1x3x2x2xf32>) -> tensor<1x3x2x2xf32>
  func.return %0 : tensor<1x3x2x2xf32>
}
"""


@given(st.floats(-3.0, 2.0), st.floats(0.3, 3.0), st.booleans())
def test_the_rate_found_keeps_the_limit_and_is_near_it(crossing: float, slope: float, rising: bool) -> None:
    """Measurements that follow a power law cross the limit at 10^crossing."""
    tried: list[float] = []

    def trial(rate: float) -> Trial:
        tried.append(rate)
        exponent = slope if rising else -slope
        return Trial(rate, 100.0 * (rate / 10**crossing) ** exponent, "")

    found = find_rate(Budget("drop" if rising else "bytes", 100.0), trial)
    assert found.value <= 100.0 and LEAST_RATE <= found.rate <= MOST_RATE
    assert len(tried) <= 9 and len(set(tried)) == len(tried)
    assert abs(math.log(found.rate / 10**crossing)) < math.log(2)


@given(st.floats(-3.0, 2.0), st.floats(0.3, 1.0))
def test_the_rate_nearest_to_a_size_may_lie_on_either_side(crossing: float, slope: float) -> None:
    sizes: list[float] = []

    def trial(rate: float) -> Trial:
        sizes.append(1000.0 * (rate / 10**crossing) ** -slope)
        return Trial(rate, sizes[-1], "")

    found = nearest_rate(Budget("bytes", 1000.0), trial)
    assert abs(math.log(found.value / 1000)) == min(abs(math.log(size / 1000)) for size in sizes)
    assert 0.5 < found.value / 1000 < 2


def test_what_cannot_be_reached_is_approached() -> None:
    assert nearest_rate(Budget("bytes", 5), lambda rate: Trial(rate, 9 + 1 / rate, "")).rate > 100


@pytest.mark.parametrize("kind", ["drop", "bytes", "cycles", "energy"])
def test_a_budget_that_nothing_keeps_is_refused(kind: str) -> None:
    with pytest.raises(UserError, match=rf"--max-{kind} 5 cannot be kept: the best found is rate"):
        find_rate(Budget(kind, 5), lambda rate: Trial(rate, 9.0, f"rate {rate:g}"))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["drop", "bytes", "cycles", "energy"])
def test_a_budget_that_everything_keeps_takes_the_end_it_may(kind: str) -> None:
    budget = Budget(kind, 5)  # type: ignore[arg-type]
    found = find_rate(budget, lambda rate: Trial(rate, 1.0, ""))
    assert found.rate > 100 if budget.safe_is_low else found.rate < 1e-3


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


def test_bytes_are_kept_and_the_rate_gives_the_same_binary(network: Path, capsys: pytest.CaptureFixture[str]) -> None:
    free = len(read_elf(compiled(network, "--rate", "0")).rodata)
    limit = int(0.6 * free)
    capsys.readouterr()
    found = compiled(network, "--max-bytes", str(limit))
    assert 0.5 * limit < len(read_elf(found).rodata) <= limit
    tried = re.findall(r"^rate (\S+): ([\d,]+) bytes", capsys.readouterr().err, re.MULTILINE)
    size = len(read_elf(found).rodata)
    rates = [rate for rate, nbytes in tried if int(nbytes.replace(",", "")) == size]
    assert rates and compiled(network, "--rate", rates[-1], "--cycle-rate", "0") == found


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
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "measuring the network before compression"
    assert re.fullmatch(r"trial 1 of at most \d+: rate 0\.4", lines[1]) and lines[2].startswith("rate 0.4: ")
    said = [line for line in lines if not line.startswith("warning: ")]
    assert said[-2] == "compiling with the rate found for --max-drop 100"
    assert len([line for line in lines if line.startswith("trial ")]) == len(
        [line for line in lines if line.startswith("rate ")]
    )
    compiled(network, "--max-bytes", "1M", "-q")
    assert all(line.startswith("warning: ") for line in capsys.readouterr().err.splitlines())


def test_cycles_are_kept(network: Path) -> None:
    slow, fast = (cycles(compiled(network, "--rate", "0", "--cycle-rate", rate)) for rate in ("0", "50"))
    limit = (slow + fast) // 2
    assert fast < limit < slow
    assert cycles(compiled(network, "--max-cycles", str(limit))) <= limit


def test_energy_is_kept_and_the_rate_gives_the_same_binary(network: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def joule(*options: str) -> float:
        return totals(compiled(network, *options))["energy_uj"]["total"]

    much, little = (joule("--rate", rate, "--cycle-rate", rate) for rate in ("0", "50"))
    limit = (much + little) / 2
    assert little < limit < much
    capsys.readouterr()
    found = compiled(network, "--max-energy", str(limit))
    energy = totals(found)["energy_uj"]["total"]
    assert energy <= limit
    tried = re.findall(r"^rate (\S+): .*, ([\d.]+) uJ$", capsys.readouterr().err, re.MULTILINE)
    (rate,) = {rate for rate, uj in tried if uj == f"{energy:,.5g}"}
    assert compiled(network, "--rate", rate, "--cycle-rate", rate) == found


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
    found = compiled(network, "--max-drop", "6", *options)
    pattern = rf"^rate (\S+): .* ([\d.-]+) \+- ([\d.]+) points {what} on {images} images that the compression has not"
    drops = {
        rate: float(drop) + float(e) for rate, drop, e in re.findall(pattern, capsys.readouterr().err, re.MULTILINE)
    }
    chosen = [rate for rate in drops if compiled(network, "--rate", rate, "--cycle-rate", "0", *options) == found]
    assert chosen and all(drops[rate] <= 6 for rate in chosen)


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


def test_a_network_that_no_rate_changes_is_tried_once(network: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One that is decomposed already."""
    small = network / "small.onnx"
    options = ["--calibration", str(network / "labelled.npz"), "--samples", "64", "--rate", "0.5"]
    assert main([str(network / "m.onnx"), *options, "--emit", "qdq", "-o", str(small)]) == 0
    capsys.readouterr()
    for limit, code in (("100K", 0), ("10", 1)):
        assert main([str(small), "--max-bytes", limit, "-o", str(network / "small.bin")]) == code
        assert len(re.findall("^rate ", capsys.readouterr().err, re.MULTILINE)) == 1
