"""Models as people bring them: by both exporters of PyTorch, with constants beside them, and of every opset."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, version_converter

import escc
from escc.report import LayerReport
from isa.container import read_elf

Array = np.ndarray[Any, np.dtype[np.float32]]
X = np.random.default_rng(5).standard_normal((4, 3, 16, 16)).astype(np.float32)


def layers_of(compiled: escc.Compiled) -> list[LayerReport]:
    """The records of layers without the names of nodes, which are the exporter's."""
    return [replace(layer, name="", nodes=()) for layer in compiled.layers]


def classifier(torch: Any) -> Any:
    """A stem, an inverted residual with a squeeze-and-excite gate, and a classifier."""
    nn = torch.nn

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(
                nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU6()
            )
            self.wide = nn.Sequential(nn.Conv2d(8, 16, 1), nn.BatchNorm2d(16), nn.Hardswish())
            self.deep = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.SiLU())
            self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(16, 4, 1), nn.ReLU(), nn.Conv2d(4, 16, 1))
            self.narrow = nn.Conv2d(16, 8, 1)
            self.head = nn.Sequential(nn.Dropout(), nn.Linear(8, 10))

        def forward(self, x: Any) -> Any:
            x = self.stem(x)
            y = self.deep(self.wide(x))
            y = self.narrow(y * self.gate(y).sigmoid())
            return self.head((x + y).mean((2, 3)))

    return Classifier()


def segmenter(torch: Any) -> Any:
    """Down by pooling, up by a transposed convolution, joined with what was there before."""
    nn = torch.nn

    class Segmenter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.LeakyReLU(0.1))
            self.second = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=2, dilation=2), nn.ReLU())
            self.up = nn.ConvTranspose2d(16, 8, 2, stride=2)
            self.last = nn.Conv2d(16, 2, 1)

        def forward(self, x: Any) -> Any:
            x = self.first(x)
            return self.last(torch.cat([self.up(self.second(x)), x], dim=1))

    return Segmenter()


def rearranging(torch: Any) -> Any:
    """What exporters spell in nodes of their own: chunks, functions of one tensor, resizing, shuffled channels."""
    nn, functional = torch.nn, torch.nn.functional

    class Rearranging(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 8, 3, padding=1)
            self.slope = nn.PReLU(8)
            self.convolution = nn.Conv2d(4, 4, 3, padding=1)
            self.grouped = nn.Conv2d(8, 8, 1, groups=2)

        def forward(self, x: Any) -> Any:
            kept, changed = self.slope(self.first(x)).chunk(2, dim=1)
            y = torch.cat([kept, functional.elu(self.convolution(changed))], dim=1)
            n, c, h, w = y.shape
            y = y.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
            y = functional.mish(self.grouped(y))
            y = functional.interpolate(y, scale_factor=2, mode="bilinear", align_corners=False)
            left, right = y.chunk(2, dim=1)
            y = functional.interpolate(left * torch.sigmoid(right), scale_factor=2, mode="nearest")
            return functional.pixel_unshuffle(y, 2)

    return Rearranging()


def normalising(torch: Any) -> Any:
    """A block of the ConvNeXt kind: normalised over channels, which stand last between two transposes."""
    nn = torch.nn

    class ChannelsLastBlock(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.spread = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
            self.norm = nn.LayerNorm(channels, eps=1e-6)
            self.linear = nn.Sequential(nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels))
            self.scale = nn.Parameter(torch.full((channels, 1, 1), 0.5))

        def forward(self, x: Any) -> Any:
            y = self.linear(self.norm(self.spread(x).permute(0, 2, 3, 1)))
            return x + self.scale * y.permute(0, 3, 1, 2)

    class Normalising(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.Sequential(
                nn.Conv2d(3, 16, 4, stride=4), ChannelsLastBlock(16), ChannelsLastBlock(16), nn.AdaptiveAvgPool2d(1)
            )
            self.norm = nn.LayerNorm(16)
            self.head = nn.Linear(16, 10)

        def forward(self, x: Any) -> Any:
            return self.head(self.norm(self.blocks(x).flatten(1)))

    return Normalising()


def signals(torch: Any) -> Any:
    """Layers of one dimension."""
    nn = torch.nn
    first = (nn.Conv1d(3, 8, 7, stride=2, padding=3, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.MaxPool1d(3, 2, 1))
    second = (nn.Conv1d(8, 16, 3, padding=2, dilation=2), nn.Hardswish(), nn.ConvTranspose1d(16, 8, 4, 2, 1))
    third = (nn.PReLU(8), nn.Conv1d(8, 8, 3, groups=8), nn.AvgPool1d(2), nn.AdaptiveAvgPool1d(1), nn.Flatten())
    return nn.Sequential(*first, *second, *third, nn.Linear(8, 5))


def export(torch: Any, network: Any, x: Array, path: Path, **options: Any) -> onnx.ModelProto:
    """Write a network as ONNX, quietly; the file without what stands beside it."""
    names = {"input_names": ["input"], "output_names": ["output"]}
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (torch.from_numpy(x[:1]),), str(path), **names, **options)
    return onnx.load(path, load_external_data=False)


def as_function(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model as one call of a function of its own, as older exporters write modules."""
    inputs = [*(i.name for i in model.graph.input), *(t.name for t in model.graph.initializer)]
    outputs = [o.name for o in model.graph.output]
    made = onnx.ModelProto()
    made.CopyFrom(model)
    body = helper.make_function("modules", "Network", inputs, outputs, model.graph.node, model.opset_import)
    made.functions.append(body)
    made.opset_import.append(helper.make_opsetid("modules", 1))
    made.graph.ClearField("node")
    made.graph.ClearField("value_info")
    made.graph.node.append(helper.make_node("Network", inputs, outputs, "network", domain="modules"))
    return made


@pytest.mark.parametrize(
    "make", [classifier, segmenter, rearranging, normalising, signals], ids=lambda make: make.__name__
)
def test_both_exporters_of_pytorch_give_the_same_layers(make: Callable[[Any], Any], tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", minversion="2.5", reason="PyTorch from 2.5 on has both exporters")
    pytest.importorskip("onnxscript", reason="PyTorch's default exporter needs the package onnxscript")
    torch.manual_seed(0)
    network, x = make(torch).eval(), X.reshape(4, 3, -1) if make is signals else X
    export(torch, network, x, tmp_path / "script.onnx", dynamo=False)
    beside = export(torch, network, x, tmp_path / "dynamo.onnx", dynamo=True, external_data=True)
    assert any(t.data_location == TensorProto.EXTERNAL for t in beside.graph.initializer), "nothing stands beside it"
    onnx.save(as_function(beside), tmp_path / "function.onnx")
    script, dynamo, function = (
        escc.compile(tmp_path / f"{name}.onnx", x, "dense") for name in ("script", "dynamo", "function")
    )
    with torch.no_grad():
        wanted = network(torch.from_numpy(x)).numpy()
    assert np.abs(script.run(x) - wanted).mean() < 0.03 * np.abs(wanted).max()
    for other in (dynamo, function):
        assert layers_of(other) == layers_of(script)
        assert np.array_equal(other.run(x), script.run(x))


def weights(*shape: int, seed: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return (0.3 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def of_opset_7() -> onnx.ModelProto:
    """A network of operators that later opsets spell differently, in the oldest opset that is read."""
    node = helper.make_node
    nodes = [
        node("Pad", ["x"], ["padded"], pads=[0, 0, 1, 1, 0, 0, 1, 1], mode="constant"),
        node("Conv", ["padded", "w0"], ["first"]),
        node("BatchNormalization", ["first", "gain", "bias", "mean", "variance"], ["normal"]),
        node("Clip", ["normal"], ["clipped"], min=0.0, max=6.0),
        node("MaxPool", ["clipped"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["pooled", "w1"], ["second"], pads=[1] * 4),
        node("LeakyRelu", ["second"], ["leaky"], alpha=0.1),
        node("Upsample", ["leaky"], ["up"], scales=[1.0, 1.0, 2.0, 2.0], mode="nearest"),
        node("Slice", ["clipped"], ["cut"], axes=[2], starts=[0], ends=[16]),
        node("Add", ["up", "cut"], ["sum"]),
        node("Split", ["sum"], ["left", "right"], axis=1, split=[4, 4]),
        node("Concat", ["right", "left"], ["swapped"], axis=1),
        node("Dropout", ["swapped"], ["kept"], ratio=0.5),
        node("ReduceMean", ["kept"], ["mean_of"], axes=[2, 3], keepdims=1),
        node("Squeeze", ["mean_of"], ["flat"], axes=[2, 3]),
        node("Gemm", ["flat", "w2", "b2"], ["scores"], transB=1),
        node("Softmax", ["scores"], ["y"], axis=1),
    ]
    constants = {
        "w0": weights(8, 3, 3, 3, seed=0),
        "gain": 1 + np.abs(weights(8, seed=1)),
        "bias": weights(8, seed=2),
        "mean": weights(8, seed=3),
        "variance": 1 + np.abs(weights(8, seed=4)),
        "w1": weights(8, 8, 3, 3, seed=5),
        "w2": weights(5, 8, seed=6),
        "b2": weights(5, seed=7),
    }
    value = helper.make_tensor_value_info
    inputs = [value(name, TensorProto.FLOAT, shape) for name, shape in {"x": X[:1].shape, **_shapes(constants)}.items()]
    tensors = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "graph", inputs, [value("y", TensorProto.FLOAT, [1, 5])], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 7)], ir_version=3)


def _shapes(constants: dict[str, np.ndarray[Any, np.dtype[np.float32]]]) -> dict[str, tuple[int, ...]]:
    """Shapes by name: before IR version 4, initializers are inputs too."""
    return {name: array.shape for name, array in constants.items()}


def test_every_opset_from_7_to_the_newest_means_the_same() -> None:
    oldest = of_opset_7()
    onnx.checker.check_model(oldest)
    programs = []
    for opset in range(7, onnx.defs.onnx_opset_version() + 1):
        newer = version_converter.convert_version(oldest, opset)
        assert newer.opset_import[0].version == opset
        program = read_elf(escc.compile(newer, X, "dense").binary)
        programs.append((program.instructions, program.rodata))
    assert len(programs) >= 16
    assert all(program == programs[0] for program in programs)
