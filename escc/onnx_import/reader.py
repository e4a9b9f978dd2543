"""Read ONNX files: everything that can be wrong with the file itself becomes one clear line."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from escc.onnx_import.external import external_tensors, load_external_data
from escc.onnx_import.functions import expand_functions
from escc.onnx_import.limits import check_activation
from escc.onnx_import.node import text
from escc.onnx_import.qoperators import expand_integer_operators
from escc.onnx_import.wellformed import unreadable_text
from isa.errors import UserError
from isa.files import read_file

OPSETS = range(1, 29)
IR_VERSIONS = range(3, onnx.IR_VERSION + 1)
"""Versions of the file format: from the first with opsets to the newest that the installed onnx reads."""
_NOTE = "the input must be an ONNX model in its binary form, as exporters write it"
_UNPACK = "unpack it first"
_OTHER_FILES = (
    (0, b"\x7fELF", "an ELF binary", "esc-emu runs a compiled model, esc-dis prints it"),
    (
        0,
        b"PK\x03\x04",
        "a zip archive, as torch.save and numpy.savez write",
        "export the network with torch.onnx.export; images are given with --calibration",
    ),
    (0, b"\x89HDF", "an HDF5 file, as Keras writes", "convert it with tf2onnx"),
    (4, b"TFL3", "a TensorFlow Lite model", "convert it with tf2onnx"),
    (0, b"\xfd7zXZ", "packed by xz", _UNPACK),
    (0, b"\x1f\x8b", "packed by gzip", _UNPACK),
    (0, b"BZh", "packed by bzip2", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "packed by zstd", _UNPACK),
)
"""Where other files say what they are: offset, bytes, what the file is, and what to do with it."""


def _read_bytes(path: Path, name: str) -> bytes:
    if path.is_dir():
        raise UserError(f"{name}: is a directory; requires an ONNX file", _NOTE)
    try:
        return read_file(path, name)
    except UserError as error:
        raise UserError(error.causes, "check the path and its permissions") from None


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
    for offset, signature, what, remedy in _OTHER_FILES:
        if data.startswith(signature, offset):
            raise UserError(f"{name}: is {what}, not an ONNX model", remedy)
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


def _check_versions(model: onnx.ModelProto, name: str) -> None:
    if model.ir_version not in IR_VERSIONS:
        raise UserError(
            f"{name}: IR version {model.ir_version} unsupported; requires one of {IR_VERSIONS.start} to "
            f"{IR_VERSIONS.stop - 1}",
            "export the model again, or install a newer onnx package if the version is of a newer one",
        )
    found = [int(o.version) for o in model.opset_import if o.domain in ("", "ai.onnx")]
    if len(set(found)) == 1 and found[0] in OPSETS:
        return
    what = f"opset {found[0]}" if len(found) == 1 else f"opsets {text(found)}" if found else "no opset"
    raise UserError(
        f"{name}: {what} unsupported; requires one of {OPSETS.start} to {OPSETS.stop - 1}",
        "export the model again with a supported opset, or convert it with onnx.version_converter",
    )


def _load_external(model: onnx.ModelProto, folder: Path | None, name: str) -> list[onnx.TensorProto]:
    """Read external data in place; the tensors that had them."""
    tensors = list(external_tensors(model))
    if not tensors:
        return []
    if folder is None:
        raise UserError(
            f"{name}: tensor '{tensors[0].name}' lies in a file of its own, and the model was given as bytes",
            "give the path of the model: files are looked for beside it",
        )
    causes = load_external_data(model, folder)
    if causes:
        note = "the files of a model's external data must lie beside it: move them together"
        raise UserError([f"{name}: {cause}" for cause in causes], note)
    return tensors


def fingerprint(path: str | Path) -> str:
    """SHA-256 of a model, the data in files beside it included, in hexadecimal. Raises UserError as `load_model`."""
    data = _read_bytes(Path(path), str(path))
    digest = hashlib.sha256(data)
    for tensor in _load_external(_parse(data, str(path)), Path(path).parent, str(path)):
        digest.update(tensor.raw_data)
    return digest.hexdigest()


def load_model(source: str | Path | bytes, name: str) -> onnx.ModelProto:
    """A parsed model with external data loaded and calls of local functions replaced by their nodes.

    `name` is how diagnostics call the file. External data are read from the folder of `source`. Raises UserError for
    a missing, unreadable, empty, damaged or foreign file, names that are no text, external data that are missing or
    lie elsewhere, versions outside IR_VERSIONS and OPSETS, functions that do not expand to a graph, and integers that
    are read in a way that has no counterpart in real numbers.
    """
    data = source if isinstance(source, bytes) else _read_bytes(Path(source), name)
    model = _parse(data, name)
    if unreadable := unreadable_text(model):
        raise UserError(f"{name}: {unreadable}", _NOTE)
    _check_versions(model, name)
    _load_external(model, None if isinstance(source, bytes) else Path(source).parent, name)
    try:
        expand_functions(model)
    except ValueError as error:
        raise UserError(f"{name}: {error}", "export the model without functions of its own") from None
    try:
        expand_integer_operators(model)
    except UserError as error:
        raise UserError([f"{name}: {cause}" for cause in error.causes], error.note) from None
    return model


def to_array(tensor: onnx.TensorProto) -> NDArray[Any]:
    """NumPy array of a tensor. Raises ValueError when its data does not fit its shape or type."""
    if any(d < 0 for d in tensor.dims):
        raise ValueError(f"shape {text(tensor.dims)}; requires dimensions that are not negative")
    try:
        return np.asarray(numpy_helper.to_array(tensor))
    except (TypeError, KeyError) as error:
        raise ValueError(str(error)) from None


def input_shape(info: onnx.ValueInfoProto) -> tuple[int, ...]:
    """Static shape of a graph input, its batch set to 1. Raises ValueError naming what is not static."""
    tensor = info.type.tensor_type
    if not info.type.HasField("tensor_type") or not tensor.HasField("shape"):
        raise ValueError(f"input '{info.name}' has no shape; requires a static one")
    shape: list[int] = []
    for i, dim in enumerate(tensor.shape.dim):
        size = int(dim.dim_value)
        dynamic_batch = i == 0 and size < 0  # as some exporters write it
        if dim.HasField("dim_value") and size < 1 and not dynamic_batch:
            raise ValueError(f"input '{info.name}': dimension {i} is {size}; requires at least 1")
        if i > 0 and size < 1:
            what = f"'{dim.dim_param}'" if dim.dim_param else "unknown"
            raise ValueError(
                f"input '{info.name}': dimension {i} is dynamic ({what}); requires a static size: give it by "
                f"--input-shape {info.name}=..."
            )
        shape.append(max(size, 1))
    if shape:
        shape[0] = 1
    check_activation(shape)
    return tuple(shape)


def batch_of(info: onnx.ValueInfoProto) -> int:
    """First extent that a graph input declares; 1 where it declares none or a dynamic one."""
    dims = info.type.tensor_type.shape.dim
    return max(1, int(dims[0].dim_value)) if dims else 1


def element_dtype(info: onnx.ValueInfoProto) -> np.dtype[Any]:
    """NumPy type of the elements of a graph input. Raises ValueError for types NumPy does not know."""
    try:
        return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type))
    except (KeyError, TypeError):
        raise ValueError(f"input '{info.name}' has no known element type; requires float") from None
