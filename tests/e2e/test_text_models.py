"""Trained models for text from a package (the extra `models`): PP-OCRv4's detector and a classifier of angles."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import escc
from escc.cli.compile import main

PACKAGE = importlib.util.find_spec("rapidocr_onnxruntime")
pytestmark = pytest.mark.skipif(PACKAGE is None, reason="needs the trained models: pip install '.[models]'")
WORDS = ("compiler", "sparse", "kernel", "basis", "stream", "memory", "energy", "2024", "3.14", "OPEN", "EXIT", "total")
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])

Array = np.ndarray[Any, np.dtype[Any]]


def model(name: str) -> Path:
    """A model of the package; skips the test if this version has none of that name."""
    assert PACKAGE is not None and PACKAGE.origin is not None
    path = Path(PACKAGE.origin).parent / "models" / name
    if not path.exists():
        pytest.skip(f"rapidocr_onnxruntime holds no {name}")
    return path


def picture(seed: int, width: int, height: int, lines: int) -> Any:
    """Dark words on a light ground."""
    image, draw, font = (pytest.importorskip(f"PIL.{part}") for part in ("Image", "ImageDraw", "ImageFont"))
    rng = np.random.default_rng(seed)
    drawn = image.new("RGB", (width, height), tuple(int(v) for v in rng.integers(160, 256, 3)))
    step = height // lines
    for i in range(lines):
        ink = tuple(int(v) for v in rng.integers(0, 90, 3))
        place = int(rng.integers(2, 12)), i * step + int(rng.integers(1, 4))
        letters = font.load_default(int(step * rng.uniform(0.55, 0.75)))
        draw.Draw(drawn).text(place, " ".join(rng.choice(WORDS, 2)), font=letters, fill=ink)
    return drawn


def detected(y: Array) -> set[tuple[int, ...]]:
    """Boxes [top, left, bottom, right] of the connected parts of a map [H, W] above 0.3."""
    left = {(int(r), int(c)) for r, c in np.argwhere(y > 0.3)}
    boxes: set[tuple[int, ...]] = set()
    while left:
        part, todo = set[tuple[int, int]](), [left.pop()]
        while todo:
            r, c = todo.pop()
            part.add((r, c))
            near = {(r + 1, c), (r - 1, c), (r, c + 1), (r, c - 1)} & left
            left -= near
            todo += near
        if len(part) > 24:
            rows, columns = zip(*part, strict=True)
            boxes.add((min(rows), min(columns), max(rows), max(columns)))
    return boxes


def runs(name: str, x: Array, calibration: Array, folder: Path) -> tuple[Array, Array]:
    """What the machine and onnxruntime make of x; the compilation verifies every level, bit for bit."""
    np.savez(folder / "data.npz", x=calibration)
    shape = ",".join(map(str, (1, *x.shape[1:])))
    arguments = [str(model(name)), "--input-shape", f"x={shape}", "--calibration", str(folder / "data.npz")]
    arguments += ["--scheme", "dense", "--verify-numerics", "-q", "-o", str(folder / "model.bin")]
    assert main(arguments) == 0
    session = onnxruntime.InferenceSession(str(model(name)), providers=["CPUExecutionProvider"])
    return escc.load(folder / "model.bin").run(x), np.asarray(session.run(None, {"x": x})[0])


def test_text_detector(tmp_path: Path) -> None:
    pages = [picture(seed, 160, 160, 5) for seed in range(11)]
    pixels = np.stack([np.asarray(page, np.float64)[:, :, ::-1] / 255 for page in pages])
    x = ((pixels - MEAN) / DEVIATION).transpose(0, 3, 1, 2).astype(np.float32)
    got, want = runs("ch_PP-OCRv4_det_infer.onnx", x[8:], x[:8], tmp_path)
    assert np.abs(got - want).mean(axis=(1, 2, 3)).max() < 0.02
    for ours, theirs in zip(got[:, 0], want[:, 0], strict=True):
        mine, others = sorted(detected(ours)), sorted(detected(theirs))
        assert len(mine) == len(others) >= 2
        assert np.abs(np.array(mine) - np.array(others)).max() <= 4


def test_angle_classifier(tmp_path: Path) -> None:
    lines = [picture(seed, 192, 48, 1) for seed in range(16)]
    both = [line.rotate(180) if i % 2 else line for i, line in enumerate(lines)]
    x = np.stack([np.asarray(line, np.float32)[:, :, ::-1] / 127.5 - 1 for line in both]).transpose(0, 3, 1, 2)
    got, want = runs("ch_ppocr_mobile_v2.0_cls_infer.onnx", x[8:].copy(), x[:8].copy(), tmp_path)
    assert np.array_equal(got.argmax(axis=1), want.argmax(axis=1))
    assert np.abs(got - want).max() < 0.15
