"""The example networks: what is committed is what the scripts make, and is as accurate as its metadata says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "examples/models"
README = (MODELS / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", sorted(MODELS.glob("*.onnx")), ids=lambda p: p.name)
def test_models_are_valid_and_small(path: Path) -> None:
    onnx.checker.check_model(onnx.load(path), full_check=True)
    assert path.stat().st_size < 2 << 20


def test_tiny_conv_is_what_its_script_makes(tmp_path: Path) -> None:
    script = tmp_path / "make_tiny_conv.py"
    script.write_bytes((MODELS / "make_tiny_conv.py").read_bytes())
    subprocess.run([sys.executable, str(script)], check=True)
    assert (tmp_path / "tiny_conv.onnx").read_bytes() == (MODELS / "tiny_conv.onnx").read_bytes()


def test_calibration_images_look_to_the_network_like_their_classes() -> None:
    ort = pytest.importorskip("onnxruntime")
    session = ort.InferenceSession(str(MODELS / "resnet8_cifar10.onnx"), providers=["CPUExecutionProvider"])
    with np.load(MODELS / "calibration.npz") as data:
        x, y = data["x"], data["y"]
    assert x.shape == (100, 3, 32, 32) and x.dtype == np.float32
    assert np.array_equal(x, np.clip(np.rint(x), 0, 255))
    assert (session.run(None, {"input": x})[0].argmax(1) == y).mean() > 0.9


def test_images_are_distilled_from_the_committed_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    monkeypatch.syspath_prepend(str(ROOT))
    from examples.cifar10.distill import main

    outputs = []
    for name in ("a", "b"):
        output = tmp_path / f"{name}.npz"
        main(["--count", "10", "--steps", "12", "--output", str(output)])
        first, last = (float(line.split()[-1]) for line in capsys.readouterr().out.splitlines())
        assert last < first
        outputs.append(output.read_bytes())
    assert outputs[0] == outputs[1]


def test_resnet8_has_the_accuracy_that_it_states(data_dir: Path) -> None:
    ort = pytest.importorskip("onnxruntime")
    session = ort.InferenceSession(str(MODELS / "resnet8_cifar10.onnx"), providers=["CPUExecutionProvider"])
    with np.load(data_dir / "images/cifar10_test.npz") as data:
        x, y = data["images"].transpose(0, 3, 1, 2).astype(np.float32), data["labels"]
    top1 = float((session.run(None, {"input": x})[0].argmax(1) == y).mean())
    stated = float(session.get_modelmeta().custom_metadata_map["top1_lossless_test_1017"])
    assert abs(top1 - stated) < 0.002


def test_compressed_lenet5_has_the_bytes_and_the_accuracy_that_are_stated(data_dir: Path, tmp_path: Path) -> None:
    from emulator.evaluate import predict
    from emulator.machine import Machine
    from escc.cli.compile import main
    from isa.container import read_elf

    binary = tmp_path / "lenet.bin"
    assert main([str(MODELS / "lenet5_mnist_compressed.onnx"), "-q", "-o", str(binary)]) == 0
    program = read_elf(binary.read_bytes())
    stated = re.search(r"lenet5_mnist_compressed.* ([\d,]+) bytes of constants.* ([\d.]+) % of MNIST", README)
    assert stated is not None and len(program.rodata) == int(stated[1].replace(",", ""))
    assert 4 * program.original_weights >= 300 * len(program.rodata)
    with np.load(data_dir / "images/mnist_test.npz") as data:
        x, y = data["images"].reshape(-1, 1, 28, 28).astype(np.float32), data["labels"]
    assert 100 * float((predict(Machine(program), x, 1) == y).mean()) == pytest.approx(float(stated[2]), abs=0.005)


def test_training_goes_on_from_a_checkpoint_with_the_same_result(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("PIL")
    monkeypatch.syspath_prepend(str(ROOT))
    from examples.cifar10.train import main

    def train(name: str, checkpoint: str, *options: str) -> bytes:
        output = tmp_path / f"{name}.onnx"
        options = ("--epochs", "2", "--checkpoint", str(tmp_path / checkpoint), *options)
        sizes = ("--limit", "64", "--batch-size", "32")
        main(["--data", str(data_dir), *sizes, "--device", "cpu", "--output", str(output), *options])
        model = onnx.load(output)
        (seconds,) = (entry for entry in model.metadata_props if entry.key == "seconds")
        model.metadata_props.remove(seconds)  # how long the runs took differs
        return model.SerializeToString(deterministic=True)

    whole = train("whole", "a.pt")
    train("half", "b.pt", "--stop-after", "1")
    assert train("rest", "b.pt") == whole
