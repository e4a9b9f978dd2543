"""`examples.cifar10.compress` from end to end, and the VGG-16 that it made."""

from __future__ import annotations

import lzma
import re
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_a_network_is_prepared_trained_and_finished(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("PIL")
    monkeypatch.syspath_prepend(str(ROOT))
    from examples.cifar10.compress import main

    common = ["--data", str(data_dir), "--cache", str(tmp_path / "cache")]
    start, out, model = tmp_path / "start", tmp_path / "small", tmp_path / "small.onnx"
    main(["prepare", str(data_dir / "models/resnet8_cifar10.onnx"), str(start), "--images", "16", *common])
    sizes = ["--limit", "100", "--validation", "20", "--batch", "16", "--every", "1", "--device", "cpu"]
    main(["train", str(start), str(out), "--ratios", "30", "--basis", "4", "--minutes", "0.05", *sizes, *common])
    main(["finish", str(start), f"{out}-30.npz", str(model)])
    found = re.search(r"([\d.]+)x fewer", capsys.readouterr().out)
    assert found is not None and float(found[1]) > 29


@pytest.mark.slow
def test_trained_resnet20_has_the_accuracy_that_is_stated(data_dir: Path, tmp_path: Path) -> None:
    ort = pytest.importorskip("onnxruntime")
    model = lzma.decompress((ROOT / "examples/models/resnet20_cifar10_trained.onnx.xz").read_bytes())
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    with np.load(data_dir / "images/cifar10_test.npz") as data:
        x, y = data["images"].transpose(0, 3, 1, 2).astype(np.float32), data["labels"]
    scores = np.concatenate([session.run(None, {"input": x[i : i + 100]})[0] for i in range(0, len(x), 100)])
    assert int((scores.argmax(1) == y).sum()) == pytest.approx(922, abs=2)


@pytest.mark.slow
def test_compressed_vgg16_has_the_bytes_and_the_accuracy_that_are_stated(data_dir: Path, tmp_path: Path) -> None:
    ort = pytest.importorskip("onnxruntime")
    from escc.cli.compile import main
    from isa.container import read_elf

    model, binary = tmp_path / "vgg16.onnx", tmp_path / "vgg16.bin"
    model.write_bytes(lzma.decompress((ROOT / "examples/models/vgg16_cifar10_compressed.onnx.xz").read_bytes()))
    assert main([str(model), "-q", "-o", str(binary)]) == 0
    program = read_elf(binary.read_bytes())
    assert 4 * program.original_weights >= 325 * len(program.rodata)
    session = ort.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    with np.load(data_dir / "images/cifar10_test.npz") as data:
        x, y = data["images"][:200].transpose(0, 3, 1, 2).astype(np.float32), data["labels"][:200]
    scores = np.concatenate(
        [session.run(None, {session.get_inputs()[0].name: x[i : i + 50]})[0] for i in range(0, 200, 50)]
    )
    assert int((scores.argmax(1) == y).sum()) == pytest.approx(177, abs=1)
