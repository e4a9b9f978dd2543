"""Shapes of inputs that the user gives: for models whose extents are dynamic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx

from escc.onnx_import.node import Node, text
from isa.errors import UserError


def set_shapes(model: onnx.ModelProto, shapes: Mapping[str, Sequence[int]]) -> None:
    """Give inputs of a model the shapes [1, C, H, W] (of positive integers) that are listed under their names.

    The name "" stands for that of an only input. Raises UserError for a name that is no input, and for a shape that is
    not one of the input's declared shape.
    """
    stored = {t.name for t in model.graph.initializer}
    inputs = {info.name: info for info in model.graph.input if info.name not in stored}
    if "" in shapes and len(inputs) == 1:
        shapes = {next(iter(inputs)): shapes[""]}
    causes: list[str] = []
    for name, shape in shapes.items():
        if not name:
            causes.append(
                f"one shape for the inputs {', '.join(map(repr, inputs))}; requires a shape for each, by name"
            )
        elif name not in inputs:
            causes.append(f"the model has no input '{name}'; its inputs are {', '.join(map(repr, inputs))}")
        else:
            causes += _faults(inputs[name], shape)
    if causes:
        raise UserError(causes, "--input-shape takes the name of an input and all of its extents: x=1,3,320,320")
    for name, shape in shapes.items():
        declared = inputs[name].type.tensor_type.shape
        del declared.dim[:]
        declared.dim.extend(onnx.TensorShapeProto.Dimension(dim_value=size) for size in shape)
    if shapes:
        del model.graph.value_info[:]  # of other shapes, perhaps


def joins_the_batch(node: Node, batch: int) -> str | None:
    """Why a node means something else for a batch than for each image by itself; None if it does not."""
    shape = node.shape()
    if node.op_type == "Flatten" and shape is not None and node.axis(1, len(shape)) == 0:
        return "axis=0 joins the batch with other axes; requires axis 1 or more"
    if node.op_type == "Reshape":
        first = (*(node.parameter_ints("shape", 1) or ()), 0)[0]
        if first not in (0, -1, batch):
            return f"the new shape has {first} rows for a batch of {batch}; requires as many, 0 or -1"
    if node.op_type == "Squeeze" and node.parameter_ints("axes", 1) is None:
        return "has no axes, so that a batch of 1 would go too; requires axes"
    return None


def _faults(info: onnx.ValueInfoProto, shape: Sequence[int]) -> list[str]:
    """What in the declaration of an input speaks against a shape."""
    tensor = info.type.tensor_type
    if not tensor.HasField("shape"):
        return []
    known = [dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in tensor.shape.dim]
    fits = len(known) == len(shape) and all(
        declared in (None, given) or i == 0 for i, (declared, given) in enumerate(zip(known, shape, strict=True))
    )
    if fits:
        return []
    declared = text(["?" if size is None else size for size in known])
    found = f"input '{info.name}' has shape {declared}, {text(shape)} is given"
    return [f"{found}; requires equal extents where it has any"]
