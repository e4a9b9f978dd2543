"""The network to learn from: a legal module of level `onnx` as a torch network of floats, without gradients."""

from __future__ import annotations

from collections.abc import Callable
from pkgutil import resolve_name
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import ReturnOp
from xdsl.ir import Operation, SSAValue

from dialects import onnx
from dialects.interpreters.run import main_function
from dialects.locations import node_names
from escc.training.dataflow import Dataflow
from escc.training.network import Call

Array = NDArray[Any]


class Constant(nn.Module):
    """A tensor of the model."""

    def __init__(self, value: Array):
        super().__init__()
        dtype = torch.get_default_dtype() if value.dtype.kind == "f" else None
        self.register_buffer("value", torch.tensor(value, dtype=dtype))
        self.value: Tensor

    def forward(self) -> Tensor:
        return self.value


class Teacher(Dataflow):
    """The float network: model inputs to scores (before a Softmax). `convolutions` maps the names of convolutions to
    the numbers of their values.
    """

    def __init__(self, module: ModuleOp) -> None:
        block = main_function(module).body.block
        super().__init__(len(block.args))
        self.convolutions: dict[str, int] = {}
        values: dict[SSAValue, int] = {a: i for i, a in enumerate(block.args)}
        for op in block.ops:
            if isinstance(op, ReturnOp):
                self.output = values[op.operands[0]]
                continue
            names = node_names(op)
            name = names[0] if names else op.name
            step = Constant(op.value.array) if isinstance(op, onnx.ConstantOp) else Call(_function(op))
            values[op.results[0]] = self.append(name, step, *(values[v] for v in op.operands))
            if isinstance(op, onnx.ConvOp):
                self.convolutions[name] = values[op.output]
        self.requires_grad_(False)


def _function(op: Operation) -> Callable[..., Tensor]:
    """What an operation computes. Raises TypeError for one that onnx-legalize does not let pass."""
    if not isinstance(op, onnx.OnnxOp) or not op.TORCH_FORM:
        raise TypeError(f"no torch counterpart of {op.name}")
    return resolve_name(op.TORCH_FORM)(op)
