"""Read ONNX files: everything that can be wrong with the file itself becomes one clear line."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import inliner, numpy_helper
from onnx.external_data_helper import load_external_data_for_model, uses_external_data

from isa.errors import UserError

OPSETS = range(9, 24)
MAX_ELEMENTS = 1 << 30
_NOTE = "the input must be an ONNX model in its binary form, as exporters write it"


def _read_bytes(path: Path, name: str) -> bytes:
    if path.is_dir():
        raise UserError(f"{name}: is a directory; requires an ONNX file", _NOTE)
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{name}: no such file", "check the path") from None
    except OSError as error:
        raise UserError(f"{name}: cannot be read: {error.strerror}", "check the path and its permissions") from None


def _looks_like_text(data: bytes) -> bool:
    try:
        head = data[:4096].decode("utf-8")
    except UnicodeDecodeError:
        return False
    return all(c.isprintable() or c in "\r\n\t" for c in head)


def _parse(data: bytes, name: str) -> onnx.ModelProto:
    from google.protobuf.message import DecodeError

    if not data:
        raise UserError(f"{name}: the file is empty", _NOTE)
    if data.startswith(b"\x7fELF"):
        raise UserError(
            f"{name}: is an ELF binary, not an ONNX model", "esc-emu runs a compiled model, esc-dis prints it"
        )
    if _looks_like_text(data):
        raise UserError(f"{name}: is a text file, not an ONNX model", "IR text needs a name that ends in .mlir")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError:
        raise UserError(f"{name}: is damaged, truncated or not an ONNX model", _NOTE) from None
    if not model.HasField("graph") or not model.opset_import:
        raise UserError(f"{name}: holds no ONNX graph; it is truncated or not an ONNX model", _NOTE)
    return model


def opset_of(model: onnx.ModelProto) -> int:
    """Version of the default operator set."""
    return next((int(o.version) for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)


def all_tensors(model: onnx.ModelProto) -> Iterable[onnx.TensorProto]:
    """Initializers and tensor attributes of the main graph."""
    yield from model.graph.initializer
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t


def load_model(source: str | Path | bytes, name: str) -> onnx.ModelProto:
    """A parsed model with external data loaded and local functions inlined. `name` is how diagnostics call the file.

    Raises UserError for a missing, unreadable, empty, damaged or foreign file, missing external data, and opsets
    outside OPSETS.
    """
    data = source if isinstance(source, bytes) else _read_bytes(Path(source), name)
    model = _parse(data, name)
    if any(uses_external_data(t) for t in all_tensors(model)):
        if isinstance(source, bytes):
            raise UserError(f"{name}: refers to external data files", "give the path of the model instead of its bytes")
        try:
            load_external_data_for_model(model, str(Path(source).parent))
        except (OSError, ValueError, onnx.checker.ValidationError) as error:
            cause = str(error).splitlines()[0] if str(error) else type(error).__name__
            note = "the external data files of a model must lie beside it"
            raise UserError(f"{name}: external data cannot be loaded: {cause}", note) from None
    version = opset_of(model)
    if version not in OPSETS:
        raise UserError(
            f"{name}: opset {version} unsupported; requires {OPSETS.start} to {OPSETS.stop - 1}",
            "export the model again with a supported opset, or convert it with onnx.version_converter",
        )
    return inliner.inline_local_functions(model) if model.functions else model


def to_array(tensor: onnx.TensorProto) -> NDArray[Any]:
    """NumPy array of a tensor. Raises ValueError when its data does not fit its shape or type."""
    try:
        return np.asarray(numpy_helper.to_array(tensor))
    except (TypeError, KeyError) as error:
        raise ValueError(str(error)) from None


def check_size(shape: tuple[int, ...]) -> None:
    """Raise ValueError for a tensor that no machine of ours holds; keeps damaged attributes from exhausting memory."""
    if math.prod(shape) > MAX_ELEMENTS:
        raise ValueError(f"tensor of shape {list(shape)} is too large; requires at most {MAX_ELEMENTS} elements")


def input_shape(info: onnx.ValueInfoProto) -> tuple[int, ...]:
    """Static shape of a graph input, a dynamic batch set to 1. Raises ValueError naming what is not static."""
    tensor = info.type.tensor_type
    if not info.type.HasField("tensor_type") or not tensor.HasField("shape"):
        raise ValueError(f"input '{info.name}' has no shape; requires a static one")
    shape: list[int] = []
    for i, dim in enumerate(tensor.shape.dim):
        size = int(dim.dim_value)
        if size < 1 and i > 0:
            what = f"'{dim.dim_param}'" if dim.dim_param else "unknown"
            raise ValueError(f"input '{info.name}': dimension {i} is dynamic ({what}); requires a static size")
        shape.append(max(size, 1))
    if shape and shape[0] != 1:
        raise ValueError(f"input '{info.name}' has batch {shape[0]}; requires batch 1 (or a dynamic one)")
    check_size(tuple(shape))
    return tuple(shape)


def element_dtype(info: onnx.ValueInfoProto) -> np.dtype[Any]:
    """NumPy type of the elements of a graph input. Raises ValueError for types NumPy does not know."""
    try:
        return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type))
    except (KeyError, TypeError):
        raise ValueError(f"input '{info.name}' has no known element type; requires float") from None
