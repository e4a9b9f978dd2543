"""Prune a float network by magnitude: `python -m examples.cifar10.prune MODEL.onnx OUT --kept 0.4 0.3`.

Writes OUT-SHARE.onnx and prints its top-1 on the lossless test images. The weights of a convolution are measured in
their own standard deviation, and one bound for all convolutions decides. Nothing is trained afterwards. A machine that
skips zeros can be given such a network (`esc-compare --sparse-model`).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper

from examples.cifar10.images import DATA, load_npz


def prune(model: onnx.ModelProto, kept: float) -> None:
    """Leave the share `kept` of the weights of all convolutions."""
    found = [(w, numpy_helper.to_array(w)) for w in model.graph.initializer if len(w.dims) == 4]
    sizes = [np.abs(a) / max(float(a.std()), 1e-30) for _, a in found]
    bound = np.quantile(np.concatenate([s.ravel() for s in sizes]), 1 - kept)
    for (weight, a), size in zip(found, sizes, strict=True):
        weight.CopyFrom(numpy_helper.from_array(np.where(size > bound, a, np.float32(0)), weight.name))


def top1(model: onnx.ModelProto, data: Path) -> float:
    """Share of the lossless test images that the model, of pixels 0..255, answers right."""
    images, labels = load_npz(data / "images/cifar10_test.npz")
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    name, right = session.get_inputs()[0].name, 0
    for i in range(0, len(images), 128):
        x = images[i : i + 128].transpose(0, 3, 1, 2).astype(np.float32)
        right += int((np.asarray(session.run(None, {name: x})[0]).argmax(1) == labels[i : i + 128]).sum())
    return right / len(images)


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model", type=Path, metavar="MODEL.onnx")
    p.add_argument("out", type=Path, metavar="OUT")
    p.add_argument("--kept", type=float, nargs="+", required=True, help="shares of the weights to leave")
    p.add_argument("--data", type=Path, default=DATA, help="folder with images/ (default: %(default)s)")
    args = p.parse_args(argv)
    for kept in args.kept:
        model = onnx.load(args.model)
        prune(model, kept)
        onnx.save(model, args.out.with_name(f"{args.out.name}-{kept:g}.onnx"))
        print(kept, top1(model, args.data), flush=True)


if __name__ == "__main__":
    main()
