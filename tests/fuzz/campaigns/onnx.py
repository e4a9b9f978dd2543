"""ONNX models: what is compiled computes what onnxruntime does, and the same bits on every level."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from dialects.interpreters.run import run_module
from escc.irtext import make_context, parse_module
from fuzz.findings import Finding
from fuzz.mutate import STRINGS, mutate_bytes
from fuzz.oracles import check_binary
from fuzz.sandbox import Sandbox

_SCHEMES = ("dense", "dense", "escalate", "auto")
_TOLERANCE = 2e-3
"""Largest difference of two float implementations, as a share of the largest value."""
_LARGEST_WEIGHT = 1e6
"""Where weights are larger, values are not compared."""
_INTEGERS = (-(1 << 63), -(1 << 31), -2, -1, 0, 1, 2, 3, 7, 8, 12, 99, 1 << 20, (1 << 31) - 1, 1 << 40, (1 << 63) - 1)
_FLOATS = (0.0, -1.0, 1e-45, 1e30, 3e38, float("inf"), float("nan"), 0.5)


def seeds(kit: Path) -> list[bytes]:
    return [(kit / f"{name}.onnx").read_bytes() for name in ("model", "activations", "movement", "qdq")]


def mutate(rng: random.Random, data: bytes, other: bytes) -> bytes:
    if rng.random() < 0.15:
        return mutate_bytes(rng, data, other)
    model = onnx.load_model_from_string(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        _edit(rng, model)
    try:
        return model.SerializeToString()
    except (DecodeError, ValueError):
        return data


def check(box: Sandbox, kit: Path, data: bytes) -> bool:
    box.start({"m.onnx": data})
    scheme = _SCHEMES[len(data) % len(_SCHEMES)]
    options = ("--scheme", scheme, "--verify-numerics", "-q", "-o", "m.bin")
    accepted = box.command("escc", "m.onnx", *options, outputs=("m.bin",), about="m.onnx") == 0
    if accepted:
        check_binary((box.folder / "m.bin").read_bytes(), "m.bin")
    if box.command("escc", "m.onnx", "--emit", "onnx", "-q", "-o", "m.mlir", outputs=("m.mlir",), about="m.onnx") == 0:
        _compare(data, (box.folder / "m.mlir").read_bytes())
    elif accepted:
        raise Finding("wrong", "a model compiles whose import is refused")
    return accepted


def _compare(data: bytes, text: bytes) -> None:
    """Raise `Finding` unless the imported model gives the outputs of onnxruntime, in shape, order and value."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as e:  # its exceptions share no base of their own
        if "NOT_IMPLEMENTED" in str(e) or "Unsupported model IR version" in str(e):
            return
        raise Finding("wrong", f"imported, and onnxruntime refuses it: {' '.join(str(e).split())[:300]}") from e
    rng = np.random.default_rng(len(data))
    feeds = {}
    for port in session.get_inputs():
        shape = [d if isinstance(d, int) else 1 for d in port.shape]
        feeds[port.name] = rng.standard_normal(shape).astype(np.float32)
    try:
        wanted = [np.asarray(y) for y in session.run(None, feeds)]
    except Exception as e:
        raise Finding("wrong", f"imported, and onnxruntime fails: {' '.join(str(e).split())[:300]}") from e
    found = run_module(parse_module(make_context(), text, "m.mlir"), list(feeds.values()))
    if [x.shape for x in found] != [x.shape for x in wanted]:
        raise Finding("wrong", f"outputs {[x.shape for x in found]}, of onnxruntime {[x.shape for x in wanted]}")
    if _is_ill_scaled(data):
        return
    for a, b in zip(found, wanted, strict=True):
        largest = float(np.abs(b).max(initial=0.0))
        if np.isfinite(largest) and np.abs(a - b).max(initial=0.0) > _TOLERANCE * max(largest, 1e-6):
            raise Finding("wrong", f"an output deviates from onnxruntime by {np.abs(a - b).max() / largest:.2g}")


def _is_ill_scaled(data: bytes) -> bool:
    """Whether a tensor of the model holds values so large that ordinary ones beside them count as rounding errors.

    Products are summed on a grid that the largest weight of an output channel sets (`isa.exact`).
    """
    arrays = (onnx.numpy_helper.to_array(t) for t in onnx.load_model_from_string(data).graph.initializer)
    return any(float(np.abs(a).max(initial=0)) > _LARGEST_WEIGHT for a in arrays if a.dtype.kind == "f")


# Fields of the message ------------------------------------------------------------------------------------------------


def _edit(rng: random.Random, message: Message) -> None:
    """Change one field of a random message inside."""
    while True:
        fields = [(f, v) for f, v in message.ListFields() if f.name not in ("doc_string", "producer_name")]
        inner = [(f, v) for f, v in fields if f.type == FieldDescriptor.TYPE_MESSAGE]
        if inner and rng.random() < 0.85:
            field, value = rng.choice(inner)
            if not _repeated(field):
                message = value
                continue
            if rng.random() < 0.85:
                message = rng.choice(list(value))
                continue
            _edit_list(rng, value)
        elif fields or rng.random() < 0.5:
            _edit_field(rng, message, rng.choice(fields)[0] if fields and rng.random() < 0.9 else _unset(rng, message))
        return


def _repeated(field: Any) -> bool:
    return field.is_repeated if hasattr(field, "is_repeated") else field.label == FieldDescriptor.LABEL_REPEATED


def _unset(rng: random.Random, message: Message) -> Any:
    return rng.choice(list(message.DESCRIPTOR.fields))


def _edit_list(rng: random.Random, values: Any) -> None:
    at = rng.randrange(len(values))
    choice = rng.randrange(3)
    if choice == 0:
        del values[at]
    elif choice == 1:
        values.add().CopyFrom(values[at])
    else:
        other = rng.randrange(len(values))
        kept = type(values[at])()
        kept.CopyFrom(values[at])
        values[at].CopyFrom(values[other])
        values[other].CopyFrom(kept)


def _edit_field(rng: random.Random, message: Message, field: Any) -> None:
    if rng.random() < 0.15 or (field.type == FieldDescriptor.TYPE_MESSAGE and not _repeated(field)):
        message.ClearField(field.name)
    elif _repeated(field):
        _edit_values(rng, getattr(message, field.name), field)
    else:
        value = _scalar(rng, field, getattr(message, field.name))
        if value is not None:
            with contextlib.suppress(ValueError):  # an enumeration may be closed
                setattr(message, field.name, value)


def _edit_values(rng: random.Random, values: Any, field: Any) -> None:
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        values.add()
        return
    old = rng.choice(list(values)) if len(values) else None
    value = _scalar(rng, field, old)
    if value is None:
        return
    choice = rng.randrange(4)
    if choice == 0 and len(values):
        del values[rng.randrange(len(values))]
    elif choice == 1 or not len(values):
        values.append(value)
    else:
        values[rng.randrange(len(values))] = value


def _scalar(rng: random.Random, field: Any, old: Any) -> Any:
    kinds = FieldDescriptor
    if field.cpp_type in (kinds.CPPTYPE_INT32, kinds.CPPTYPE_INT64, kinds.CPPTYPE_UINT64, kinds.CPPTYPE_ENUM):
        near = [int(old) + d for d in (-1, 1)] if old is not None else []
        value = rng.choice((*near, *near, *_INTEGERS))
        if field.cpp_type == kinds.CPPTYPE_UINT64:
            return value & ((1 << 64) - 1)
        return value if field.cpp_type == kinds.CPPTYPE_INT64 else max(-(1 << 31), min(value, (1 << 31) - 1))
    if field.cpp_type in (kinds.CPPTYPE_FLOAT, kinds.CPPTYPE_DOUBLE):
        return rng.choice(_FLOATS)
    if field.type == kinds.TYPE_BYTES:
        return mutate_bytes(rng, old, resize=rng.random() < 0.3) if old else rng.randbytes(4)
    if field.type == kinds.TYPE_STRING:
        return rng.choice(
            (*(s for s in STRINGS if s != "\0"), "x", "y", "a", "Relu", "Conv", "axis", "NOTSET", old or "")
        )
    return None
