"""Tensors that lie in files beside the model, as PyTorch's exporter writes them."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx
from onnx import TensorProto, helper

from escc.files import ClashError, reading
from escc.onnx_import.limits import MAX_EXTERNAL_BYTES
from escc.onnx_import.node import text

_PACKED = {
    TensorProto.INT4: 4,
    TensorProto.UINT4: 4,
    TensorProto.FLOAT4E2M1: 4,
    TensorProto.INT2: 2,
    TensorProto.UINT2: 2,
}
"""Bits of the types of which several elements share a byte."""


def external_tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Tensors of the graph, of graphs inside its nodes and of the model's functions whose data lie in a file."""
    for tensor in _tensors(model):
        if tensor.data_location == TensorProto.EXTERNAL:
            yield tensor


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    yield from _of_graph(model.graph)
    for function in model.functions:
        yield from _of_nodes(function.node)


def _of_graph(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    yield from _of_sparse(graph.sparse_initializer)
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            if attribute.HasField("sparse_tensor"):
                yield from _of_sparse([attribute.sparse_tensor])
            if attribute.HasField("g"):
                yield from _of_graph(attribute.g)
            yield from attribute.tensors
            yield from _of_sparse(attribute.sparse_tensors)
            for graph in attribute.graphs:
                yield from _of_graph(graph)


def _of_sparse(tensors: Iterable[onnx.SparseTensorProto]) -> Iterator[onnx.TensorProto]:
    for tensor in tensors:
        yield from (tensor.values, tensor.indices)


def load_external_data(model: onnx.ModelProto, folder: Path) -> list[str]:
    """Read the external data of a model into its tensors. Returns what is wrong, one line for each tensor at fault.

    Files lie in `folder` or below it. Absolute paths, paths that leave the folder, and links are refused: a model
    must not read other files of whoever compiles it. Raises UserError if the command is about to write one of them.
    """
    causes: list[str] = []
    total = 0
    for tensor in external_tensors(model):
        try:
            data = _read(tensor, folder, MAX_EXTERNAL_BYTES - total)
        except ClashError:
            raise
        except ValueError as error:
            causes.append(f"tensor '{tensor.name}': {error}")
            continue
        total += len(data)
        tensor.raw_data = data
        tensor.ClearField("data_location")
        tensor.ClearField("external_data")
    return causes


def _read(tensor: onnx.TensorProto, folder: Path, most: int) -> bytes:
    """Data of one tensor. Raises ValueError with the reason when they cannot be had."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    path = _inside(folder, location)
    reading(path, "a file of weights of the model")
    offset, length = _number(entries, "offset"), _number(entries, "length")
    wanted = _byte_count(tensor)
    if length is not None and wanted is not None and length != wanted:
        raise ValueError(
            f"{length} bytes of external data for {_type_name(tensor)} {text(tensor.dims)}; requires {wanted}"
        )
    try:
        with open(_open(path), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ValueError(f"external data in '{location}', which is no regular file; requires one")
            start = offset or 0
            count = next(c for c in (length, wanted, max(0, status.st_size - start)) if c is not None)
            if start + count > status.st_size:
                raise ValueError(
                    f"bytes {start} to {start + count} of '{location}', which has {status.st_size}; "
                    "requires external data inside the file"
                )
            if count > most:
                raise ValueError(f"external data are too large; requires at most {MAX_EXTERNAL_BYTES:,} bytes together")
            file.seek(start)
            return file.read(count)
    except OSError as error:
        raise ValueError(f"external data in '{location}' cannot be read: {error.strerror}") from None


def _open(path: Path) -> int:
    # Without blocking: a pipe that nobody writes to would never open.
    flags = ("O_RDONLY", "O_BINARY", "O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC")
    return os.open(path, sum(getattr(os, flag, 0) for flag in flags))


def _inside(folder: Path, location: str) -> Path:
    """Path of a file that a model names. Raises ValueError unless it lies inside the folder, through no link."""
    if not location or "\0" in location:
        raise ValueError("external data without the name of a file")
    if PurePosixPath(location).is_absolute() or PureWindowsPath(location).anchor:
        raise ValueError(f"external data in '{location}', an absolute path; requires a file beside the model")
    parts = PurePosixPath(location).parts
    if ".." in parts or ".." in PureWindowsPath(location).parts:
        raise ValueError(f"external data in '{location}', outside the model's folder; requires a file beside the model")
    path = folder
    for part in parts:
        path = path / part
        if _is_link(path, location):
            raise ValueError(f"external data in '{location}', through a link; requires a file beside the model")
    return path


def _is_link(path: Path, location: str) -> bool:
    try:
        return path.is_symlink()
    except OSError as error:  # a name that is too long for a file
        raise ValueError(f"external data in '{location}' cannot be read: {error.strerror}") from None


def _number(entries: dict[str, str], key: str) -> int | None:
    value = entries.get(key)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) < 19):
        raise ValueError(f"external data with {key} '{value[:40]}'; requires a number of bytes")
    return int(value)


def _type_name(tensor: onnx.TensorProto) -> str:
    return TensorProto.DataType.Name(tensor.data_type).lower()


def _byte_count(tensor: onnx.TensorProto) -> int | None:
    """Bytes that the shape and the type of a tensor ask for, None for types that raw data cannot hold."""
    if any(d < 0 for d in tensor.dims):
        raise ValueError(f"shape {text(tensor.dims)}; requires dimensions that are not negative")
    count = math.prod(tensor.dims)
    bits = next((bits for kind, bits in _PACKED.items() if kind == tensor.data_type), None)
    if bits is not None:
        return -(-count * bits // 8)
    try:
        dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    except (KeyError, TypeError):
        return None
    return None if dtype.hasobject else count * dtype.itemsize
