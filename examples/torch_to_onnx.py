"""Write a trained torch module as ONNX: the operators of small CNNs, one ONNX node for each torch call.

The module is traced with `torch.fx`, so its forward must be a plain data flow of Conv2d, BatchNorm2d, ReLU, MaxPool2d,
AdaptiveAvgPool2d(1), Flatten, Linear and `+`. BatchNormalization is kept as a node, as common exporters do. Node names
are the module paths.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import fx, nn

OPSET = 17


class _Writer:
    """Collects nodes and weights while the traced graph is walked in order."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, name: str, tensor: torch.Tensor) -> str:
        self.weights.append(numpy_helper.from_array(tensor.detach().cpu().contiguous().numpy(), name))
        return name

    def node(self, op_type: str, name: str, inputs: Sequence[str], **attributes: object) -> str:
        path = "/" + name.replace(".", "/")
        self.nodes.append(
            helper.make_node(op_type, list(inputs), [path + "_output"], f"{path}/{op_type}", **attributes)
        )
        return path + "_output"

    def module(self, name: str, m: nn.Module, x: str) -> str:
        """Node of one leaf module. Raises TypeError for a module that has no rule here."""
        match m:
            case nn.Conv2d():
                top, left = m.padding
                weights = [self.weight(f"{name}.weight", m.weight)]
                if m.bias is not None:
                    weights.append(self.weight(f"{name}.bias", m.bias))
                return self.node(
                    "Conv",
                    name,
                    [x, *weights],
                    kernel_shape=list(m.kernel_size),
                    strides=list(m.stride),
                    pads=[top, left, top, left],
                    dilations=list(m.dilation),
                    group=m.groups,
                )
            case nn.BatchNorm2d():
                parts = {
                    "weight": m.weight,
                    "bias": m.bias,
                    "running_mean": m.running_mean,
                    "running_var": m.running_var,
                }
                weights = [self.weight(f"{name}.{part}", tensor) for part, tensor in parts.items()]
                return self.node("BatchNormalization", name, [x, *weights], epsilon=m.eps)
            case nn.ReLU():
                return self.node("Relu", name, [x])
            case nn.MaxPool2d():
                k, s, p = ((v, v) if isinstance(v, int) else v for v in (m.kernel_size, m.stride, m.padding))
                return self.node("MaxPool", name, [x], kernel_shape=list(k), strides=list(s), pads=[*p, *p])
            case nn.AdaptiveAvgPool2d(output_size=1 | (1, 1)):
                return self.node("GlobalAveragePool", name, [x])
            case nn.Flatten(start_dim=1, end_dim=-1):
                return self.node("Flatten", name, [x], axis=1)
            case nn.Linear():
                weights = [self.weight(f"{name}.weight", m.weight), self.weight(f"{name}.bias", m.bias)]
                return self.node("Gemm", name, [x, *weights], transB=1)
        raise TypeError(f"{name}: no ONNX rule for {m}")


def export(
    module: nn.Module, path: Path, input_shape: Sequence[int], metadata: Mapping[str, str] | None = None
) -> None:
    """Write `module` (in eval mode) to `path`: float32 "input" [N, *input_shape], "output" [N, classes], N symbolic.

    `metadata` goes to the model's `metadata_props`. Raises TypeError for a layer without a rule.
    """
    writer = _Writer()
    values: dict[fx.Node, str] = {}
    modules = dict(module.named_modules())
    result = ""
    for n in fx.symbolic_trace(module).graph.nodes:
        if n.op == "placeholder":
            values[n] = "input"
        elif n.op == "call_module":
            values[n] = writer.module(str(n.target), modules[n.target], values[n.args[0]])
        elif n.op == "call_function" and n.target is operator.add:
            values[n] = writer.node("Add", n.name, [values[a] for a in n.args])
        elif n.op == "output":
            result = values[n.args[0]]
        else:
            raise TypeError(f"no ONNX rule for {n.format_node()}")
    for node in writer.nodes:
        for names in (node.input, node.output):
            names[:] = ["output" if name == result else name for name in names]
    with torch.no_grad():
        classes = module(torch.zeros(1, *input_shape)).shape[1]
    graph = helper.make_graph(
        writer.nodes,
        type(module).__name__,
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", *input_shape])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", classes])],
        writer.weights,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8, producer_name="escc examples"
    )
    helper.set_model_props(model, dict(metadata or {}))
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))
