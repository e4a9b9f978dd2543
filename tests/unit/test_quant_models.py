"""Accuracy of the quantised real models on subsets of their images, against the float network."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path

import numpy as np
import pytest
from xdsl.context import Context

from dialects import esc
from dialects.interpreters.run import run_module
from escc.onnx_import import import_model
from passes.esc_legalize import EscLegalizePass
from passes.fuse_epilogues import FuseEpiloguesPass
from passes.onnx_canonicalize import OnnxCanonicalizePass
from passes.onnx_legalize import OnnxLegalizePass
from passes.quantize import QuantizePass


def prepared(data_dir: Path, stem: str, split: str, limit: int):
    """The first `limit` images of a split as float inputs of a model, and their labels."""
    spec = importlib.util.spec_from_file_location("prepare", data_dir / "prepare.py")
    assert spec is not None and spec.loader is not None
    prepare = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(prepare)
    dataset, convert, side, first_label = prepare.PREPROCESS[stem]
    x, y = prepare.images(dataset, split)
    x, y = x[:limit], y[:limit]
    margin = side - x.shape[1]
    if margin:
        before, after = margin // 2, margin - margin // 2
        x = np.pad(x, ((0, 0), (before, after), (before, after), (0, 0)), mode="edge")
    return np.ascontiguousarray(convert(x).transpose(0, 3, 1, 2)), y + first_label


def networks(data_dir: Path, stem: str, samples: int, folder: Path):
    """The legal float network and its quantised and fused counterpart."""
    module = import_model(data_dir / "models" / f"{stem}.onnx")
    OnnxCanonicalizePass().apply(Context(), module)
    OnnxLegalizePass().apply(Context(), module)
    path = folder / "calibration.npz"
    np.savez(path, x=prepared(data_dir, stem, "calib", samples)[0])
    integer = module.clone()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        QuantizePass(calibration=str(path)).apply(Context(), integer)
    FuseEpiloguesPass().apply(Context(), integer)
    integer.verify()
    EscLegalizePass().apply(Context(), integer)
    return module, integer


def classes(module, x):
    """Predicted class of every image, in small batches."""
    outputs = [run_module(module, [x[i : i + 16]])[0] for i in range(0, len(x), 16)]
    return np.concatenate([o.reshape(len(o), -1) for o in outputs])


@pytest.mark.parametrize("stem", ["resnet20_cifar10", "resnet8_cifar10", "resnet8_cifar10_qdq"])
def test_cifar(data_dir, stem, tmp_path):
    module, integer = networks(data_dir, stem, 96, tmp_path)
    x, y = prepared(data_dir, stem, "test", 320)
    want, got = classes(module, x), classes(integer, x)
    lost = (want.argmax(1) == y).mean() - (got.argmax(1) == y).mean()
    assert lost <= 0.01
    assert (want.argmax(1) == got.argmax(1)).mean() >= 0.96


@pytest.mark.parametrize("stem", ["mobilenet_v2_imagenet", "mobilenet_v2_imagenet_qdq", "squeezenet_imagenet_pruned"])
def test_imagenet(data_dir, stem, tmp_path):
    module, integer = networks(data_dir, stem, 4, tmp_path)
    x, _ = prepared(data_dir, stem, "test", 6)
    want, got = classes(module, x), classes(integer, x)
    better = (got > np.take_along_axis(got, want.argmax(1)[:, None], 1)).sum(axis=1)
    assert (better < 5).all() and (better == 0).sum() >= 4
    assert (want**2).sum() > 50 * ((want - got) ** 2).sum()  # 17 dB


def test_resnet20_has_one_requantisation_per_layer(data_dir, tmp_path):
    """Everything but the shortcuts' data movement and the pooling is fused."""
    _, integer = networks(data_dir, "resnet20_cifar10", 2, tmp_path)
    kinds = [op.name.removeprefix("esc.") for op in integer.walk() if isinstance(op, esc.EscOp)]
    assert kinds.count("conv2d") == kinds.count("requantize") == 20
    assert kinds.count("slice") == 2 and kinds.count("avg_pool") == 1
    assert len(kinds) == 45
