"""Random small models through the whole compiler: every level and the emulator agree to the bit."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.printer
import pytest
from hypothesis import HealthCheck, Phase, given, note, reject, settings
from hypothesis import strategies as st
from onnx import helper
from sample_models import constant, model

from dialects.interpreters.run import run_module
from escc.driver import run_passes, to_program
from escc.irtext import make_context
from escc.onnx_export import export_model
from escc.onnx_import import import_model
from escc.universe import ESCC_UNIVERSE
from escc.verify import Verification
from isa.container import read_elf, write_elf
from isa.errors import UserError
from passes.pipelines import PipelineOptions, build

pytestmark = pytest.mark.filterwarnings("ignore:no calibration data")


class RandomNetwork:
    """Grows an ONNX graph; `shapes` are [C, H, W] of the values so far."""

    def __init__(self, draw: st.DrawFn):
        self.draw = draw
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        self.shape = (draw(st.integers(1, 5)), draw(st.integers(4, 12)), draw(st.integers(4, 12)))
        self.value = "x"
        self.older: list[tuple[str, tuple[int, int, int]]] = []

    def add(self, op: str, inputs: list[str], shape: tuple[int, int, int], **attributes: Any) -> None:
        name = f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        self.older.append((self.value, self.shape))
        self.value, self.shape = name, shape

    def constant(self, array: np.ndarray) -> str:
        name = f"k{len(self.constants)}"
        self.constants.append(constant(name, array.astype(np.float32)))
        return name

    def window(self) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int, int, int], int, int]:
        """Kernel, strides, pads and the extents that come out."""
        _, h, w = self.shape
        kernel = (self.draw(st.integers(1, min(5, h))), self.draw(st.integers(1, min(5, w))))
        strides = (self.draw(st.integers(1, 3)), self.draw(st.integers(1, 3)))
        most = [kernel[0] - 1, kernel[1] - 1] * 2
        pads = tuple(self.draw(st.integers(0, m)) for m in most)
        oh = (h + pads[0] + pads[2] - kernel[0]) // strides[0] + 1
        ow = (w + pads[1] + pads[3] - kernel[1]) // strides[1] + 1
        return kernel, strides, (pads[0], pads[1], pads[2], pads[3]), oh, ow

    def conv(self) -> None:
        c = self.shape[0]
        kind = self.draw(st.sampled_from(["dense", "dense", "depthwise", "grouped"]))
        groups = {
            "dense": 1,
            "depthwise": c,
            "grouped": self.draw(st.sampled_from([g for g in (1, 2, 3) if c % g == 0])),
        }
        g = groups[kind]
        k = g * self.draw(st.integers(1, 24 // g if kind == "dense" else 3))
        kernel, strides, pads, oh, ow = self.window()
        weight = self.rng.standard_normal((k, c // g, *kernel)) * np.sqrt(2 / (c // g * kernel[0] * kernel[1]))
        weight[self.rng.random(weight.shape) < self.draw(st.sampled_from([0, 0.6]))] = 0
        inputs = [self.value, self.constant(weight)]
        if self.draw(st.booleans()):
            inputs.append(self.constant(0.2 * self.rng.standard_normal(k)))
        self.add("Conv", inputs, (k, oh, ow), kernel_shape=kernel, strides=strides, pads=pads, group=g)

    def activation(self) -> None:
        op = self.draw(st.sampled_from(["Relu", "LeakyRelu", "Sigmoid", "HardSwish", "Clip"]))
        inputs = [self.value]
        if op == "Clip":
            inputs += [self.constant(np.array(-0.5)), self.constant(np.array(1.5))]
        self.add(op, inputs, self.shape, **({"alpha": 0.125} if op == "LeakyRelu" else {}))

    def pool(self) -> None:
        op = self.draw(st.sampled_from(["MaxPool", "AveragePool"]))
        kernel, strides, pads, oh, ow = self.window()
        extra = {"count_include_pad": self.draw(st.integers(0, 1))} if op == "AveragePool" else {}
        self.add(op, [self.value], (self.shape[0], oh, ow), kernel_shape=kernel, strides=strides, pads=pads, **extra)

    def join(self) -> None:
        """Add an older value of the same shape, else concatenate one of the same map, else nothing."""
        same = [v for v, shape in self.older if shape == self.shape and v != "x"]
        near = [(v, s) for v, s in self.older if s[1:] == self.shape[1:] and v != "x" and s[0] + self.shape[0] <= 80]
        if same and self.draw(st.booleans()):
            self.add("Add", [self.value, self.draw(st.sampled_from(same))], self.shape)
        elif near:
            value, shape = self.draw(st.sampled_from(near))
            self.add("Concat", [self.value, value], (self.shape[0] + shape[0], *self.shape[1:]), axis=1)

    def classifier(self) -> tuple[int, ...]:
        c = self.shape[0]
        self.add("GlobalAveragePool", [self.value], (c, 1, 1))
        self.add("Flatten", [self.value], (c, 1, 1))
        self.add("Gemm", [self.value, self.constant(self.rng.standard_normal((7, c)))], (7, 1, 1), transB=1)
        if self.draw(st.booleans()):
            self.add("Softmax", [self.value], (7, 1, 1), axis=1)
        return (1, 7)


@st.composite
def networks(draw: st.DrawFn) -> bytes:
    """Bytes of a random model."""
    net = RandomNetwork(draw)
    start = net.shape
    net.conv()
    for _ in range(draw(st.integers(1, 5))):
        draw(st.sampled_from([net.conv, net.activation, net.activation, net.pool, net.join]))()
    output = net.classifier() if draw(st.booleans()) else (1, *net.shape)
    return model(net.nodes, net.constants, (1, *start), output)


@pytest.mark.filterwarnings("ignore:scheme 'auto' decomposed none")
@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(
    networks(),
    st.sampled_from([("dense", None, None), ("escalate", 3, 1), ("escalate", 4, 2), ("auto", None, None)]),
    st.sampled_from([1, 4]),
)
def test_all_levels_agree(data: bytes, scheme: tuple[str, int | None, int | None], level: int) -> None:
    note(onnx.printer.to_text(onnx.load_model_from_string(data).graph)[:2000])
    name, basis, planes = scheme
    own = None if name == "dense" else (f"levels={level}",)
    options = PipelineOptions(scheme=name, basis=basis, planes=planes, samples=3, options=own)
    module = import_model(data, "random.onnx")
    verification = Verification(module, None, 0, tolerance=1e9)
    run_passes(make_context(), module, build(ESCC_UNIVERSE.all_passes, options), [verification.observe])
    program = to_program(module)
    text = verification.finish(program)
    assert verification.fault is None, text
    assert "emulator: " in text
    assert write_elf(read_elf(write_elf(program))) == write_elf(program)


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(networks(), st.sampled_from([("dense", None), ("escalate", 3)]))
def test_exported_models_compute_the_same(data: bytes, scheme: tuple[str, int | None]) -> None:
    note(onnx.printer.to_text(onnx.load_model_from_string(data).graph)[:2000])
    module = import_model(data, "random.onnx")
    options = PipelineOptions(scheme=scheme[0], basis=scheme[1], planes=1, samples=3)
    run_passes(make_context(), module, build(ESCC_UNIVERSE.all_passes, options, "esc"))
    try:
        exported = export_model(module)
    except UserError as error:
        assert all("elementwise function" in cause for cause in error.causes)  # two in a row
        reject()
    onnx.checker.check_model(exported, full_check=True)
    again = import_model(exported.SerializeToString(), "exported.onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run_passes(make_context(), again, build(ESCC_UNIVERSE.all_passes, PipelineOptions(), "esc"))
    shape = [d.dim_value or 4 for d in exported.graph.input[0].type.tensor_type.shape.dim]
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    assert np.array_equal(run_module(module, [x])[0], run_module(again, [x])[0])


def test_wide_map_tiles(tmp_path: Path) -> None:
    """A layer that is many times larger than every scratchpad."""
    rng = np.random.default_rng(0)
    weight = constant("w", rng.standard_normal((64, 64, 3, 3)).astype(np.float32) / 24)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], name="conv", pads=[1] * 4),
        helper.make_node("Relu", ["a"], ["y"], name="relu"),
    ]
    data = model(nodes, [weight], (1, 64, 224, 224), (1, 64, 224, 224))
    module = import_model(data, "wide.onnx")
    verification = Verification(module, None, 0, tolerance=0.5)
    options = PipelineOptions(scheme="dense", samples=1)
    run_passes(make_context(), module, build(ESCC_UNIVERSE.all_passes, options), [verification.observe])
    text = verification.finish(to_program(module))
    assert verification.fault is None and "emulator: 1 node and" in text, text
