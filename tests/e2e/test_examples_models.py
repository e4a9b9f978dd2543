"""The example networks: what is committed is what the scripts make, and is as accurate as its metadata says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "examples/models"


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


def test_images_are_distilled_from_the_committed_network(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    outputs = []
    for name in ("a", "b"):
        output = tmp_path / f"{name}.npz"
        command = [sys.executable, "-m", "examples.cifar10.distill", "--count", "10", "--steps", "12"]
        done = subprocess.run(
            [*command, "--output", str(output)], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        first, last = (float(line.split()[-1]) for line in done.stdout.splitlines())
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


def test_training_goes_on_from_a_checkpoint_with_the_same_result(data_dir: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("PIL")

    def train(name: str, *options: str) -> bytes:
        output = tmp_path / f"{name}.onnx"
        command = [sys.executable, "-m", "examples.cifar10.train", "--data", str(data_dir), "--limit", "64"]
        command += ["--batch-size", "32", "--output", str(output), "--device", "cpu", *options]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return output.read_bytes()

    whole = train("whole", "--epochs", "2", "--checkpoint", str(tmp_path / "a.pt"))
    train("half", "--epochs", "2", "--stop-after", "1", "--checkpoint", str(tmp_path / "b.pt"))
    assert train("rest", "--epochs", "2", "--checkpoint", str(tmp_path / "b.pt")) == whole
