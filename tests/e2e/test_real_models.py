"""The real models: compiled dense, bit-exact (emulator against the `esc` interpreter), as accurate as onnxruntime."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import data_dir

from escc.cli.compile import main
from escc.cli.emulate import main as emulate
from isa.container import read_elf

IMAGENET = ("mobilenet_v2_imagenet", "mobilenet_v2_imagenet_qdq", "squeezenet_imagenet_pruned")
CIFAR = ("resnet8_cifar10", "resnet8_cifar10_qdq", "resnet20_cifar10")


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str, int], Path]:
    """`inputs(model, split, limit)`: .npz of float inputs and labels as the data folder's own script prepares them."""
    folder = tmp_path_factory.mktemp("inputs")

    def prepare(name: str, split: str, limit: int) -> Path:
        path = folder / f"{name}-{split}-{limit}.npz"
        if not path.exists():
            script = data_dir() / "prepare.py"
            command = [sys.executable, str(script), name, str(path), "--split", split, "--limit", str(limit)]
            subprocess.run(command, check=True, capture_output=True)
        return path

    return prepare


def options(name: str, calibration: Path) -> list[str]:
    return [str(data_dir() / "models" / f"{name}.onnx"), "--calibration", str(calibration), "-q"]


@pytest.mark.parametrize("name", [*CIFAR, *IMAGENET])
def test_dense_is_bit_exact(
    name: str, inputs: Callable[[str, str, int], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calibration = inputs(name, "calib", 8)
    arguments = [*options(name, calibration), "--scheme", "dense", "--verify-numerics", "-o", str(tmp_path / "m.bin")]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    found = re.search(r"^emulator: (\d+) nodes and 1 output equal, bit for bit$", out, re.MULTILINE)
    assert found and int(found.group(1)) >= 8


def top1(onnx_file: Path, x: np.ndarray, y: np.ndarray) -> float:
    """Accuracy with onnxruntime, in percent."""
    ort = pytest.importorskip("onnxruntime")
    proto = onnx.load(onnx_file)
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    batch = session.get_inputs()[0].shape[0]
    step = len(x) if not isinstance(batch, int) else batch
    scores = np.concatenate(
        [session.run(None, {name: x[i : i + step]})[0].reshape(step, -1) for i in range(0, len(x), step)]
    )
    return 100 * float((scores.argmax(1) == y).mean())


class AccuracyOf:
    """Measures top-1 of compiled models against onnxruntime."""

    def __init__(self, inputs: Callable[[str, str, int], Path], folder: Path, capsys: pytest.CaptureFixture[str]):
        self._inputs = inputs
        self._folder = folder
        self._capsys = capsys
        self.compression = 0.0
        """Of the model measured last: bytes of float32 weights over those of .rodata."""

    def loss(self, name: str, scheme: Sequence[str], samples: int, images: int) -> float:
        """Points that a model loses."""
        binary = self._folder / "m.bin"
        calibration, test = self._inputs(name, "calib", samples), self._inputs(name, "test", images)
        assert main([*options(name, calibration), *scheme, "-o", str(binary)]) == 0
        program = read_elf(binary.read_bytes())
        self.compression = 4 * program.original_weights / len(program.rodata)
        self._capsys.readouterr()
        assert emulate([str(binary), "--eval", str(test), "-q", "--jobs", "1"]) == 0
        printed = re.search(r"top-1 ([\d.]+) %", self._capsys.readouterr().out)
        assert printed
        with np.load(test) as data:
            wanted = top1(data_dir() / "models" / f"{name}.onnx", data["x"], data["y"])
        return wanted - float(printed.group(1))


@pytest.fixture
def accuracy(inputs: Callable[[str, str, int], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> AccuracyOf:
    return AccuracyOf(inputs, tmp_path, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("name", CIFAR)
def test_dense_accuracy_cifar(name: str, accuracy: AccuracyOf) -> None:
    assert accuracy.loss(name, ["--scheme", "dense"], 256, 1017) <= 0.5


@pytest.mark.slow
@pytest.mark.parametrize("name", IMAGENET)
def test_dense_accuracy_imagenet(name: str, accuracy: AccuracyOf) -> None:
    assert accuracy.loss(name, ["--scheme", "dense"], 160, 128) <= 2


@pytest.mark.slow
def test_exported_model_is_as_accurate_in_onnxruntime(
    inputs: Callable[[str, str, int], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, exported, binary = "resnet20_cifar10", tmp_path / "small.onnx", tmp_path / "m.bin"
    arguments = [*options(name, inputs(name, "calib", 32)), "--scheme", "escalate", "--basis", "9", "--planes", "1"]
    assert main([*arguments, "--emit", "qdq", "-o", str(exported)]) == 0
    assert main([str(exported), "-o", str(binary)]) == 0
    assert "warning" not in capsys.readouterr().err
    test = inputs(name, "test", 1017)
    assert emulate([str(binary), "--eval", str(test), "-q", "--jobs", "1"]) == 0
    printed = re.search(r"top-1 ([\d.]+) %", capsys.readouterr().out)
    assert printed
    with np.load(test) as data:
        # Float32 sums move a few values by one step; of images between two classes some then go either way.
        assert abs(top1(exported, data["x"], data["y"]) - float(printed.group(1))) <= 0.3


@pytest.mark.slow
@pytest.mark.parametrize(
    "scheme, points, ratio",
    [
        ("escalate --basis 9 --planes 2", 0.5, 9),
        ("escalate --basis 9 --planes 1", 1.0, 18),
        ("auto --rate 0.5", 1.0, 17),
    ],
)
def test_decomposed_accuracy(accuracy: AccuracyOf, scheme: str, points: float, ratio: float) -> None:
    assert accuracy.loss("resnet20_cifar10", ["--scheme", *scheme.split()], 2048, 1017) <= points
    assert accuracy.compression >= ratio
