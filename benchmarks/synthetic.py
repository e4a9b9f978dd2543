"""Networks with random decomposed layers, as plain ONNX: `python benchmarks/synthetic.py NETWORK OUT.onnx`.

They have the shapes of well-known networks, and coefficients of a density that one chooses, so that the machine can be
measured where no trained network is at hand; their outputs mean nothing. The same arguments give the same file. Beside
OUT.onnx lies OUT.npz, images to calibrate with:

    python benchmarks/synthetic.py vgg16_cifar out/vgg.onnx --bases 6 --density 0.05
    escc out/vgg.onnx --calibration out/vgg.npz --scheme dense -o out/vgg.bin
    esc-emu out/vgg.bin --stats

Every convolution but the first is a pair as docs/onnx.md describes it. Layers of one tap have two bases. With --bases 0
all convolutions have float weights instead, for a compression scheme to work on; with --kept, as many of them are zero
as a machine that skips zeros may expect.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from escc.cli.common import script

F = NDArray[np.float32]

IMAGES = 4
"""Random images beside the network."""


class NetworkBuilder:
    """A graph under construction. Layers keep the variance of their inputs near 1; their biases are random.

    `extent`: rows and columns of the input, of 3 channels; `bases`: virtual bases of a decomposed layer, of whose
    ternary coefficients the share `density` is not zero. Without bases, these layers have float weights, of which
    the share `kept` is not zero.
    """

    def __init__(self, extent: int, bases: int, density: float, seed: int, kept: float = 1.0) -> None:
        self.extent = extent
        self._bases = bases
        self._density = density
        self._kept = kept
        self._rng = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._count = 0

    def _constant(self, value: NDArray[np.generic]) -> str:
        name = f"constant{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(value, name))
        return name

    def _node(self, op: str, *inputs: str, **attributes: Any) -> str:
        name = f"{op.lower()}{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, list(inputs), [name], name, **attributes))
        return name

    def _bias(self, channels: int) -> str:
        return self._constant(self._rng.normal(0, 0.1, channels).astype(np.float32))

    def dense(self, x: str, c: int, k: int, kernel: int, stride: int = 1) -> str:
        """A convolution with float weights, and a ReLU."""
        return self.relu(self._plain(x, c, k, kernel, stride, 1.0))

    def _plain(self, x: str, c: int, k: int, kernel: int, stride: int, kept: float) -> str:
        w = self._rng.normal(0, 1 / np.sqrt(max(1.0, kept * c * kernel * kernel)), (k, c, kernel, kernel))
        w = np.where(self._rng.random(w.shape) < kept, w, 0) if kept < 1 else w
        pads, strides = [kernel // 2] * 4, [stride, stride]
        weight = self._constant(w.astype(np.float32))
        return self._node("Conv", x, weight, self._bias(k), pads=pads, strides=strides)

    def decomposed(self, x: str, c: int, k: int, kernel: int, stride: int = 1) -> str:
        """A convolution of random coefficients and bases, without a ReLU."""
        if not self._bases:
            return self._plain(x, c, k, kernel, stride, self._kept)
        v = self._bases if kernel > 1 else min(2, self._bases)
        signs = self._rng.choice(np.array([-1, 1], np.int8), (k, v, c))
        t = np.where(self._rng.random((k, v, c)) < self._density, signs, 0).astype(np.int8)
        b = self._rng.integers(-100, 101, (v, kernel, kernel)).astype(np.int8)
        folded = np.einsum("kvc,vt->kct", t.astype(np.float64), b.reshape(v, -1).astype(np.float64))
        scale = np.sqrt(2 / np.maximum(1.0, (folded * folded).sum(axis=(1, 2)))).astype(np.float32)
        first = self._dequantised(t.reshape(k * v, c, 1, 1), np.float32(1))
        second = self._dequantised(np.broadcast_to(b, (k, v, kernel, kernel)), scale)
        between = self._node("Conv", x, first)
        pads, strides = [kernel // 2] * 4, [stride, stride]
        return self._node("Conv", between, second, self._bias(k), group=k, pads=pads, strides=strides)

    def _dequantised(self, value: NDArray[np.int8], scale: F | np.float32) -> str:
        zero = np.zeros(np.shape(scale), np.int8)
        names = [self._constant(np.ascontiguousarray(a)) for a in (value, np.asarray(scale), zero)]
        return self._node("DequantizeLinear", *names, **({"axis": 0} if np.ndim(scale) else {}))

    def relu(self, x: str) -> str:
        """A ReLU."""
        return self._node("Relu", x)

    def add(self, a: str, b: str) -> str:
        """The sum of two tensors."""
        return self._node("Add", a, b)

    def max_pool(self, x: str, kernel: int, stride: int, pad: int = 0) -> str:
        """A max pooling."""
        return self._node("MaxPool", x, kernel_shape=[kernel, kernel], strides=[stride, stride], pads=[pad] * 4)

    def classifier(self, x: str, c: int, classes: int) -> str:
        """Mean over all positions and a fully connected layer."""
        flat = self._node("Flatten", self._node("GlobalAveragePool", x))
        w = self._rng.normal(0, 1 / np.sqrt(c), (c, classes)).astype(np.float32)
        return self._node("Gemm", flat, self._constant(w), self._bias(classes))

    def finish(self, last: str, classes: int) -> onnx.ModelProto:
        """The model, with the input `image` and the output `last`."""
        shape = [1, 3, self.extent, self.extent]
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)
        result = helper.make_tensor_value_info(last, TensorProto.FLOAT, [1, classes])
        graph = helper.make_graph(self._nodes, "synthetic", [image], [result], self._constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    def images(self) -> F:
        """Images of normal noise."""
        return self._rng.normal(0, 1, (IMAGES, 3, self.extent, self.extent)).astype(np.float32)


def vgg16(net: NetworkBuilder) -> onnx.ModelProto:
    """VGG-16 with one fully connected layer, as it is used for CIFAR-10: Simonyan and Zisserman, 2015."""
    x = net.dense("image", 3, 64, 3)
    c = 64
    for number, (k, count) in enumerate(((64, 1), (128, 2), (256, 3), (512, 3), (512, 3))):
        for _ in range(count):
            x = net.relu(net.decomposed(x, c, k, 3))
            c = k
        if number < 4:
            x = net.max_pool(x, 2, 2)
    return net.finish(net.classifier(x, c, 10), 10)


def _resnet18(net: NetworkBuilder, x: str, classes: int) -> onnx.ModelProto:
    """The four stages of ResNet-18 and the classifier behind a stem: He et al., 2016."""
    c = 64
    for k in (64, 128, 256, 512):
        for block in range(2):
            stride = 2 if block == 0 and k > 64 else 1
            inner = net.relu(net.decomposed(x, c, k, 3, stride))
            inner = net.decomposed(inner, k, k, 3)
            x = net.relu(net.add(inner, x if k == c else net.decomposed(x, c, k, 1, stride)))
            c = k
    return net.finish(net.classifier(x, c, classes), classes)


def resnet18_cifar(net: NetworkBuilder) -> onnx.ModelProto:
    """ResNet-18 for images of 32x32: a 3x3 stem without pooling."""
    return _resnet18(net, net.dense("image", 3, 64, 3), 10)


def resnet18(net: NetworkBuilder) -> onnx.ModelProto:
    """ResNet-18 for images of 224x224."""
    return _resnet18(net, net.max_pool(net.dense("image", 3, 64, 7, 2), 3, 2, 1), 1000)


def resnet50(net: NetworkBuilder) -> onnx.ModelProto:
    """ResNet-50 for images of 224x224, strides in the 3x3 convolutions."""
    x = net.max_pool(net.dense("image", 3, 64, 7, 2), 3, 2, 1)
    c = 64
    for k, count in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(count):
            stride = 2 if block == 0 and k > 64 else 1
            inner = net.relu(net.decomposed(x, c, k, 1))
            inner = net.relu(net.decomposed(inner, k, k, 3, stride))
            inner = net.decomposed(inner, k, 4 * k, 1)
            x = net.relu(net.add(inner, x if block else net.decomposed(x, c, 4 * k, 1, stride)))
            c = 4 * k
    return net.finish(net.classifier(x, c, 1000), 1000)


NETWORKS: Mapping[str, tuple[int, Callable[[NetworkBuilder], onnx.ModelProto]]] = {
    "vgg16_cifar": (32, vgg16),
    "resnet18_cifar": (32, resnet18_cifar),
    "resnet18": (224, resnet18),
    "resnet50": (224, resnet50),
}
"""Extent of the images, and what builds the network."""


def generate(network: str, bases: int, density: float, seed: int, kept: float = 1.0) -> tuple[onnx.ModelProto, F]:
    """A network and images for it. Raises KeyError for a network that there is none of."""
    extent, build = NETWORKS[network]
    net = NetworkBuilder(extent, bases, density, seed, kept)
    return build(net), net.images()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=sorted(NETWORKS))
    parser.add_argument("output", type=Path, metavar="OUT.onnx")
    parser.add_argument(
        "--bases", type=int, default=6, metavar="V", help="virtual bases of a layer, 0: float weights (default: 6)"
    )
    parser.add_argument("--density", type=float, default=0.05, help="share of non-zero coefficients (default: 0.05)")
    parser.add_argument("--kept", type=float, default=1.0, help="share of non-zero float weights (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything that is random (default: 0)")
    args = parser.parse_args()
    if args.bases < 0 or not (0 <= args.density <= 1 and 0 <= args.kept <= 1):
        parser.error("--bases must not be negative, --density and --kept in 0..1")
    model, images = generate(args.network, args.bases, args.density, args.seed, args.kept)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_bytes(model.SerializeToString())
    np.savez(args.output.with_suffix(".npz"), image=images)


if __name__ == "__main__":
    script(main)
